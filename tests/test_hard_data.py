"""Data that cost careless sums their digits: scales, outliers, far groups, odd weights."""

import warnings

import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, of_type

import fusedgmm
from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, reference

RNG = np.random.default_rng(0)
GROUPS = RNG.normal(size=(900, 2)) * 0.1 + np.repeat([[0, 0], [5, 0], [0, 5]], 300, axis=0)


def fit(X, k, covariance_type, **options):
    options = {"reg_covar": 0, "random_state": 0, **options}
    return GaussianMixture(k, covariance_type=covariance_type, **options).fit(X)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**-12, 2.0**30])
def test_the_default_start_does_not_depend_on_the_scale(covariance_type, dtype, scale):
    X = GROUPS.astype(dtype)
    here, there = (fit(x, 3, covariance_type) for x in (X, X * dtype(scale)))
    np.testing.assert_allclose(there.means_, here.means_ * scale, rtol=1e-4, atol=1e-4 * scale)
    np.testing.assert_allclose(there.weights_, [1 / 3] * 3, rtol=1e-4)


@pytest.mark.parametrize("separation", [1e3, 1e4, 1e6])
def test_far_groups_keep_the_digits_of_their_covariance(covariance_type, dtype, separation):
    """The truth is each group's own moments: no row has doubts where it belongs."""
    X = RNG.normal(size=(600, 2)).astype(dtype)
    X[300:] += dtype(separation)
    model = fit(X, 2, covariance_type)
    order = np.argsort(model.means_[:, 0])
    groups = X.astype(np.float64).reshape(2, 300, 2)
    covariances = of_type(np.stack([np.cov(g.T, bias=True) for g in groups]), covariance_type)
    got = model.covariances_ if covariance_type == "tied" else model.covariances_[order]
    rtol = 1e-4 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(got, covariances, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("outlier", [1e3, 1e5])
@pytest.mark.parametrize("init", ["random", "kmeans"])
def test_float32_survives_an_outlier_as_float64_does(covariance_type, init, outlier):
    X = np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32)
    X[0] = outlier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # converged or not is not the question
        options = dict(init_params=init, reg_covar=1e-6)
        single = fit(X, 2, covariance_type, **options)
        double = fit(X.astype(np.float64), 2, covariance_type, **options)
    assert np.isfinite(single.covariances_).all()
    # a component of one point has a variance of reg_covar: its density is all rounding
    np.testing.assert_allclose(single.weights_, double.weights_, atol=1e-3)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_bad_start_far_away_costs_no_digits(covariance_type, dtype):
    X = RNG.normal(size=(400, 2)).astype(dtype)
    for means in ([[1e3, 1e3], [-1e3, 1e3]], [[2e3, 0], [0, 0]]):
        c = of_type(np.stack([np.eye(2) * 1e6] * 2), covariance_type)
        parameters = MixtureParameters.from_covariances([0.5, 0.5], means, c, covariance_type)
        precisions = np.linalg.inv(c) if covariance_type in ("full", "tied") else 1 / c
        model = GaussianMixture(
            2, covariance_type=covariance_type, weights_init=[0.5, 0.5], means_init=means,
            precisions_init=precisions, max_iter=3, tol=1e9,
        ).fit(X)  # fmt: skip
        truth = reference.fit(
            X, parameters.weights, parameters.means, parameters.covariances, covariance_type,
            1e9, 1e-6, 3,
        )  # fmt: skip
        rtol = 2e-3 if dtype is np.float32 else 1e-7
        np.testing.assert_allclose(model.covariances_, truth[2], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("factor", [1e-300, 1e-44, 1e-12, 1e12, 1e300])
def test_only_the_ratios_of_weights_matter(covariance_type, dtype, factor):
    X, w = GROUPS.astype(dtype), RNG.uniform(0.5, 2, len(GROUPS))
    plain, scaled = (
        GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X, sample_weight=v)
        for v in (w, w * factor)
    )
    rtol = 1e-4 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(scaled.means_, plain.means_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(scaled.covariances_, plain.covariances_, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random_from_data"])
def test_starts_see_the_rows_that_have_weight(init):
    """Thirty rows of a hundred thousand count."""
    X = np.zeros((100_000, 2))
    w = np.zeros(len(X))
    rows = np.random.default_rng(3).choice(len(X), 30, replace=False)
    X[rows] = np.repeat([[0, 50], [50, 0], [50, 50]], 10, axis=0) + RNG.normal(size=(30, 2))
    w[rows] = 1
    model = GaussianMixture(
        3, init_params=init, max_iter=0, random_state=0, covariance_type="diag"
    ).fit(X, sample_weight=w)
    assert (np.abs(model.means_).max(axis=1) > 40).all()  # none at the rows of weight zero
    if init != "random_from_data":
        assert len(np.unique(np.round(model.means_ / 50), axis=0)) == 3


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_component_without_rows_stays_where_it_was(covariance_type):
    X = RNG.normal(size=(200, 2)) + 10
    c = of_type(np.stack([np.eye(2)] * 2), covariance_type)
    precisions = np.linalg.inv(c) if covariance_type in ("full", "tied") else 1 / c
    model = GaussianMixture(
        2, covariance_type=covariance_type, weights_init=[0.5, 0.5],
        means_init=[[10, 10], [500, 500]], precisions_init=precisions, tol=1e-2,
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"component\(s\) 1 "):
        model.fit(X)
    np.testing.assert_array_equal(model.means_[1], [500, 500])
    assert model.weights_.tolist() == [1, 0]


def test_sums_of_rows_beyond_reach_are_an_error():
    parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [[1.0]], "diag")
    with pytest.raises(ValueError, match="not finite"):
        fusedgmm.accumulate(np.array([[1e200], [0.0]]), parameters)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_moments_beyond_float32_are_an_error(covariance_type, scale):
    X = (GROUPS * scale).astype(np.float32)
    with pytest.raises(ValueError, match="not finite( in float32; scale|: some rows)"):
        fit(X, 3, covariance_type)
    assert fit(X.astype(np.float64), 3, covariance_type).converged_


def test_moments_beyond_float64_are_an_error(covariance_type):
    with pytest.raises(ValueError, match="not finite|ill-defined"):
        fit(GROUPS * 1e160, 3, covariance_type)
    tight = GROUPS * 1e-160
    with pytest.raises(ValueError, match="not finite|ill-defined"):
        fit(tight, 3, covariance_type)


def test_sums_beyond_float64_are_an_error():
    parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [[1.0]], "diag")
    w = np.full(3, 1e308)
    with pytest.raises(ValueError, match="the (sums are|log-likelihood is) not finite"):
        fusedgmm.accumulate(np.array([[1.0], [0.0], [3.0]]), parameters, w)
    half = fusedgmm.accumulate(np.array([[1.0], [0.0]]), parameters, [5e307, 1e307])
    with pytest.raises(ValueError, match="the sums are not finite"):
        half + half + half + half


@pytest.mark.parametrize("total", [1.0, 0.5, 1e-200])
def test_weights_of_a_bayesian_mixture_may_sum_to_one(covariance_type, total):
    """The prior's covariance is over N - 1, which such weights make zero or negative."""
    w = np.full(len(GROUPS), total / len(GROUPS))
    model = BayesianGaussianMixture(
        n_components=2, covariance_type=covariance_type, random_state=0, max_iter=500
    ).fit(GROUPS, sample_weight=w)
    assert np.isfinite(model.covariances_).all() and np.isfinite(model.lower_bounds_).all()
    np.testing.assert_allclose(model.mean_prior_, GROUPS.mean(axis=0))
    assert (np.asarray(model.covariance_prior_) > 0).any()


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_bayesian_covariances_are_symmetric_to_the_bit(covariance_type):
    X = np.random.default_rng(5).normal(size=(60, 5)) @ np.random.default_rng(6).normal(size=(5, 5))
    model = BayesianGaussianMixture(
        n_components=3, covariance_type=covariance_type, random_state=0, max_iter=500
    ).fit(X)
    transposed = np.swapaxes(model.covariances_, -1, -2)
    np.testing.assert_array_equal(model.covariances_, transposed)
