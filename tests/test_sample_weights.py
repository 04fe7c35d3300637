"""Sample weights of zero and of any scale: only their ratios matter."""

import warnings

import numpy as np
import pytest

import fusedgmm
from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters
from helpers import BOTH, INITS, of_type, three_tight_groups, tolerance

RNG = np.random.default_rng(1)
GROUPS = three_tight_groups()


@pytest.mark.parametrize("factor", [1e-300, 1e-44, 1e-12, 1e12, 1e300])
def test_only_the_ratios_of_weights_matter(covariance_type, dtype, factor):
    X, w = GROUPS.astype(dtype), RNG.uniform(0.5, 2, len(GROUPS))
    plain, scaled = (
        GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X, sample_weight=v)
        for v in (w, w * factor)
    )
    rtol = tolerance("same fit", dtype)
    np.testing.assert_allclose(scaled.means_, plain.means_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(scaled.covariances_, plain.covariances_, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("max_iter", [0, 300])
@pytest.mark.parametrize("kind", BOTH)
def test_rows_of_weight_zero_have_no_part_wherever_they_lie(
    kind, max_iter, init, covariance_type, dtype
):
    """The squares of their distances exceed the range of the data's type."""
    X = GROUPS[::3].astype(dtype)  # few enough that starts use all of them
    w = np.ones(len(X))
    far = np.full((40, 2), np.sqrt(np.finfo(dtype).max) * 1e3, dtype)
    more, zeros = np.vstack([X, far, -far]), np.zeros(80)
    options = dict(covariance_type=covariance_type, init_params=init, random_state=0)
    options["max_iter"] = max_iter
    alone = kind(n_components=3, **options).fit(X, sample_weight=w)
    among = kind(n_components=3, **options).fit(more, sample_weight=np.r_[w, zeros])
    rtol = tolerance("same fit, rows of weight 0", dtype)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(
            getattr(among, name), getattr(alone, name), rtol=rtol, atol=rtol, err_msg=name
        )
    np.testing.assert_allclose(among.lower_bound_, alone.lower_bound_, rtol=rtol)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random_from_data"])
def test_starts_see_the_rows_that_have_weight(init):
    """Only thirty of a hundred thousand rows have weight."""
    X = np.zeros((100_000, 2))
    w = np.zeros(len(X))
    rows = np.random.default_rng(3).choice(len(X), 30, replace=False)
    X[rows] = np.repeat([[0, 50], [50, 0], [50, 50]], 10, axis=0) + RNG.normal(size=(30, 2))
    w[rows] = 1
    model = GaussianMixture(
        3, init_params=init, max_iter=0, random_state=0, covariance_type="diag"
    ).fit(X, sample_weight=w)
    assert (np.abs(model.means_).max(axis=1) > 40).all()  # no mean is at a row of weight zero
    if init != "random_from_data":
        assert len(np.unique(np.round(model.means_ / 50), axis=0)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1e308, 1e-322])
def test_weights_near_the_ends_of_the_range_say_so(weight, covariance_type):
    """With a prior, weights are absolute counts; elsewhere only their ratios matter."""
    w = np.full(len(GROUPS), weight)
    options = dict(n_components=2, covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match="sample_weight sums to .*: scale the weights"):
        BayesianGaussianMixture(**options).fit(GROUPS, sample_weight=w)
    model = GaussianMixture(**options).fit(GROUPS, sample_weight=w)
    plain = GaussianMixture(**options).fit(GROUPS)
    rtol = tolerance("same fit")
    np.testing.assert_allclose(model.means_, plain.means_, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("scale", [1.0, 1e100])
@pytest.mark.parametrize("init", INITS)
def test_weights_times_squares_may_be_beyond_float64(init, covariance_type, scale):
    """Also degenerate fits: a power of two changes no bit, however large it is."""
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


@pytest.mark.parametrize("factor", [2.0**1021, 2.0**-1068])
@pytest.mark.parametrize("init", INITS)
def test_starts_draw_by_weights_whose_sum_is_beyond_float64(init, covariance_type, dtype, factor):
    """A power of two changes no bit, although the sum of sixty-four such weights exceeds float64,
    or the smallest of the others are subnormal."""
    X, w = GROUPS[::3].astype(dtype), 0.25 * RNG.integers(1, 8, size=300)
    options = dict(covariance_type=covariance_type, init_params=init, random_state=0)
    plain, scaled = (
        GaussianMixture(3, max_iter=0, **options).fit(X, sample_weight=w * f) for f in (1.0, factor)
    )
    for name in ("weights_", "means_", "covariances_"):
        assert getattr(scaled, name).tobytes() == getattr(plain, name).tobytes(), name


@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1e300])
def test_parts_with_weights_of_any_scale_merge(covariance_type, factor):
    """Also if the shifts of the parts differ."""
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
    rtol = tolerance("same fit")
    for name in ("nk", "sx", "sxx"):
        a, b = getattr(scaled, name), getattr(plain, name)
        np.testing.assert_allclose(a / factor, b, rtol=rtol, atol=rtol * np.abs(b).max())
    a, b = scaled.maximize(), plain.maximize()
    np.testing.assert_allclose(a.means, b.means, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(a.covariances, b.covariances, rtol=rtol, atol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [5e-324, 1e-300, 1.0, 1e300, 1e308])
def test_a_score_does_not_depend_on_the_scale_of_weights(factor):
    model = GaussianMixture(2, random_state=0).fit(GROUPS)
    w = np.full(len(GROUPS), factor)
    np.testing.assert_allclose(model.score(GROUPS, sample_weight=w), model.score(GROUPS))


def test_a_row_of_weight_zero_has_no_part_in_a_score():
    model = GaussianMixture(2, random_state=0).fit(GROUPS)
    X = np.vstack([GROUPS, [[1e200, 0.0]]])  # too far from every component: -inf
    w = np.r_[np.ones(len(GROUPS)), 0.0]
    assert model.score(X, sample_weight=w) == model.score(GROUPS, sample_weight=w[:-1])
    assert model.score(X, sample_weight=w + 1) == -np.inf


@pytest.mark.slow
@pytest.mark.parametrize("total", [1.0, 0.5, 1e-200])
def test_weights_of_a_bayesian_mixture_may_sum_to_one(covariance_type, total):
    """The prior's covariance divides by N - 1, which such weights make zero or negative."""
    w = np.full(len(GROUPS), total / len(GROUPS))
    model = BayesianGaussianMixture(
        n_components=2, covariance_type=covariance_type, random_state=0, max_iter=500
    ).fit(GROUPS, sample_weight=w)
    assert np.isfinite(model.covariances_).all() and np.isfinite(model.lower_bounds_).all()
    np.testing.assert_allclose(model.mean_prior_, GROUPS.mean(axis=0))
    assert (np.asarray(model.covariance_prior_) > 0).any()
