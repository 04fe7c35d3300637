"""The reference compared with SciPy's density, scikit-learn's EM step and closed forms."""

import numpy as np
import pytest

from fusedgmm import reference as ref
from helpers import tolerance

TYPES = ref.COVARIANCE_TYPES


def make(covariance_type, n=300, d=3, k=3, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.normal(scale=3, size=(k, d))
    X = means[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    A = rng.normal(size=(k, d, d))
    full = A @ A.swapaxes(1, 2) + np.eye(d)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": np.diagonal(full, axis1=1, axis2=2).copy(),
        "spherical": full[:, 0, 0].copy(),
    }[covariance_type]
    return X, rng.dirichlet(np.full(k, 5.0)), means, covariances


def as_full(c, covariance_type, k, d):
    if covariance_type in ("full", "tied"):
        return np.broadcast_to(c, (k, d, d))
    return np.array([np.eye(d) * v for v in c])


@pytest.mark.parametrize("covariance_type", TYPES)
def test_density_is_scipys(covariance_type):
    stats = pytest.importorskip("scipy.stats")
    X, _, means, c = make(covariance_type)
    ours = ref.log_gaussian_density(
        X, means, ref.precision_cholesky(c, covariance_type), covariance_type
    )
    full = as_full(c, covariance_type, *means.shape)
    theirs = [stats.multivariate_normal(m, s).logpdf(X) for m, s in zip(means, full, strict=True)]
    np.testing.assert_allclose(
        ours, np.transpose(theirs), rtol=tolerance("reference, SciPy's density")
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_step_is_sklearns(covariance_type):
    mixture = pytest.importorskip("sklearn.mixture")
    exceptions = pytest.importorskip("sklearn.exceptions")
    X, weights, means, c = make(covariance_type)
    full = as_full(c, covariance_type, *means.shape)
    precisions = {
        "full": lambda: np.linalg.inv(full),
        "tied": lambda: np.linalg.inv(c),
        "diag": lambda: 1 / c,
        "spherical": lambda: 1 / c,
    }[covariance_type]()
    theirs = mixture.GaussianMixture(
        3,
        covariance_type=covariance_type,
        max_iter=1,
        tol=0,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
        init_params="random_from_data",
        random_state=0,
    )
    with pytest.warns(exceptions.ConvergenceWarning):
        theirs.fit(X)
    w, m, s, bounds, converged = ref.fit(X, weights, means, c, covariance_type, 0, 1e-6, 1)
    assert not converged
    rtol = tolerance("fit, scikit-learn")
    np.testing.assert_allclose(w, theirs.weights_, rtol=rtol)
    np.testing.assert_allclose(m, theirs.means_, rtol=rtol)
    rtol = tolerance("bounds, scikit-learn")
    np.testing.assert_allclose(bounds[-1], theirs.lower_bound_, rtol=rtol)
    rtol = tolerance("reference, scikit-learn's covariances")
    np.testing.assert_allclose(s, theirs.covariances_, rtol=rtol, atol=1e-10)
    np.testing.assert_allclose(
        ref.precision_cholesky(s, covariance_type),
        theirs.precisions_cholesky_,
        rtol=rtol,
        atol=1e-10,
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_component_is_mean_and_covariance(covariance_type):
    X = make(covariance_type)[0]
    w, m, s = ref.m_step(X, np.ones((len(X), 1)), covariance_type, 0.0)
    C = np.cov(X.T, bias=True)
    expected = {
        "full": C[None],
        "tied": C,
        "diag": np.diag(C)[None],
        "spherical": [np.trace(C) / len(C)],
    }[covariance_type]
    rtol = tolerance("sums")
    np.testing.assert_allclose(w, [1.0])
    np.testing.assert_allclose(m, X.mean(axis=0)[None], rtol=rtol)
    np.testing.assert_allclose(s, expected, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_likelihood_never_falls(covariance_type):
    X, weights, means, c = make(covariance_type)
    sample_weight = np.random.default_rng(1).uniform(0, 2, len(X))
    *_, bounds, _ = ref.fit(X, weights, means, c, covariance_type, 0, 0.0, 40, sample_weight)
    assert np.diff(bounds).min() >= -1e-12 * abs(bounds[0])
    assert bounds[-1] > bounds[0]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_weights_are_repeated_rows(covariance_type):
    X, weights, means, c = make(covariance_type, n=80)
    times = np.random.default_rng(2).integers(0, 4, len(X))
    start = (weights, means, c, covariance_type, 0, 1e-6, 3)
    a = ref.fit(X, *start, sample_weight=times)
    b = ref.fit(np.repeat(X, times, axis=0), *start)
    for left, right in zip(a[:4], b[:4], strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance("same fit"), atol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_statistics_give_the_m_step(covariance_type):
    X, weights, means, c = make(covariance_type)
    d = X.shape[1]
    factors = ref.precision_cholesky(c, covariance_type)
    _, g = ref.e_step(X, weights, means, factors, covariance_type)
    np.testing.assert_allclose(g.sum(axis=1), 1.0)
    s = ref.statistics(X, g, means, covariance_type=covariance_type)
    w, m, cov = ref.m_step(X, g, covariance_type, 0.0)
    move = s["sx"] / s["nk"][:, None]
    np.testing.assert_allclose(s["nk"] / s["nk"].sum(), w)
    np.testing.assert_allclose(means + move, m)
    outer = s["nk"][:, None, None] * move[:, :, None] * move[:, None, :]
    scatter, n = {
        "full": lambda: (s["sxx"] - outer, s["nk"][:, None, None]),
        "tied": lambda: (s["sxx"] - outer.sum(axis=0), s["nk"].sum()),
        "diag": lambda: (s["sxx"] - np.diagonal(outer, axis1=1, axis2=2), s["nk"][:, None]),
        "spherical": lambda: (s["sxx"] - np.trace(outer, axis1=1, axis2=2), s["nk"] * d),
    }[covariance_type]()
    rtol = tolerance("reference, two formulas")
    np.testing.assert_allclose(scatter / n, cov, rtol=rtol, atol=1e-10)


def test_far_rows_and_bad_covariances():
    log_likelihood, g = ref.e_step(
        np.array([[1e6]]), [0.5, 0.5], [[0.0], [1.0]], np.ones((2, 1)), "diag"
    )
    assert np.isfinite(log_likelihood).all() and g.sum() == 1
    with pytest.raises(ValueError, match="reg_covar"):
        ref.precision_cholesky(np.zeros((1, 2, 2)), "full")
    with pytest.raises(ValueError, match="covariance_type"):
        ref.precision_cholesky(np.ones((1, 2)), "round")
