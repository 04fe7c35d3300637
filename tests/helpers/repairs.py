"""Data that make covariances singular or components empty, and fits that repair them."""

import warnings

import numpy as np

from fusedgmm import GaussianMixture
from helpers import FITTED, tolerance

CLOUD = np.random.default_rng(0).normal(size=(200, 2))
# name -> rows, number of components: in each of them a component has zero width
COLLAPSING = {
    "equal rows": (np.vstack([CLOUD, np.full((50, 2), 30.0)]), 2),
    "few distinct rows": (np.repeat([[0.0, 1.0], [4.0, -3.0], [-2.0, 7.0]], 20, axis=0), 5),
    "constant column": (np.column_stack([CLOUD[:, 0], np.full(200, 4.0)]), 2),
    "a line": (np.column_stack([CLOUD[:, 0], CLOUD[:, 0]]), 2),
    "all rows equal": (np.full((20, 2), 3.0), 3),
    "all rows zero": (np.zeros((20, 2)), 3),
}


def fit(X, k, covariance_type, sample_weight=None, **options):
    """A fit with repair and without warnings, by default on one thread because there are few
    rows."""
    options = {"reg_covar": 0, "random_state": 0, "n_threads": 1, **options}
    model = GaussianMixture(k, covariance_type=covariance_type, degenerate="repair", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X, sample_weight=sample_weight)


def started(covariance_type, means, **options):
    """A model that starts from these means, equal weights and unit covariances."""
    k, d = np.shape(means)
    precisions = {
        "full": np.stack([np.eye(d)] * k),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }[covariance_type]
    options = {"degenerate": "repair", "n_threads": 1, "tol": 1e-2, **options}
    return GaussianMixture(
        k, covariance_type=covariance_type, weights_init=np.full(k, 1 / k), means_init=means,
        precisions_init=precisions, **options,
    )  # fmt: skip


def variances(model):
    """Return the smallest variance of every component in any direction."""
    c = model.covariances_.astype(np.float64)
    if model.covariance_type in ("full", "tied"):
        return np.atleast_1d(np.linalg.eigvalsh(c)[..., 0])
    return c.min(axis=1) if model.covariance_type == "diag" else c


def assert_sound(model, X):
    """Assert that the mixture describes these rows: finite, positive variances, means within the
    rows."""
    for name in FITTED:
        assert np.isfinite(getattr(model, name)).all(), name
    assert np.isfinite(model.lower_bounds_).all()
    np.testing.assert_allclose(model.weights_.sum(), 1, rtol=tolerance("sum of weights"))
    assert (variances(model) > 0).all()
    low, high = X.min(axis=0), X.max(axis=0)
    slack = 1e-5 * (np.abs(low) + np.abs(high))
    assert ((model.means_ >= low - slack) & (model.means_ <= high + slack)).all()
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=tolerance("sum of probabilities"))
