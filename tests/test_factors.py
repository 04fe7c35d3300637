"""Factors of covariances of many features, which are computed by blocks and by several threads."""

import numpy as np
import pytest

from fusedgmm import GaussianMixture, _core, reference
from helpers import FITTED

pytestmark = pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")

# below, at and beyond the edges of the blocks, and where threads take part
SIZES = [127, 128, 129, 144, 145, 191, 192, 193, 300, 431, 480, 500]


def covariance(d, seed=0, condition=100.0):
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    values = np.geomspace(1, condition, d)
    return (Q * values) @ Q.T


def factor(covariances, covariance_type="tied", n_components=1):
    return _core.precision_cholesky(
        covariances,
        covariance_type=covariance_type,
        n_components=n_components,
        n_features=covariances.shape[-1],
    )


@pytest.mark.parametrize("d", SIZES)
def test_it_is_the_factor_of_the_precision(d):
    S = covariance(d)
    U = factor(S)
    assert np.array_equal(U, np.triu(U)) and (np.diagonal(U) > 0).all()
    np.testing.assert_allclose(U, reference.precision_cholesky(S, "tied"), atol=1e-12)


@pytest.mark.parametrize("d", [129, 200, 400])
@pytest.mark.parametrize("condition", [1e4, 1e8, 1e12])
def test_it_is_as_accurate_as_lapack(d, condition):
    """U^T S U is the identity, up to rounding errors times the condition number."""
    S = covariance(d, condition=condition)
    U, theirs = factor(S), reference.precision_cholesky(S, "tied")
    error, their_error = (np.abs(V.T @ S @ V - np.eye(d)).max() for V in (U, theirs))
    assert error <= 4 * their_error + 1e-14 * condition


def test_every_component_has_its_own():
    S = np.stack([covariance(150, seed) for seed in range(3)])
    U = factor(S, "full", 3)
    assert all(np.array_equal(U[k], factor(S[k])) for k in range(3))


@pytest.mark.parametrize("scale", [2.0**-400, 2.0**400])
def test_units_change_only_exponents(scale):
    S = covariance(150)
    assert np.array_equal(factor(S * scale) * np.sqrt(scale), factor(S))


@pytest.mark.parametrize("d", [200, 450])
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 47, 48, 130, -1])
def test_a_singular_covariance_is_found(d, bad, at):
    S = np.stack([covariance(d)] * 2)
    S[1, at, :] = S[1, :, at] = 0
    S[1, at, at] = bad
    with pytest.raises(ValueError, match="component 1"):
        factor(S, "full", 2)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("d", [15, 16, 17, 33])
def test_a_covariance_is_symmetric(covariance_type, d):
    X = np.random.default_rng(0).normal(size=(90, d))
    S = GaussianMixture(1, covariance_type=covariance_type, n_init=1).fit(X).covariances_
    S = S[0] if covariance_type == "full" else S
    assert np.array_equal(S, S.T)
    np.testing.assert_allclose(S, np.cov(X.T, bias=True) + 1e-6 * np.eye(d), atol=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("acceleration", [None, "squarem"])
def test_threads_change_no_bit(covariance_type, acceleration):
    X = np.random.default_rng(0).normal(size=(1100, 420))
    options = dict(covariance_type=covariance_type, n_init=1, max_iter=5, tol=0)
    options |= dict(init_params="random_from_data", random_state=0, acceleration=acceleration)
    models = []
    for n_threads in (1, 2, 3):
        models.append(GaussianMixture(2, n_threads=n_threads, **options).fit(X))
    for model in models[1:]:
        assert model.lower_bounds_ == models[0].lower_bounds_
        assert all(np.array_equal(getattr(model, n), getattr(models[0], n)) for n in FITTED)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_many_features_are_accelerated(covariance_type):
    """Roots and their inverses by blocks: the same passes as the reference."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 140)) + 0.4 * rng.integers(2, size=(400, 1))
    K, d = 2, X.shape[1]
    S = np.cov(X.T) + np.eye(d)
    covariances = np.stack([S, 1.1 * S]) if covariance_type == "full" else S
    weights, means = np.array([0.5, 0.5]), X[:2]
    options = dict(tol=1e-9, reg_covar=1e-3, max_iter=14)
    *parameters, bounds, _, n_passes = reference.fit_squarem(
        X, weights, means, covariances, covariance_type, **options
    )
    model = GaussianMixture(
        K,
        covariance_type=covariance_type,
        weights_init=weights,
        means_init=means,
        covariances_init=covariances,
        acceleration="squarem",
        **options,
    )
    model.fit(X)
    assert model.n_passes_ == n_passes
    np.testing.assert_allclose(model.lower_bounds_, bounds, rtol=1e-9)
    np.testing.assert_allclose(model.means_, parameters[1], atol=1e-6)
