"""Shared by several test files: data, fits, comparisons, and the table of tolerances.

Needs only NumPy and pytest. Each of the other modules here is for the test files of one subject.
"""

import subprocess
import sys
import warnings
from textwrap import dedent

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture

BOTH = (GaussianMixture, BayesianGaussianMixture)
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
INITS = ("kmeans", "k-means++", "random", "random_from_data")
FITTED = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")

# Relative tolerances: quantity -> (float64, float32). A quantity with a tighter tolerance than the
# row it seems to belong to has its own row. Bounds that a test derives are in that test.
TOLERANCES = {
    # compared with the reference, scikit-learn and known moments
    "core, reference": (1e-9, 1e-4),  # one pass of the compiled core, compared with reference.py
    "core, raw moments": (1e-10, None),  # and with NumPy's sums of the rows and their products
    "core, component weights": (1e-11, None),
    "fit, scikit-learn": (1e-9, 1e-4),  # some iterations after the same start
    "reference, scikit-learn's covariances": (1e-8, None),
    "reference, SciPy's density": (1e-10, None),
    "scores, scikit-learn": (1e-10, None),  # score, AIC and BIC
    "Bayesian fit, scikit-learn": (1e-10, None),
    "Bayesian bounds, scikit-learn": (1e-11, None),
    "bounds, scikit-learn": (1e-12, None),
    "sample, scikit-learn": (1e-6, None),  # the same draws, with other factors of the covariances
    "known moments": (1e-9, 1e-4),  # means and covariances of known groups of rows
    # quantities that must be equal except for rounding
    "reference, two formulas": (1e-8, None),  # covariances from sums about a shift, from the mean
    "sums": (1e-12, 1e-6),  # sums of the same numbers in another order
    "second moments": (1e-11, None),  # of the same rows, differently weighted, merged or moved
    "criteria": (1e-12, 1e-5),  # AIC and BIC of a batch and of its models
    "bounds": (1e-11, None),  # the lower bounds of two fits that are equal in exact arithmetic
    "bounds, falling": (1e-6, 1e-4),  # absolute: from one iteration to the next
    "precisions": (1e-10, 1e-4),  # given precisions, inverted and factored
    "same fit": (1e-9, 1e-4),  # the same rows: repeated, scaled, with weights of another scale
    "same fit, rows of weight 0": (1e-9, 1e-3),  # and with additional rows of weight zero
    "same fit, another start": (1e-7, 2e-3),  # a start that differs by rounding, or is far away
    # float32 compared with equal float64 data
    "float64, closely": (None, 1e-5),  # for well separated groups
    "float64, Bayesian": (None, 1e-3),
    "float64, Bayesian bound": (None, 1e-4),
    "float64, hard data": (None, 1e-3),
    "float64, hard covariances": (None, 1e-2),
    # probabilities of one row, or weights of all components
    "sum of probabilities": (1e-5, 1e-5),
    "sum of weights": (1e-6, 1e-6),
}


def tolerance(quantity, dtype=np.float64):
    """The relative tolerance of a quantity computed from data of a dtype."""
    double, single = TOLERANCES[quantity]
    found = single if np.dtype(dtype) == np.float32 else double
    assert found is not None, f"no tolerance of {quantity!r} for {np.dtype(dtype)}"
    return found


# ---- data ----


def mixture_data(n, d, k, dtype=np.float64, seed=0):
    """Samples, and parameters near the true ones; covariances of type full."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(k, d)) * 3
    roots = rng.normal(size=(k, d, d)) * 0.3 + np.eye(d)
    labels = rng.integers(k, size=n)
    X = means[labels] + np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n, d)))
    weights = rng.dirichlet(np.full(k, 5.0))
    covariances = np.einsum("kij,klj->kil", roots, roots) + 0.2 * np.eye(d)
    return X.astype(dtype), weights, means, covariances


def of_type(covariances, covariance_type):
    """Convert full covariances to the given type."""
    diagonal = np.einsum("kii->ki", covariances)
    return {
        "full": covariances,
        "tied": covariances.mean(axis=0),
        "diag": diagonal,
        "spherical": diagonal.mean(axis=1),
    }[covariance_type]


def precisions_of(covariances, covariance_type):
    """The inverse of covariances of the given type."""
    if covariance_type in ("full", "tied"):
        return np.linalg.inv(covariances)
    return 1 / covariances


def three_tight_groups():
    """900 rows in three groups of 300, fifty standard deviations apart."""
    noise = np.random.default_rng(0).normal(size=(900, 2)) * 0.1
    return noise + np.repeat([[0, 0], [5, 0], [0, 5]], 300, axis=0)


# ---- fits and comparisons ----


def quiet_fit(model, X, **kwargs):
    """Return the fitted model, without the warning that it did not converge."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*did not converge.*")
        return model.fit(X, **kwargs)


def fit_either(kind, X, **options):
    """Fit one of the two classes; by default three components and one thread."""
    options = {"n_components": 3, "random_state": 0, "max_iter": 500, "n_threads": 1, **options}
    return kind(**options).fit(X)


def assert_close(a, b, rtol=0.0, names=FITTED):
    """Assert that two objects have the same arrays; `rtol` is relative to the largest entry of
    each."""
    for name in names:
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * np.abs(y).max(), err_msg=name)


def public(model):
    """The fitted attributes of a model."""
    return {
        name: value
        for name, value in vars(model).items()
        if name.endswith("_") and not name.startswith("_")
    }


def assert_same_state(ours, theirs, but=()):
    """Assert that all fitted attributes are identical bit for bit and share no memory."""
    a, b = public(ours), public(theirs)
    assert a.keys() - set(but) == b.keys() - set(but)
    for name in a.keys() & b.keys():
        parts = [v if isinstance(v, tuple) else (v,) for v in (a[name], b[name])]
        for x, y in zip(*parts, strict=True):
            np.testing.assert_array_equal(x, y, strict=True, err_msg=name)
            assert not isinstance(x, np.ndarray) or not np.shares_memory(x, y), name


def assert_same_answers(a, b, rows):
    """Assert that two models give the same predictions for these rows."""
    rtol = tolerance("fit, scikit-learn", rows.dtype)
    np.testing.assert_array_equal(a.predict(rows), b.predict(rows))
    np.testing.assert_allclose(a.predict_proba(rows), b.predict_proba(rows), rtol=0, atol=rtol)
    np.testing.assert_allclose(a.score_samples(rows), b.score_samples(rows), rtol=rtol)
    with warnings.catch_warnings():
        # scikit-learn's float32 covariances are not exactly symmetric on some CPUs
        warnings.filterwarnings("ignore", "covariance is not symmetric")
        np.testing.assert_array_equal(a.sample(5)[1], b.sample(5)[1])


# ---- processes ----


def run_python(code, *options, env=None, timeout=None):
    """Run Python code in a separate process and return its output; the test fails if the code
    does."""
    done = subprocess.run(
        [sys.executable, *options, "-c", dedent(code)],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def on_linux(reason):
    """A mark for tests that need what only Linux has: skipped elsewhere, for this reason."""
    return pytest.mark.skipif(not sys.platform.startswith("linux"), reason=reason)


measures_memory = on_linux("only Linux lets a process reset the high-water mark of its memory")

# rise(call) is how far the resident memory of the process rises during a call, in megabytes.
RISE = """
from pathlib import Path

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

def rise(call):
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    call()
    return megabytes("VmHWM") - before
"""


def measure_memory(script):
    """Run a script in a separate process, with `rise` defined, and return the numbers it prints.
    For tests with the mark `measures_memory`."""
    return [float(number) for number in run_python(RISE + script).split()]
