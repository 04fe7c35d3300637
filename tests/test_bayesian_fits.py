"""Properties of a Bayesian fit for any data, priors and number of threads."""

import pickle

import mpmath
import numpy as np
import pytest

from fusedgmm import GaussianMixture
from fusedgmm._variational import digamma
from helpers import COVARIANCE_TYPES, INITS, mixture_data, of_type, quiet_fit, tolerance
from helpers.bayesian import GROUPS, X, assert_close, assert_same_bits, bayes, priors, values


@pytest.mark.parametrize("init", INITS)
def test_the_lower_bound_never_falls(init, covariance_type, prior_type):
    model = quiet_fit(
        bayes(
            n_components=4, covariance_type=covariance_type, init_params=init, tol=0, max_iter=40,
            weight_concentration_prior_type=prior_type, reg_covar=0, random_state=0,
        ),
        X,
    )  # fmt: skip
    bounds = np.array(model.lower_bounds_)
    assert np.diff(bounds).min() > -1e-10 * np.abs(bounds).max()
    assert bounds[-1] > bounds[0]


def test_one_component_is_the_conjugate_posterior(covariance_type):
    """Bishop, equations 10.60 to 10.63, with all responsibilities equal to one."""
    given = priors(covariance_type, 3)
    model = bayes(covariance_type=covariance_type, reg_covar=0, **given).fit(X)
    n, m0 = len(X), given["mean_prior"]
    beta, nu = given["mean_precision_prior"] + n, given["degrees_of_freedom_prior"] + n
    mean = (given["mean_precision_prior"] * m0 + n * X.mean(0)) / beta
    away = X.mean(0) - m0
    scatter = n * np.cov(X.T, bias=True)
    scatter += given["mean_precision_prior"] * n / beta * np.outer(away, away)
    expected = {
        "full": scatter[None],
        "tied": scatter,
        "diag": np.diag(scatter)[None],
        "spherical": np.atleast_1d(np.trace(scatter) / 3),
    }[covariance_type]
    expected = (given["covariance_prior"] + expected) / nu
    np.testing.assert_allclose(model.weights_, [1.0])
    np.testing.assert_allclose(model.means_[0], mean, rtol=tolerance("sums"))
    np.testing.assert_allclose(model.mean_precision_, [beta])
    np.testing.assert_allclose(np.squeeze(model.degrees_of_freedom_), nu)
    rtol = tolerance("second moments")
    np.testing.assert_allclose(model.covariances_, expected, rtol=rtol, atol=1e-12)


def test_reg_covar_counts_once_for_every_row(covariance_type):
    """It is added to the mean square of the rows, not to the posterior covariance."""
    unit = of_type(np.eye(3)[None], covariance_type)
    prior = unit if covariance_type == "tied" else unit[0]
    options = dict(covariance_type=covariance_type, covariance_prior=prior, mean_prior=X.mean(0))
    plain = bayes(reg_covar=0, **options).fit(X)
    more = bayes(reg_covar=0.5, **options).fit(X)
    share = len(X) / np.ravel(plain.degrees_of_freedom_)[0]
    np.testing.assert_allclose(
        more.covariances_,
        plain.covariances_ + 0.5 * share * unit,
        rtol=tolerance("sums"),
        atol=1e-14,
    )


def test_float32_is_close_to_float64(covariance_type, prior_type):
    single = X.astype(np.float32)
    start = quiet_fit(
        bayes(
            n_components=3, covariance_type=covariance_type, random_state=0, max_iter=1,
            weight_concentration_prior_type=prior_type,
        ),
        single.astype(np.float64),
    ).set_params(warm_start=True, max_iter=10, tol=0)  # fmt: skip
    other = pickle.loads(pickle.dumps(start))
    quiet_fit(start, single), quiet_fit(other, single.astype(np.float64))
    assert_close(start, other, tolerance("float64, Bayesian", np.float32))
    rtol = tolerance("float64, Bayesian bound", np.float32)
    np.testing.assert_allclose(start.lower_bound_, other.lower_bound_, rtol=rtol)
    for name in ("weights_", "means_", "covariances_", "precisions_", "mean_precision_"):
        assert getattr(start, name).dtype == np.float32, name
    parts = start.weight_concentration_
    parts = parts if prior_type == "dirichlet_process" else (parts,)
    assert [part.dtype for part in parts] == [np.float32] * len(parts)
    assert start.predict_proba(single).dtype == start.score_samples(single).dtype == np.float32


@pytest.mark.parametrize("given", [False, True], ids=["default", "given"])
def test_weights_are_repeated_rows(covariance_type, prior_type, given):
    counts = np.random.default_rng(3).integers(0, 4, size=len(X))
    start = quiet_fit(
        bayes(
            n_components=3, covariance_type=covariance_type, max_iter=1, random_state=0,
            weight_concentration_prior_type=prior_type,
            **(priors(covariance_type, 3) if given else {}),
        ),
        X,
    ).set_params(warm_start=True, max_iter=7, tol=0)  # fmt: skip
    other = pickle.loads(pickle.dumps(start))
    quiet_fit(start, X, sample_weight=counts), quiet_fit(other, np.repeat(X, counts, axis=0))
    assert_close(start, other, tolerance("same fit"))
    bound = tolerance("bounds")
    np.testing.assert_allclose(start.lower_bounds_, other.lower_bounds_, rtol=bound)
    np.testing.assert_allclose(
        start.score(X, sample_weight=counts),
        other.score(np.repeat(X, counts, axis=0)),
        rtol=tolerance("sums"),
    )


def test_a_start_sees_the_weights():
    weight = np.r_[np.ones(300), np.zeros(300)]
    model = bayes(n_components=2, random_state=0, max_iter=500)
    model.fit(GROUPS, sample_weight=weight)
    assert (model.means_[:, 0] < 5).all()  # no component at the second group
    np.testing.assert_allclose(model.mean_precision_.sum(), 2 + 300, rtol=tolerance("same fit"))


def test_a_first_row_of_weight_zero_costs_no_digits(covariance_type):
    """The moments for the prior are about a row that counts."""
    X, weight = np.vstack([[[1e30, -1e30]], GROUPS]), np.r_[0, np.ones(len(GROUPS))]
    options = dict(n_components=2, covariance_type=covariance_type, random_state=0)
    among = bayes(**options).fit(X, sample_weight=weight)
    alone = bayes(**options).fit(GROUPS)
    assert_close(among, alone, tolerance("same fit, rows of weight 0"))


def test_weights_whose_sums_are_beyond_float64_are_named(covariance_type):
    model = bayes(covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match="the sums are not finite: scale .* their weights"):
        model.fit(X * 1e4, sample_weight=np.full(len(X), 1e300))
    assert not hasattr(model, "means_")


@pytest.mark.parametrize("prior", ["weight_concentration_prior", "mean_precision_prior"])
def test_the_weakest_prior_gives_no_warning(prior, prior_type):
    model = bayes(
        n_components=3, weight_concentration_prior_type=prior_type, random_state=0, max_iter=500,
        **{prior: 1e-320},
    )  # fmt: skip
    quiet_fit(model, GROUPS)
    assert model.predict_proba(GROUPS).sum(axis=1) == pytest.approx(1)


def test_any_number_of_threads_gives_the_same_bits(covariance_type):
    rows = mixture_data(20_000, 3, 3)[0]
    fits = [
        quiet_fit(
            bayes(
                n_components=4, covariance_type=covariance_type, random_state=0, n_threads=n,
                max_iter=4,
            ),
            rows,
        )
        for n in (1, 2, 3, 8)
    ]  # fmt: skip
    for other in fits[1:]:
        assert_same_bits(other, fits[0])
        assert other.lower_bounds_ == fits[0].lower_bounds_


def test_an_offset_changes_nothing_but_the_place(covariance_type, prior_type):
    """Rows are multiples of 2^-20, so that adding 2^27 is exact."""
    rows, offset = np.round(X * 2**20) / 2**20, 2.0**27
    options = dict(
        n_components=3, covariance_type=covariance_type, random_state=0, tol=0, max_iter=8,
        weight_concentration_prior_type=prior_type,
    )  # fmt: skip
    here = quiet_fit(bayes(**options), rows)
    there = quiet_fit(bayes(**options), rows + offset)
    there.means_ = there.means_ - offset
    there.mean_prior_ = there.mean_prior_ - offset
    assert_close(there, here, 1e-5)  # an offset of 1e8 limits the precision of the means
    np.testing.assert_allclose(there.lower_bounds_, here.lower_bounds_, rtol=1e-7)


def test_a_scale_changes_nothing_but_the_scale(covariance_type, prior_type):
    options = dict(
        n_components=3, covariance_type=covariance_type, random_state=0, tol=0, max_iter=8,
        weight_concentration_prior_type=prior_type, reg_covar=0,
    )  # fmt: skip
    here = quiet_fit(bayes(**options), X)
    rtol = tolerance("same fit")
    for scale in (2.0**-26, 2.0**26):
        there = quiet_fit(bayes(**options), X * scale)
        np.testing.assert_allclose(there.weights_, here.weights_, rtol=rtol)
        np.testing.assert_allclose(there.means_, here.means_ * scale, rtol=rtol)
        np.testing.assert_allclose(
            there.covariances_, here.covariances_ * scale**2, rtol=1e-8, atol=1e-9 * scale**2
        )


def test_superfluous_components_get_no_weight(covariance_type, prior_type):
    model = bayes(
        n_components=8, covariance_type=covariance_type, weight_concentration_prior=1e-3,
        weight_concentration_prior_type=prior_type, random_state=0, max_iter=2000, tol=1e-6,
    ).fit(GROUPS)  # fmt: skip
    kept = np.sort(model.weights_)[-2:]
    np.testing.assert_allclose(kept, [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(model.weights_.sum(), 1)
    assert len(np.unique(model.predict(GROUPS))) == 2


def test_a_strong_concentration_keeps_all_components():
    weak, strong = (
        bayes(
            n_components=5, weight_concentration_prior=concentration, random_state=0, max_iter=2000,
            weight_concentration_prior_type="dirichlet_distribution",
        ).fit(GROUPS)
        for concentration in (1e-3, 1e6)
    )  # fmt: skip
    np.testing.assert_allclose(strong.weights_, 0.2, atol=1e-3)
    assert weak.weights_.min() < 0.01


def test_too_many_components_stay_finite(covariance_type, prior_type):
    """Clusters of one row, of no rows and of equal rows, and a constant column: the prior keeps the
    fit finite."""
    rows = np.column_stack([np.repeat(X[:6, 0], 5), np.repeat(X[:6, 1], 5), np.full(30, 4.0)])
    for reg_covar in (0, 1e-6):
        model = bayes(
            n_components=20, covariance_type=covariance_type, random_state=0, reg_covar=reg_covar,
            weight_concentration_prior_type=prior_type,
            covariance_prior=priors(covariance_type, 3)["covariance_prior"],
        )  # fmt: skip
        quiet_fit(model, rows)
        assert all(np.isfinite(value).all() for value in values(model).values())
        assert np.isfinite(model.lower_bounds_).all()
        np.testing.assert_allclose(model.predict_proba(rows).sum(axis=1), 1)


def test_the_posterior_mean_of_much_data_is_the_maximum_likelihood():
    rows = mixture_data(20_000, 2, 1)[0]
    for covariance_type in COVARIANCE_TYPES:
        expected = bayes(covariance_type=covariance_type).fit(rows)
        likely = GaussianMixture(covariance_type=covariance_type, n_threads=1).fit(rows)
        np.testing.assert_allclose(expected.means_, likely.means_, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(expected.covariances_, likely.covariances_, rtol=1e-3, atol=1e-3)


def degenerate_columns():
    """Columns by name, most of them beside the two clusters of GROUPS."""
    N = len(GROUPS)
    hot = np.eye(4)[np.random.default_rng(1).integers(4, size=N)]
    return {
        "one constant": np.full((N, 1), 7.0),
        "one-hot": hot,
        "clusters, a constant": np.c_[GROUPS, np.full(N, 0.1)],
        "clusters, a constant far from zero": np.c_[GROUPS, np.full(N, 1e6 + 0.1)],
        "clusters, one-hot": np.c_[GROUPS, hot],
        "clusters, a copy": np.c_[GROUPS, GROUPS[:, :1]],
        "clusters, a sum": np.c_[GROUPS, GROUPS.sum(axis=1)],
        "clusters, all zero but for a row": np.c_[GROUPS, np.arange(N) == 5],
    }


@pytest.mark.parametrize("concentration", [1e-3, None, 1e3])
@pytest.mark.parametrize("columns", degenerate_columns())
def test_columns_without_a_variance_of_their_own_fit(
    columns, concentration, covariance_type, prior_type, dtype
):
    """Most of the ten components have no rows; their covariance is that of the prior."""
    rows = degenerate_columns()[columns].astype(dtype)
    for init in ("kmeans", "random_from_data"):
        model = bayes(
            n_components=10, covariance_type=covariance_type, init_params=init, random_state=0,
            weight_concentration_prior=concentration, weight_concentration_prior_type=prior_type,
            reg_covar=1e-6 if dtype is np.float64 else 1e-4,
        )  # fmt: skip
        quiet_fit(model, rows)
        assert all(np.isfinite(value).all() for value in values(model).values())
        np.testing.assert_allclose(model.weights_.sum(), 1, rtol=tolerance("sum of weights"))


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_a_constant_column_draws_no_row_to_an_empty_component(covariance_type, prior_type):
    """There, all components are equally wide, including those without rows."""
    options = dict(
        n_components=6, covariance_type=covariance_type, random_state=0, max_iter=1000,
        weight_concentration_prior_type=prior_type, weight_concentration_prior=1e-3,
    )  # fmt: skip
    plain = bayes(**options).fit(GROUPS)
    beside = bayes(**options).fit(np.c_[GROUPS, np.full(len(GROUPS), 3.0)])
    variances = beside.covariances_[..., 2]
    variances = variances[:, 2] if covariance_type == "full" else variances
    np.testing.assert_allclose(variances, 1e-6, rtol=1e-6)
    for model in (plain, beside):
        assert (model.weights_ > 0.1).sum() == 2
    same = plain.predict(GROUPS)[:, None] == plain.predict(GROUPS)
    labels = beside.predict(np.c_[GROUPS, np.full(len(GROUPS), 3.0)])
    np.testing.assert_array_equal(labels[:, None] == labels, same)


def test_digamma_has_all_its_digits():
    x = np.concatenate([np.logspace(-12, 12, 200), [1.0, 2.0, 9.99, 10.0, 10.01]])
    truth = np.array([float(mpmath.digamma(mpmath.mpf(float(v)))) for v in x])
    np.testing.assert_allclose(digamma(x), truth, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("tol", [3e-1, 1e-2, 1e-4])
def test_stops_at_the_first_change_below_tol(covariance_type, prior_type, tol):
    model = bayes(
        n_components=3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        tol=tol,
        max_iter=2000,
        random_state=0,
    ).fit(X)
    changes = np.abs(np.diff(model.lower_bounds_))
    assert model.converged_ and changes[-1] < tol and (changes[:-1] >= tol).all()
