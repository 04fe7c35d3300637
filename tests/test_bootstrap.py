"""The bootstrap, and the likelihood ratio test of the number of components."""

import numpy as np
import pytest

from fusedgmm import (
    BatchStatus,
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureParameters,
    bootstrap,
    likelihood_ratio_test,
)
from fusedgmm import _resampling as resampling
from helpers import COVARIANCE_TYPES, of_type, three_tight_groups

KINDS = ("nonparametric", "weighted", "parametric")
LINE = np.random.default_rng(0).normal(loc=1e8, scale=2.0, size=(400, 1))


def groups(n=600, dtype=np.float64):
    """Rows in three well separated groups, of weights 1/2, 1/3 and 1/6."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [n // 2, n // 3, n // 6])
    X = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])[labels] + rng.normal(size=(n, 2))
    return X.astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_one_component_are_those_of_the_mean(kind):
    model = GaussianMixture(1).fit(LINE)
    result = bootstrap(model, LINE, 1999, kind, random_state=0)
    errors, estimates = result.standard_errors, result.estimates
    assert errors.weights[0] == 0.0 and result.n_degenerate == 0
    deviation = LINE.std()
    assert estimates.means[0, 0] == pytest.approx(LINE.mean(), rel=1e-12)
    assert errors.means[0, 0] == pytest.approx(deviation / 20, rel=0.06)
    assert errors.covariances[0, 0, 0] == pytest.approx(deviation**2 * np.sqrt(2 / 400), rel=0.1)
    lower, upper = result.interval(0.9)
    assert (upper.means - lower.means)[0, 0] == pytest.approx(3.29 * deviation / 20, rel=0.1)
    assert lower.means[0, 0] < LINE.mean() < upper.means[0, 0]


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_separated_groups_are_those_of_each(kind, covariance_type):
    X = groups()
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    result = bootstrap(model, X, 499, kind, random_state=1)
    assert result.means.shape == (499, 3, 2)
    assert result.covariances.shape == (499, *model.covariances_.shape)
    w, errors = model.weights_, result.standard_errors
    np.testing.assert_allclose(errors.weights, np.sqrt(w * (1 - w) / 600), rtol=0.15)
    deviations = np.sqrt(np.array([np.var(X[model.predict(X) == k], axis=0) for k in range(3)]))
    np.testing.assert_allclose(errors.means, deviations / np.sqrt(600 * w)[:, None], rtol=0.2)


def test_replicates_do_not_depend_on_parts_or_threads(monkeypatch):
    X = groups()
    model = GaussianMixture(3, random_state=0).fit(X)
    for kind in KINDS:
        one = bootstrap(model, X, 20, kind, random_state=3, n_threads=1)
        monkeypatch.setattr(resampling, "_NUMBERS", 3000)
        told = []

        def note(*progress, told=told):
            told.append(progress)

        two = bootstrap(model, X, 20, kind, random_state=3, progress=note)
        monkeypatch.undo()
        for name in ("weights", "means", "covariances", "status"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert told[-1] == (20, 20) and told == sorted(told)
    other = bootstrap(model, X, 20, "weighted", random_state=4)
    assert (other.means != bootstrap(model, X, 20, "weighted", random_state=3).means).all()


def test_a_weighted_row_is_a_repeated_row():
    X = groups(120)
    model = GaussianMixture(3, random_state=0).fit(X, sample_weight=np.full(120, 2.0))
    double = bootstrap(model, X, 9, sample_weight=np.full(120, 2.0), random_state=0)
    single = bootstrap(model, X, 9, random_state=0)
    np.testing.assert_allclose(double.means, single.means, rtol=1e-9)
    half = np.r_[np.ones(60), np.zeros(60)]  # only the first group counts
    one = GaussianMixture(1).fit(X, sample_weight=half)
    for kind in ("nonparametric", "weighted"):
        result = bootstrap(one, X, 199, kind, sample_weight=half, random_state=0)
        assert np.abs(result.means).max() < 2
    with pytest.raises(ValueError, match="rows drawn from the model have no weights"):
        bootstrap(one, X, 9, "parametric", sample_weight=half)


def test_nonparametric_replicates_are_rows_drawn_with_replacement():
    X = groups(60)
    model = GaussianMixture(1).fit(X)
    result = bootstrap(model, X, 5, random_state=11)
    random = np.random.default_rng(11)
    for mean in result.means[:, 0]:
        np.testing.assert_allclose(mean, X[random.integers(60, size=60)].mean(axis=0))


def test_float32_and_names():
    pandas = pytest.importorskip("pandas")
    X = groups(dtype=np.float32)
    frame = pandas.DataFrame(X, columns=["height", "weight"])
    model = GaussianMixture(3, random_state=0).fit(frame)
    for kind in KINDS:
        result = bootstrap(model, frame, 19, kind, random_state=0)
        assert result.n_not_converged == 0  # in float32, rounding would hide the convergence
        assert result.model.means_.dtype == result.means.dtype == np.float64
    text = repr(result)
    assert text.startswith("<BootstrapResult: parametric, 19 replicates>\n")
    if hasattr(model, "feature_names_in_"):
        assert "height" in text and "weight  " in text


def test_degenerate_replicates_are_counted_and_left_out():
    X = np.r_[np.random.default_rng(0).normal(size=(60, 1)), [[50.0], [50.1], [50.2]]]
    model = GaussianMixture(2, reg_covar=0.0, random_state=0).fit(X)
    result = bootstrap(model, X, 199, random_state=0)
    assert 0 < result.n_degenerate < 100  # a replicate with none or one of the three
    assert len(result.means) == 199 - result.n_degenerate == len(result.weights)
    assert set(result.status) >= {BatchStatus.CONVERGED, BatchStatus.SINGULAR_COVARIANCE}
    assert np.isfinite(result.means).all()
    assert f"199 replicates, {result.n_degenerate} degenerate" in repr(result)
    assert bootstrap(model, X, 199, "weighted", random_state=0).n_degenerate == 0


def test_replicates_that_do_not_converge_are_counted():
    X = np.random.default_rng(0).normal(size=(200, 2))
    model = GaussianMixture(2, random_state=0).fit(X)
    with pytest.warns(UserWarning, match="fit to X itself did not converge within max_iter=2"):
        result = bootstrap(model, X, 9, max_iter=2, random_state=0)
    assert result.n_not_converged == 9 and "9 not converged" in repr(result)


def test_the_estimate_is_fitted_on():
    X = np.r_[groups(), 0.5 * groups()]
    model = GaussianMixture(3, tol=10.0, random_state=0).fit(X)
    result = bootstrap(model, X, 2, random_state=0)
    tight = GaussianMixture(3, tol=1e-10, max_iter=1000, random_state=0).fit(X)
    assert result.model.score(X) == pytest.approx(tight.score(X), abs=1e-8)
    assert model.score(X) < tight.score(X) - 1e-6


def test_bootstrap_refuses():
    X = groups(60)
    model = GaussianMixture(2, random_state=0).fit(X)
    for error, arguments, options, message in (
        (TypeError, (BayesianGaussianMixture(), X), {}, "GaussianMixture, got a Bayesian"),
        (ValueError, (GaussianMixture(), X), {}, "not fitted yet"),
        (ValueError, (model, X[:, :1]), {}, "1 features"),
        (ValueError, (model, X, 0), {}, "n must be an int >= 1, got 0"),
        (ValueError, (model, X, 9, "jackknife"), {}, "unknown kind 'jackknife'; known: nonpar"),
        (ValueError, (model, X), {"tol": -1.0}, "tol must be finite"),
        (ValueError, (model, np.full((9, 2), np.inf)), {}, "infinity"),
        (ValueError, (model, X[:1]), {}, "no mixture to replicate: fewer rows"),
    ):
        with pytest.raises(error, match=message):
            bootstrap(*arguments, **options)
    one = bootstrap(model, X, 1, random_state=0)
    assert repr(one) == "<BootstrapResult: nonparametric, 1 replicates>"
    with pytest.raises(ValueError, match="1 of 1 replicates have a mixture, too few"):
        one.interval()
    for level in (0.0, 1.0, np.nan, "high"):
        with pytest.raises(ValueError, match="level must be"):
            bootstrap(model, X, 2, random_state=0).interval(level)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_simulated_rows_are_those_of_the_mixture(covariance_type):
    covariances = np.array([[[1.0, 0.9], [0.9, 2.0]], [[4.0, -1.0], [-1.0, 1.0]]])
    parameters = MixtureParameters.from_covariances(
        [0.25, 0.75],
        [[0.0, 0.0], [1e3, -1e3]],
        of_type(covariances, covariance_type),
        covariance_type,
    )
    model = GaussianMixture.from_parameters(parameters)
    draw = resampling.sampler(model, 40_000, np.random.default_rng(0))
    for X in draw(2):
        fit = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
        order = np.argsort(fit.means_[:, 0])
        np.testing.assert_allclose(fit.weights_[order], parameters.weights, atol=0.01)
        np.testing.assert_allclose(fit.means_[order], parameters.means, atol=0.05)
        found = fit.covariances_ if covariance_type == "tied" else fit.covariances_[order]
        np.testing.assert_allclose(found, parameters.covariances, atol=0.15)


# ---- likelihood ratio test ----


def test_two_groups_are_more_than_one():
    test = likelihood_ratio_test(three_tight_groups(), 2, 3, n=19, random_state=0)
    assert test.p_value == 1 / 20 and test.n_degenerate == 0 and len(test.simulated) == 19
    assert (test.null.n_components, test.alternative.n_components) == (2, 3)
    X = three_tight_groups()
    ratio = 2 * len(X) * (test.alternative.score(X) - test.null.score(X))
    assert test.statistic == pytest.approx(ratio, rel=1e-9)
    assert repr(test).startswith("<LikelihoodRatioTest: 2 or 3 components: statistic ")


def test_one_group_is_one():
    X = np.random.default_rng(1).normal(size=(200, 2))
    told = []
    options = {"n": 99, "covariance_type": "diag", "random_state": 0}
    test = likelihood_ratio_test(X, 1, 2, progress=lambda *at: told.append(at), **options)
    assert test.p_value > 0.05 and told[-1] == (198, 198)
    assert (test.simulated > -1e-6).all()
    again = likelihood_ratio_test(X, 1, 2, n_threads=1, **options)
    np.testing.assert_array_equal(test.simulated, again.simulated)
    p = (1 + (test.simulated >= test.statistic).sum()) / 100
    assert test.p_value == p


def test_the_test_refuses():
    X = groups(60)
    for arguments, options, message in (
        ((X, 2, 2), {}, "alternative must be more than n_components=2, got 2"),
        ((X, 0, 2), {}, "n_components must be an int >= 1"),
        ((X, 1, 2), {"n": 0}, "n must be an int >= 1"),
        ((X[:1], 1, 2), {}, "minimum of 2 is required"),
        ((np.ones((9, 1)), 1, 2), {"reg_covar": 0.0}, "has no mixture"),
        ((np.array([[1.0], [np.nan]]), 1, 2), {}, "First at row 1"),
    ):
        with pytest.raises(ValueError, match=message):
            likelihood_ratio_test(*arguments, **options)
