"""Compare fits of thousands of small problems with the reference and with scikit-learn.

    python tools/differential.py [problems] [seed]

All three start from the same parameters. Problem i of a seed is always the same: a failure prints
the command that runs this problem alone.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fusedgmm import GaussianMixture, fit_batch, reference
from fusedgmm._covariance import layout_of
from helpers import COVARIANCE_TYPES, of_type


def problem(seed):
    """Return rows, starting values near them, and the options of the fit."""
    rng = np.random.default_rng(seed)
    covariance_type = COVARIANCE_TYPES[rng.integers(4)]
    k, d = int(rng.integers(1, 6)), int(rng.integers(1, 12))
    n = int(rng.integers(20 * (k + d), 40 * (k + d)))
    centres = rng.normal(size=(k, d)) * rng.uniform(0, 6)
    roots = np.eye(d) + rng.normal(size=(k, d, d)) * rng.uniform(0, 0.5)
    labels = rng.integers(k, size=n)
    X = centres[labels] + np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n, d)))
    offset = 10.0 ** rng.integers(0, 5) if rng.integers(3) == 0 else 0.0
    dtype = np.float32 if rng.integers(4) == 0 and offset == 0 else np.float64
    X = (X + offset).astype(dtype)
    covariances = of_type(np.einsum("kij,klj->kil", roots, roots) + np.eye(d), covariance_type)
    start = {
        "weights": rng.dirichlet(np.full(k, 5.0)),
        "means": centres + offset + rng.normal(size=(k, d)) * 0.3,
        "covariances": covariances,
    }
    options = {
        "covariance_type": covariance_type,
        "max_iter": int(rng.integers(1, 12)),
        "tol": float(rng.choice([0.0, 1e-3, 1e-2])),
        "reg_covar": float(rng.choice([0.0, 1e-6, 0.1])),
    }
    weight = rng.uniform(0, 3, size=n) * (rng.uniform(size=n) > 0.1) if rng.integers(2) else None
    return X, weight, start, options


def ours(X, weight, start, options):
    model = GaussianMixture(
        len(start["weights"]),
        weights_init=start["weights"],
        means_init=start["means"],
        covariances_init=start["covariances"],
        n_threads=1,
        **options,
    )
    return model.fit(X, sample_weight=weight)


def theirs(X, start, options):
    """Fit with scikit-learn, which has no sample weights."""
    from sklearn.mixture import GaussianMixture

    kind = options["covariance_type"]
    factors = reference.precision_cholesky(start["covariances"], kind)
    model = GaussianMixture(
        len(start["weights"]),
        weights_init=start["weights"],
        means_init=start["means"],
        precisions_init=layout_of(kind).precisions(factors),
        **options,
    )
    return model.fit(X.astype(np.float64))


def close(a, b, rtol, what):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (1 + np.abs(b).max()), err_msg=what)


def check(seed):
    X, weight, start, options = problem(seed)
    kind = options["covariance_type"]
    # with an offset, scikit-learn loses up to a few digits per pass; we lose none
    rtol = 2e-3 if X.dtype == np.float32 else 1e-7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in ("Best performing initialization did not converge", "reg_covar=.* is more"):
            warnings.filterwarnings("ignore", message)
        model = ours(X, weight, start, options)
        weights, means, covariances, bounds, converged = reference.fit(
            X, *start.values(), kind, options["tol"], options["reg_covar"], options["max_iter"],
            weight,
        )  # fmt: skip
        shared = min(model.n_iter_, len(bounds))
        close(model.lower_bounds_[:shared], bounds[:shared], rtol, "lower bounds")
        # with float32 sums a fit may stop one iteration earlier or later, if a change is closer to
        # tol than the bounds are to each other
        slack = 2 * np.abs(np.subtract(model.lower_bounds_[:shared], bounds[:shared])).max()
        edge = [abs(abs(b - a) - options["tol"]) <= slack for a, b in zip(bounds, bounds[1:])]  # noqa: B905
        same = model.n_iter_ == len(bounds)
        assert same or (X.dtype == np.float32 and any(edge)), (model.n_iter_, len(bounds))
        if same:
            assert model.converged_ == converged or (X.dtype == np.float32 and any(edge))
            close(model.weights_, weights, rtol, "weights")
            close(model.means_, means, rtol, "means")
            close(model.covariances_, covariances, rtol, "covariances")
        _, shares = reference.e_step(
            X, *(np.asarray(a, np.float64) for a in (model.weights_, model.means_,
                                                     model.precisions_cholesky_)), kind
        )  # fmt: skip
        close(
            model.predict_proba(X), shares, 100 * rtol if X.dtype == np.float32 else 1e-6, "proba"
        )
        factors = reference.precision_cholesky(start["covariances"], kind)
        alone = fit_batch(
            [X],
            len(start["weights"]),
            sample_weight=None if weight is None else [weight],
            weights_init=start["weights"],
            means_init=start["means"],
            precisions_init=layout_of(kind).precisions(factors),
            **options,
        )
        close(alone.means[0], model.means_, 10 * rtol, "batch")
        if weight is None and np.abs(X).max() < 1e3:  # beyond this scikit-learn loses precision
            other = theirs(X, start, options)
            if other.n_iter_ == model.n_iter_:
                close(model.means_, other.means_, 10 * rtol, "scikit-learn's means")
                close(model.covariances_, other.covariances_, 10 * rtol, "its covariances")
            else:
                assert X.dtype == np.float32 and any(edge)
            return True
    return False


def run(count, seed):
    """Return the number of problems that were also compared with scikit-learn."""
    shared = 0
    for i in range(seed, seed + count):
        try:
            shared += check(i)
        except BaseException:
            print(f"failed: python tools/differential.py 1 {i}", file=sys.stderr)
            raise
    return shared


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    count = numbers[0] if numbers else 1000
    seed = numbers[1] if len(numbers) > 1 else int(np.random.SeedSequence().generate_state(1)[0])
    print(f"python tools/differential.py {count} {seed}")
    shared = run(count, seed)
    print(f"{count} problems agree with the reference, {shared} of them with scikit-learn too")
