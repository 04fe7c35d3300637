"""Data for which naive sums lose precision: scales, offsets, outliers, groups far apart."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, reference
from helpers import (
    BOTH,
    COVARIANCE_TYPES,
    FITTED,
    fit_either,
    of_type,
    precisions_of,
    quiet_fit,
    three_tight_groups,
    tolerance,
)

RNG = np.random.default_rng(1)
GROUPS = three_tight_groups()


def fit(X, k, covariance_type, **options):
    options = {"reg_covar": 0, "random_state": 0, **options}
    return GaussianMixture(k, covariance_type=covariance_type, **options).fit(X)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0**-40, 2.0**-12, 2.0**30])
def test_the_default_start_does_not_depend_on_the_scale(covariance_type, dtype, scale):
    X = GROUPS.astype(dtype)
    here, there = (fit(x, 3, covariance_type) for x in (X, X * dtype(scale)))
    np.testing.assert_allclose(there.means_, here.means_ * scale, rtol=1e-4, atol=1e-4 * scale)
    np.testing.assert_allclose(there.weights_, [1 / 3] * 3, rtol=1e-4)


@pytest.mark.parametrize("separation", [1e3, 1e4, 1e6])
def test_far_groups_keep_the_digits_of_their_covariance(covariance_type, dtype, separation):
    """The true values are the moments of each group: every row clearly belongs to one group."""
    X = RNG.normal(size=(600, 2)).astype(dtype)
    X[300:] += dtype(separation)
    model = fit(X, 2, covariance_type)
    order = np.argsort(model.means_[:, 0])
    groups = X.astype(np.float64).reshape(2, 300, 2)
    covariances = of_type(np.stack([np.cov(g.T, bias=True) for g in groups]), covariance_type)
    got = model.covariances_ if covariance_type == "tied" else model.covariances_[order]
    rtol = tolerance("known moments", dtype)
    np.testing.assert_allclose(got, covariances, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("outlier", [1e3, 1e5])
@pytest.mark.parametrize("init", ["random", "kmeans"])
def test_float32_survives_an_outlier_as_float64_does(covariance_type, init, outlier):
    X = np.random.default_rng(1).normal(size=(500, 2)).astype(np.float32)
    X[0] = outlier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is not tested here
        options = dict(init_params=init, reg_covar=1e-6)
        single = fit(X, 2, covariance_type, **options)
        double = fit(X.astype(np.float64), 2, covariance_type, **options)
    assert np.isfinite(single.covariances_).all()
    # the variance of a component of one point is reg_covar: its density is dominated by rounding
    atol = tolerance("float64, hard data", np.float32)
    np.testing.assert_allclose(single.weights_, double.weights_, atol=atol)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_bad_start_far_away_costs_no_digits(covariance_type, dtype):
    X = RNG.normal(size=(400, 2)).astype(dtype)
    for means in ([[1e3, 1e3], [-1e3, 1e3]], [[2e3, 0], [0, 0]]):
        c = of_type(np.stack([np.eye(2) * 1e6] * 2), covariance_type)
        parameters = MixtureParameters.from_covariances([0.5, 0.5], means, c, covariance_type)
        precisions = precisions_of(c, covariance_type)
        model = GaussianMixture(
            2, covariance_type=covariance_type, weights_init=[0.5, 0.5], means_init=means,
            precisions_init=precisions, max_iter=3, tol=1e9,
        ).fit(X)  # fmt: skip
        truth = reference.fit(
            X, parameters.weights, parameters.means, parameters.covariances, covariance_type,
            1e9, 1e-6, 3,
        )  # fmt: skip
        rtol = tolerance("same fit, another start", dtype)
        np.testing.assert_allclose(model.covariances_, truth[2], rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("dtype", "n", "d", "wider"), [(np.float32, 20_000, 64, 2.3), (np.float64, 200_000, 20, 16)]
)
def test_a_component_whose_weight_falls_far_keeps_its_covariance(dtype, n, d, wider):
    """Both components have the same responsibilities for all rows, because these lie on a sphere.
    The true covariance is that of the rows, although the responsibilities of the wider component
    are negligible relative to its weight."""
    X = np.random.default_rng(0).normal(size=(n, d))
    X = (X / np.linalg.norm(X, axis=1)[:, None]).astype(dtype)
    model = GaussianMixture(
        2, weights_init=[0.5, 0.5], means_init=np.zeros((2, d)), max_iter=1,
        covariances_init=[np.eye(d) / d, np.eye(d) / d * wider**2],
    )  # fmt: skip
    quiet_fit(model, X)
    assert 0 < model.weights_[1] < 1e-11
    truth = np.cov(X.T, bias=True, dtype=np.float64) + 1e-6 * np.eye(d)
    rtol = tolerance("known moments", dtype)
    np.testing.assert_allclose(model.covariances_, [truth] * 2, rtol=rtol, atol=rtol / d)


@pytest.mark.parametrize("kind", BOTH)
def test_data_at_an_offset_of_1e8_fit_as_at_zero(kind, covariance_type):
    """Rows are multiples of 2^-20, so that adding 2^27 is exact."""
    X, offset = np.round(GROUPS * 2**20) / 2**20, 2.0**27
    here = fit_either(kind, X, covariance_type=covariance_type)
    there = fit_either(kind, X + offset, covariance_type=covariance_type)
    order, other = (np.lexsort(m.means_.round(1).T) for m in (here, there))
    np.testing.assert_allclose(there.means_[other] - offset, here.means_[order], atol=1e-4)
    np.testing.assert_allclose(there.weights_[other], here.weights_[order], atol=1e-5)
    a, b = here.covariances_, there.covariances_
    if covariance_type != "tied":
        a, b = a[order], b[other]
    np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", BOTH)
def test_float32_at_1000_with_a_deviation_of_a_hundredth_fits(kind, covariance_type):
    X = (GROUPS * 0.1 + 1000).astype(np.float32)
    single, double = (
        fit_either(kind, x, covariance_type=covariance_type, reg_covar=0)
        for x in (X, X.astype(np.float64))
    )
    order, other = (np.lexsort(m.means_.round(1).T) for m in (single, double))
    rtol = tolerance("float64, hard data", np.float32)
    np.testing.assert_allclose(single.weights_[order], double.weights_[other], rtol=rtol)
    a, b = single.covariances_, double.covariances_
    if covariance_type != "tied":
        a, b = a[order], b[other]
    rtol = tolerance("float64, hard covariances", np.float32)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)
    assert 0.005 < np.sqrt(np.max(a)) < (0.02 if kind is GaussianMixture else 0.1)


@pytest.mark.parametrize("kind", BOTH)
def test_data_of_scale_1e_8_fit(kind, covariance_type, dtype):
    X = (GROUPS * 1e-8).astype(dtype)
    model = fit_either(kind, X, covariance_type=covariance_type, reg_covar=0)
    labels = fit_either(kind, GROUPS.astype(dtype), covariance_type=covariance_type).predict(
        GROUPS.astype(dtype)
    )
    assert all(np.isfinite(getattr(model, name)).all() for name in FITTED)
    same = model.predict(X)[:, None] == model.predict(X)
    assert (same == (labels[:, None] == labels)).all()


@pytest.mark.slow
def test_a_reg_covar_beyond_the_data_gives_one_warning(covariance_type):
    with pytest.warns(UserWarning, match="reg_covar=1e-06 is more than every variance") as caught:
        model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(
            GROUPS * 1e-8
        )
    assert [w.filename for w in caught] == [__file__]
    assert all(np.isfinite(getattr(model, name)).all() for name in FITTED)


@pytest.mark.parametrize(
    ("covariance_type", "where"),
    [
        ("full", r"feature 1 of component (0|1) \(\d\S*e-08\)"),
        ("tied", r"feature 1 \(\d\S*e-08\)"),
        ("diag", r"feature 1 of component (0|1) \(\d\S*e-08\)"),
    ],
)
def test_a_reg_covar_beyond_one_feature_says_which(covariance_type, where, dtype):
    """Also where the feature's variance between the components is large."""
    X = GROUPS[:600].copy()
    X[:, 1] = 8 + np.round(X[:, 0] / 5) + RNG.normal(size=600) * 2e-4
    options = dict(covariance_type=covariance_type, random_state=0)
    if covariance_type != "tied":  # in one component of the two
        X[:300, 1] += RNG.normal(size=300)
    with pytest.warns(
        UserWarning, match=rf"^reg_covar=1e-06 is more than the variance of {where} and"
    ):
        GaussianMixture(2, **options).fit(X.astype(dtype))
    frame = pd.DataFrame(X.astype(dtype), columns=["a", "b"])
    with pytest.warns(UserWarning, match="feature 'b'"):
        GaussianMixture(2, **options).fit(frame)


def test_a_reg_covar_beyond_one_component_says_which(covariance_type):
    """Two clusters in degrees of longitude and latitude, and a third that is wider."""
    X = [47.37, 8.54] + RNG.normal(size=(900, 2)) * np.repeat([1e-4, 2e-4, 1.0], 300)[:, None]
    X[300:600] += 0.01
    X[600:] += 20
    means = X.reshape(3, 300, 2).mean(axis=1)
    start = of_type(np.stack([np.eye(2) * 1e-6, np.eye(2) * 1e-6, np.eye(2)]), covariance_type)
    model = GaussianMixture(
        3, covariance_type=covariance_type, means_init=means, covariances_init=start
    )
    if covariance_type == "tied":  # as wide as the widest
        quiet_fit(model, X)
        return
    with pytest.warns(UserWarning, match="reg_covar=1e-06 is more than the variance of") as caught:
        model.fit(X)
    message = str(caught[0].message)
    assert "component 0" in message and "component 1" in message
    assert message.count("component") == (2 if covariance_type == "spherical" else 3)
    assert ("1 more and" in message) == (covariance_type != "spherical")


def test_constant_features_and_single_rows_are_what_reg_covar_is_for(covariance_type, dtype):
    X = np.column_stack([GROUPS, np.full(len(GROUPS), 0.1), np.arange(len(GROUPS)) < 300])
    X = np.vstack([X, [[40.0, 30.0, 0.1, 0.0]]]).astype(dtype)
    for kind in BOTH:
        fit_either(kind, X, n_components=4, covariance_type=covariance_type)


@pytest.mark.parametrize("kind", BOTH)
def test_data_of_scale_1e150_fit(kind, covariance_type):
    plain = fit_either(kind, GROUPS, covariance_type=covariance_type, reg_covar=0)
    model = fit_either(kind, GROUPS * 2.0**500, covariance_type=covariance_type, reg_covar=0)
    np.testing.assert_allclose(model.means_ / 2.0**500, plain.means_, rtol=1e-3, atol=1e-3)
    assert all(np.isfinite(getattr(model, name)).all() for name in FITTED)


def test_a_mean_may_be_in_range_of_float32_where_the_sum_is_not():
    model = GaussianMixture.from_parameters(
        MixtureParameters.from_covariances([1.0], [[0.0]], [[[1.0]]])
    )
    X = np.full((1000, 1), 1e18, np.float32)
    np.testing.assert_allclose(model.score(X), -5e35, rtol=1e-4)
    assert model.score(X * np.float32(1e10)) == -np.inf  # too far from every component


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_component_without_rows_stays_where_it_was(covariance_type):
    X = RNG.normal(size=(200, 2)) + 10
    c = of_type(np.stack([np.eye(2)] * 2), covariance_type)
    precisions = precisions_of(c, covariance_type)
    model = GaussianMixture(
        2, covariance_type=covariance_type, weights_init=[0.5, 0.5],
        means_init=[[10, 10], [500, 500]], precisions_init=precisions, tol=1e-2,
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"component\(s\) 1 "):
        model.fit(X)
    np.testing.assert_array_equal(model.means_[1], [500, 500])
    assert model.weights_.tolist() == [1, 0]


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_bayesian_covariances_are_symmetric_to_the_bit(covariance_type):
    X = np.random.default_rng(5).normal(size=(60, 5)) @ np.random.default_rng(6).normal(size=(5, 5))
    model = BayesianGaussianMixture(
        n_components=3, covariance_type=covariance_type, random_state=0, max_iter=500
    ).fit(X)
    transposed = np.swapaxes(model.covariances_, -1, -2)
    np.testing.assert_array_equal(model.covariances_, transposed)
