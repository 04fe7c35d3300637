"""The effect of transformed data on a fit, and precision compared with exact values."""

import numpy as np
import pytest

from fusedgmm import GaussianMixture, MixtureParameters, accumulate
from helpers import mixture_data, of_type, precisions_of, tolerance

K = 3


def fit(X, start_from, covariance_type, **options):
    """Ten iterations from the exact means and unit-scale precisions of `start_from`."""
    weights, means, covariances = start_from
    c = of_type(covariances, covariance_type)
    precisions = precisions_of(c, covariance_type)
    model = GaussianMixture(
        K,
        covariance_type=covariance_type,
        reg_covar=0,
        tol=1e-2,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
        **options,
    )
    return model.fit(X)


def test_the_order_of_rows_does_not_matter(covariance_type):
    X, *start = mixture_data(2000, 3, K)
    a = fit(X, start, covariance_type)
    b = fit(np.random.default_rng(0).permutation(X), start, covariance_type)
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-10, atol=1e-11)


def test_scaling_by_a_power_of_two(covariance_type):
    X, weights, means, covariances = mixture_data(2000, 3, K)
    s = 2.0**20
    a = fit(X, (weights, means, covariances), covariance_type)
    b = fit(X * s, (weights, means * s, covariances * s**2), covariance_type)
    np.testing.assert_allclose(b.means_, a.means_ * s, rtol=1e-11, atol=1e-10 * s)
    np.testing.assert_allclose(
        b.lower_bound_, a.lower_bound_ - 3 * np.log(s), rtol=tolerance("sums")
    )


@pytest.mark.parametrize("covariance_type", ["full", "tied", "spherical"])
def test_rotation(covariance_type):
    X, weights, means, covariances = mixture_data(2000, 3, K)
    q = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    turned = np.einsum("ij,kjl,ml->kim", q, covariances, q)
    if covariance_type == "spherical":  # the mean of the diagonal does not change
        np.testing.assert_allclose(
            of_type(turned, covariance_type), of_type(covariances, covariance_type)
        )
    a = fit(X, (weights, means, covariances), covariance_type)
    b = fit(X @ q.T, (weights, means @ q.T, turned), covariance_type)
    np.testing.assert_allclose(b.means_, a.means_ @ q.T, rtol=tolerance("same fit"), atol=1e-10)
    np.testing.assert_allclose(b.lower_bounds_, a.lower_bounds_, rtol=tolerance("bounds"))


def test_moments_of_the_mixture_are_those_of_the_data(covariance_type):
    X, *start = mixture_data(2000, 3, K)
    m = fit(X, start, covariance_type)
    np.testing.assert_allclose(m.weights_ @ m.means_, X.mean(0), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_closer_to_the_truth_than_scikit_learn(offset):
    """Diagonal covariances at an offset, compared with exact sums of many digits."""
    mpmath = pytest.importorskip("mpmath")
    mixture = pytest.importorskip("sklearn.mixture")
    x = offset + np.random.default_rng(0).normal(size=300)
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(v)) for v in x]
        mean = mpmath.fsum(exact) / len(exact)
        truth = float(mpmath.fsum((v - mean) ** 2 for v in exact) / len(exact))
    start = MixtureParameters.from_covariances([1.0], [[offset]], [[1.0]], "diag")
    ours = accumulate(x[:, None], start).maximize(reg_covar=0).covariances[0, 0]
    assert abs(ours - truth) < 1e-13 * truth
    try:
        theirs = mixture.GaussianMixture(1, covariance_type="diag", reg_covar=0).fit(x[:, None])
        error = abs(theirs.covariances_[0, 0] - truth)
    except ValueError:  # it computes a negative variance
        error = np.inf
    assert error > 1e3 * abs(ours - truth)
