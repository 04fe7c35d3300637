"""Bayesian fits, their priors, and comparisons of them."""

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture
from helpers import mixture_data, quiet_fit

X = mixture_data(600, 3, 3)[0]
GROUPS = np.random.default_rng(0).normal(size=(600, 2)) + np.repeat([[0, 0], [9, 0]], 300, axis=0)
FITTED = (
    "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_",
    "weight_concentration_", "mean_precision_", "degrees_of_freedom_",
    "weight_concentration_prior_", "mean_precision_prior_", "mean_prior_",
    "degrees_of_freedom_prior_", "covariance_prior_",
)  # fmt: skip


def bayes(**options):
    """A model that uses one thread by default: there are few rows, and other processes run too."""
    return BayesianGaussianMixture(**{"n_threads": 1, **options})


def ours_of(theirs):
    """Convert scikit-learn's model to fusedgmm's, on one thread."""
    return BayesianGaussianMixture.from_sklearn(theirs).set_params(n_threads=1)


def their_start(X, **options):
    """scikit-learn's model after one iteration, from which both classes continue."""
    mixture = pytest.importorskip("sklearn.mixture")
    model = mixture.BayesianGaussianMixture(
        **dict(n_components=4, random_state=1, max_iter=1, tol=0, init_params="random_from_data")
        | options
    )
    return quiet_fit(model, X).set_params(warm_start=True, max_iter=6)


def values(model):
    """Return everything that a fit sets, as plain float64 arrays."""
    named = {name: getattr(model, name) for name in FITTED}
    concentration = named.pop("weight_concentration_")
    for i, part in enumerate(
        concentration if isinstance(concentration, tuple) else [concentration]
    ):
        named[f"weight_concentration_[{i}]"] = part
    return {name: np.asarray(value, dtype=np.float64) for name, value in named.items()}


def assert_close(a, b, rtol):
    """Assert that everything two fits set is equal; `rtol` is relative to the largest entry of each
    array."""
    a, b = values(a), values(b)
    assert a.keys() == b.keys()
    for name, expected in b.items():
        assert a[name].shape == expected.shape, name
        atol = rtol * np.abs(expected).max()
        np.testing.assert_allclose(a[name], expected, rtol=rtol, atol=atol, err_msg=name)


def assert_same_bits(a, b):
    a, b = values(a), values(b)
    assert {name: value.tobytes() for name, value in a.items()} == {
        name: value.tobytes() for name, value in b.items()
    }


def priors(covariance_type, d):
    """Return a value for each prior, none of them the default."""
    root = np.random.default_rng(7).normal(size=(d, d))
    covariance = root @ root.T + np.eye(d)
    return dict(
        weight_concentration_prior=0.7,
        mean_precision_prior=0.3,
        mean_prior=np.linspace(-1, 2, d),
        degrees_of_freedom_prior=d + 1.5,
        covariance_prior={
            "full": covariance,
            "tied": covariance,
            "diag": np.diag(covariance),
            "spherical": 1.7,
        }[covariance_type],
    )
