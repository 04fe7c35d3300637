"""Problems for fit_batch, and comparisons of its results with single fits."""

import warnings
from dataclasses import fields

import numpy as np

from fusedgmm import BatchResult, BatchStatus, GaussianMixture, fit_batch
from helpers import tolerance

PER_PROBLEM = [f.name for f in fields(BatchResult)][:14]
OF_A_MODEL = (
    "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_",
    "lower_bound_", "converged_", "n_iter_", "n_features_in_",
)  # fmt: skip


def rows(n, d, k=3, dtype=np.float64, seed=0):
    """Rows of k slightly overlapping groups."""
    rng = np.random.default_rng([seed, n, d])
    centres = rng.normal(size=(k, d)) * 3
    return (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def cube(p=7, n=60, d=2, dtype=np.float64):
    return np.stack([rows(n, d, dtype=dtype, seed=i) for i in range(p)])


def ragged(sizes, d=2, dtype=np.float64):
    return [rows(n, d, dtype=dtype, seed=i) for i, n in enumerate(sizes)]


def single(X, k, seed, weight=None, **options):
    """Fit one problem alone, from the same start as in a batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(k, random_state=int(seed), **{"n_init": 1} | options)
        return model.fit(X, sample_weight=weight)


def assert_same_model(a, b):
    for name in OF_A_MODEL:
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name
    assert a.lower_bounds_[-1:] == b.lower_bounds_[-1:]


def assert_same(a, b, names=PER_PROBLEM):
    for name in names:
        x, y = getattr(a, name), getattr(b, name)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name


def assert_is_a_loop(X, k, weights=None, given=lambda i: {}, options=None, **more):
    """Assert that every problem has the same model as a separate fit, or is too small for one."""
    options = options or {}
    result = fit_batch(X, k, sample_weight=weights, random_state=3, **options, **more)
    for i, x in enumerate(X):
        if len(x) < max(k, 2):
            assert result.status[i] == BatchStatus.TOO_FEW_ROWS and not result.ok[i]
            continue
        weight = None if weights is None else weights[i]
        alone = single(x, k, result.seeds[i], weight, **options, **given(i))
        assert_same_model(alone, result[i])
        rtol = tolerance("criteria", alone.means_.dtype)
        if weight is None:
            np.testing.assert_allclose(result.bic[i], alone.bic(x), rtol=rtol)
            np.testing.assert_allclose(result.aic[i], alone.aic(x), rtol=rtol)
    return result


def interleaved(X, labels, seed=0):
    """Interleave the rows of the problems of a cube, keeping the order within each problem; return
    the rows and their labels."""
    P, n, d = X.shape
    problem = np.random.default_rng(seed).permutation(np.repeat(np.arange(P), n))
    out = np.empty((P * n, d), X.dtype)
    for i in range(P):
        out[problem == i] = X[i]
    return out, np.asarray(labels)[problem]


TWO = np.zeros((4, 2))
GOOD = [rows(150, 2, seed=i) for i in range(6)]
LINE = np.arange(40.0)[:, None] * [1, 2]


def with_entry(value, n=60):
    X = rows(n, 2)
    X[n // 2, 1] = value
    return X
