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


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("max_iter", [0, 300])
@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
def test_rows_of_weight_zero_have_no_part_wherever_they_lie(
    kind, max_iter, init, covariance_type, dtype
):
    """The squares of their distances are beyond the range of the data's type."""
    X = GROUPS[::3].astype(dtype)  # so few that starts look at all of them
    w = np.ones(len(X))
    far = np.full((40, 2), np.sqrt(np.finfo(dtype).max) * 1e3, dtype)
    more, zeros = np.vstack([X, far, -far]), np.zeros(80)
    options = dict(covariance_type=covariance_type, init_params=init, random_state=0)
    options["max_iter"] = max_iter
    alone = kind(n_components=3, **options).fit(X, sample_weight=w)
    among = kind(n_components=3, **options).fit(more, sample_weight=np.r_[w, zeros])
    rtol = 1e-3 if dtype is np.float32 else 1e-9
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(
            getattr(among, name), getattr(alone, name), rtol=rtol, atol=rtol, err_msg=name
        )
    np.testing.assert_allclose(among.lower_bound_, alone.lower_bound_, rtol=rtol)


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


# ---- where scikit-learn's fits lose digits, or say nothing ----

BOTH = [GaussianMixture, BayesianGaussianMixture]
ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def fit_either(kind, X, **options):
    options = {"n_components": 3, "random_state": 0, "max_iter": 500, "n_threads": 1, **options}
    return kind(**options).fit(X)


@pytest.mark.parametrize("kind", BOTH)
def test_data_at_an_offset_of_1e8_fit_as_at_zero(kind, covariance_type):
    """Rows in steps of 2^-20, so that the sum with 2^27 is exact."""
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
    np.testing.assert_allclose(single.weights_[order], double.weights_[other], rtol=1e-3)
    a, b = single.covariances_, double.covariances_
    if covariance_type != "tied":
        a, b = a[order], b[other]
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-6)
    assert 0.005 < np.sqrt(np.max(a)) < (0.02 if kind is GaussianMixture else 0.1)


@pytest.mark.parametrize("kind", BOTH)
def test_data_of_scale_1e_8_fit(kind, covariance_type, dtype):
    X = (GROUPS * 1e-8).astype(dtype)
    model = fit_either(kind, X, covariance_type=covariance_type, reg_covar=0)
    labels = fit_either(kind, GROUPS.astype(dtype), covariance_type=covariance_type).predict(
        GROUPS.astype(dtype)
    )
    assert all(np.isfinite(getattr(model, name)).all() for name in ARRAYS)
    same = model.predict(X)[:, None] == model.predict(X)
    assert (same == (labels[:, None] == labels)).all()


def test_a_reg_covar_beyond_the_data_is_said_once(covariance_type):
    with pytest.warns(UserWarning, match="reg_covar=1e-06 is more than every variance") as caught:
        model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(
            GROUPS * 1e-8
        )
    assert [w.filename for w in caught] == [__file__]
    assert all(np.isfinite(getattr(model, name)).all() for name in ARRAYS)


@pytest.mark.parametrize("kind", BOTH)
def test_data_of_scale_1e150_fit(kind, covariance_type):
    plain = fit_either(kind, GROUPS, covariance_type=covariance_type, reg_covar=0)
    model = fit_either(kind, GROUPS * 2.0**500, covariance_type=covariance_type, reg_covar=0)
    np.testing.assert_allclose(model.means_ / 2.0**500, plain.means_, rtol=1e-3, atol=1e-3)
    assert all(np.isfinite(getattr(model, name)).all() for name in ARRAYS)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("scale", [1e154, 1e160, 1e300])
def test_data_too_large_for_their_squares_say_so(kind, covariance_type, scale):
    X = np.random.default_rng(2).permutation(GROUPS) * scale
    with pytest.raises(
        ValueError, match="squares of the data's differences .* are too large in fl"
    ):
        fit_either(kind, X, covariance_type=covariance_type)


@pytest.mark.parametrize("kind", BOTH)
def test_data_too_small_for_their_squares_say_so(kind, covariance_type):
    with pytest.raises(
        ValueError, match="squares of the data's .* vanish in float64: scale the data$"
    ):
        fit_either(kind, GROUPS * 1e-165, covariance_type=covariance_type, reg_covar=0)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("scale", [1e-25, 1e22, 1e30])
def test_float32_that_cannot_hold_a_covariance_says_so(kind, covariance_type, scale):
    """As float64 the same rows fit."""
    X = (GROUPS * scale).astype(np.float32)
    options = dict(covariance_type=covariance_type, reg_covar=0)
    with pytest.raises(ValueError, match="float32.*scale the data, or convert them to float64"):
        fit_either(kind, X, **options)
    assert np.isfinite(fit_either(kind, X.astype(np.float64), **options).precisions_).all()


@pytest.mark.parametrize("weight", [1e308, 1e-322])
def test_weights_near_the_ends_of_the_range_say_so(weight, covariance_type):
    """Beside a prior they are numbers of rows; elsewhere only their ratios matter."""
    w = np.full(len(GROUPS), weight)
    options = dict(n_components=2, covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match="sample_weight sums to .*: scale the weights"):
        BayesianGaussianMixture(**options).fit(GROUPS, sample_weight=w)
    model = GaussianMixture(**options).fit(GROUPS, sample_weight=w)
    plain = GaussianMixture(**options).fit(GROUPS)
    np.testing.assert_allclose(model.means_, plain.means_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e100])
@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_weights_times_squares_may_be_beyond_float64(init, covariance_type, scale):
    """Degenerate ones too: a power of two changes no bit, however large."""
    X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [3.0, 5.0], [0.5, 0.0]]) * scale
    w = np.array([0.5, 0.25, 1.0, 1.5, 1.75])
    options = dict(covariance_type=covariance_type, init_params=init, random_state=0)
    options |= dict(degenerate="repair", max_iter=500)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "degenerate components were repaired")
        models = [
            GaussianMixture(3, **options).fit(X, sample_weight=w * factor)
            for factor in (1.0, 2.0**1000, 2.0**-950)
        ]
    for name in ("weights_", "means_", "covariances_"):
        first, *others = (getattr(model, name).tobytes() for model in models)
        assert others == [first] * 2, name


@pytest.mark.parametrize("kind", BOTH)
def test_a_fault_that_is_not_the_scales_keeps_its_name(kind):
    X = GROUPS * 1e160
    X[5, 1] = np.nan
    with pytest.raises(ValueError, match="NaN.*row 5, column 1"):
        fit_either(kind, X)
    with pytest.raises(ValueError, match="infinity.*row 5, column 1"):
        fit_either(kind, np.where(np.isnan(X), np.inf, X))
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(reg_covar=0).fit(np.full((9, 2), 1e8))


@pytest.mark.parametrize("kind", BOTH)
def test_a_generator_draws_on(kind):
    model = fit_either(kind, GROUPS, random_state=np.random.default_rng(3))
    first, second = model.sample(5)[0], model.sample(5)[0]
    assert not np.isin(second, first).any()
    again = fit_either(kind, GROUPS, random_state=np.random.default_rng(3))
    assert again.means_.tobytes() == model.means_.tobytes()
    np.testing.assert_array_equal(again.sample(5)[0], first)
    np.testing.assert_array_equal(again.sample(5)[0], second)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("random_state", [np.random.default_rng, np.random.RandomState])
def test_every_fit_draws_a_start_of_its_own_from_a_stream(kind, random_state):
    model = kind(
        n_components=4, init_params="random_from_data", max_iter=0, random_state=random_state(1)
    )
    first = model.fit(GROUPS).means_
    assert (model.fit(GROUPS).means_ != first).any()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("call", ["fit", "predict", "score", "score_samples", "predict_proba"])
def test_masked_values_are_refused_and_a_mask_of_nothing_is_not(kind, call):
    model = fit_either(kind, GROUPS)
    masked = np.ma.masked_array(GROUPS, mask=np.zeros(GROUPS.shape, bool))
    getattr(model, call)(masked)
    masked[4, 1] = np.ma.masked
    with pytest.raises(ValueError, match="X has masked values; fill or drop them first"):
        getattr(model, call)(masked)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_rows_are_refused_though_no_pass_reads_them(bad):
    X = GROUPS.copy()
    X[7, 1] = bad
    model = GaussianMixture(
        1, weights_init=[1.0], means_init=[[0.0, 0.0]], precisions_init=[np.eye(2)], max_iter=0
    )
    with pytest.raises(ValueError, match="row 7, column 1"):
        model.fit(X)
    assert not hasattr(model, "means_")


def test_sums_beyond_float64_are_an_error():
    parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [[1.0]], "diag")
    w = np.full(3, 1e308)
    with pytest.raises(ValueError, match="the (sums are|log-likelihood is) not finite"):
        fusedgmm.accumulate(np.array([[1.0], [0.0], [3.0]]), parameters, w)
    half = fusedgmm.accumulate(np.array([[1.0], [0.0]]), parameters, [5e307, 1e307])
    with pytest.raises(ValueError, match="the sums are not finite"):
        half + half + half + half
    # it may be the log-likelihood alone that is out of range, or what is asked about zero
    narrow = MixtureParameters.from_covariances([1.0], [[0.0]], [[1e-4]], "diag")
    half = fusedgmm.accumulate(np.array([[1.0], [1.0]]), narrow, [6e303, 6e303])
    with pytest.raises(ValueError, match="the sums are not finite"):
        half + half + half + half
    far = MixtureParameters.from_covariances([1.0], [[1e6]], [[1.0]], "diag")
    sums = fusedgmm.accumulate(np.array([[1e6]]), far, [1e303])
    assert sums.maximize().means == 1e6
    for name in ("sx", "sxx"):
        with pytest.raises(ValueError, match="the sums are not finite"):
            getattr(sums, name)


@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1e300])
def test_parts_with_weights_of_any_scale_merge(covariance_type, factor):
    """Also where the shifts of the parts differ."""
    eye = of_type(np.stack([np.eye(2)] * 2), covariance_type)
    here, there = (
        MixtureParameters.from_covariances([0.5, 0.5], means, eye, covariance_type)
        for means in ([[0.0, 0.0], [5.0, 0.0]], [[0.0, 1.0], [4.0, 1.0]])
    )
    w = RNG.uniform(0.5, 2, len(GROUPS))

    def merged(weights):
        return fusedgmm.accumulate(GROUPS[:400], here, weights[:400]) + fusedgmm.accumulate(
            GROUPS[400:], there, weights[400:]
        )

    plain, scaled = merged(w), merged(w * factor)
    for name in ("nk", "sx", "sxx"):
        a, b = getattr(scaled, name), getattr(plain, name)
        np.testing.assert_allclose(a / factor, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())
    a, b = scaled.maximize(), plain.maximize()
    np.testing.assert_allclose(a.means, b.means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(a.covariances, b.covariances, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [5e-324, 1e-300, 1.0, 1e300, 1e308])
def test_the_scale_of_weights_is_none_of_a_score(factor):
    model = GaussianMixture(2, random_state=0).fit(GROUPS)
    w = np.full(len(GROUPS), factor)
    np.testing.assert_allclose(model.score(GROUPS, sample_weight=w), model.score(GROUPS))


def test_a_row_of_weight_zero_has_no_part_in_a_score():
    model = GaussianMixture(2, random_state=0).fit(GROUPS)
    X = np.vstack([GROUPS, [[1e200, 0.0]]])  # beyond the reach of every component: -inf
    w = np.r_[np.ones(len(GROUPS)), 0.0]
    assert model.score(X, sample_weight=w) == model.score(GROUPS, sample_weight=w[:-1])
    assert model.score(X, sample_weight=w + 1) == -np.inf


def test_a_mean_may_be_in_range_of_float32_where_the_sum_is_not():
    model = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[[[1.0]]])
    X = np.full((1000, 1), 1e18, np.float32)
    np.testing.assert_allclose(model.score(X), -5e35, rtol=1e-4)
    assert model.score(X * np.float32(1e10)) == -np.inf  # beyond its reach


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
