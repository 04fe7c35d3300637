"""Arbitrary rows: every outcome is a finite mixture, a documented warning or a documented error.

By default derandomized and short; with FUSEDGMM_FUZZ=n, as in `.ci/fuzz`, n new random examples."""

import os
import re
import warnings

import differential
import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import fusedgmm
from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, fit_batch
from fusedgmm._batch_result import BatchStatus
from helpers import COVARIANCE_TYPES, INITS, of_type, tolerance

THOROUGH = int(os.environ.get("FUSEDGMM_FUZZ", "0"))
fuzz = settings(
    max_examples=THOROUGH or 100,
    derandomize=not THOROUGH,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

# Any other warning is a fault, NumPy's RuntimeWarning in particular.
WARNINGS = (
    "Best performing initialization did not converge",
    r"component\(s\) .* of the mixture have weight 0",
    "degenerate components were repaired",
    "reg_covar=.* is more than (every|the) variance of",
)
ERRORS = (
    "Fitting the mixture model failed because some components have ill-defined empirical",
    "the log-likelihood is not finite",
    "sample_weight sums to .*, too near the ends",
    "the fit gave .* that are not finite",
    "cannot hold the .* of this mixture",
    "squares of the data's differences",
    "the sums are not finite",
)
BAD_ROWS = "Input X contains (NaN|infinity)"
BAD_WEIGHTS = "sample_weight (contains|has a negative|is zero)|Input sample_weight contains"


@st.composite
def data(draw, min_rows=2):
    """Rows of any scale, offset, dtype and layout, with duplicates, constant columns and NaN."""
    n, d = draw(st.integers(min_rows, 40)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n, d))
    match draw(
        st.sampled_from(["one", "two groups", "duplicates", "constant", "line", "integers"])
    ):
        case "two groups":
            X[::2] += 10.0 ** draw(st.integers(0, 12))
        case "duplicates":
            X = X[rng.integers(0, min(draw(st.integers(1, 4)), n) or 1, size=n)]
        case "constant":
            X[:, draw(st.integers(0, d - 1))] = draw(st.sampled_from([0.0, 1.0, -7.3]))
        case "line":
            X = X[:, :1] * rng.normal(size=d)
        case "integers":
            X = np.rint(X)
    dtype = draw(st.sampled_from([np.float64, np.float64, np.float32, np.float16]))
    largest = {np.float64: 300, np.float32: 37, np.float16: 4}[dtype]
    exponent = draw(st.one_of(st.just(0), st.integers(-largest, largest)))
    offset = draw(st.sampled_from([0.0, 0.0, 1.0, 1e3, 1e8]))
    with np.errstate(over="ignore"):
        X = ((X + offset) * 10.0**exponent).astype(dtype)
    if n and draw(st.integers(0, 7)) == 0:
        X[draw(st.integers(0, n - 1)), draw(st.integers(0, d - 1))] = draw(
            st.sampled_from([np.nan, np.inf, -np.inf])
        )
    match draw(st.sampled_from(["C", "C", "F", "strided", "reversed"])):
        case "F":
            X = np.asfortranarray(X)
        case "strided":
            wide = np.full((2 * n, 3 * d), np.nan, dtype)
            wide[::2, ::3] = X
            X = wide[::2, ::3]
        case "reversed":
            X = X[::-1, ::-1].copy()[::-1, ::-1]
    return X


@st.composite
def weights_for(draw, n):
    kind = draw(st.sampled_from(["none", "none", "some", "zeros", "one row", "none left", "bad"]))
    if kind == "none":
        return None
    w = np.random.default_rng(draw(st.integers(0, 99))).uniform(0.1, 3, size=n)
    if kind == "zeros":
        w[np.arange(n) % 3 != draw(st.integers(0, 2))] = 0
    elif kind == "one row":
        w[1:] = 0
    elif n == 0:
        pass
    elif kind == "none left":
        w[:] = 0
    elif kind == "bad":
        w[draw(st.integers(0, n - 1))] = draw(st.sampled_from([np.nan, np.inf, -1.0]))
    return w * 10.0 ** draw(st.sampled_from([0, 0, -300, -10, 10, 300]))


def outcome(call, *arguments, expected=()):
    """Return the result of the call, or the documented ValueError that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in WARNINGS:
            warnings.filterwarnings("ignore", message)
        try:
            return call(*arguments)
        except ValueError as error:
            note(f"refused: {error}")
            assert re.search("|".join((*ERRORS, *expected)), str(error)), str(error)
            return error


def must_be_refused(X, weight, may_be_zero=False):
    with np.errstate(over="ignore", invalid="ignore"):
        bad = not np.isfinite(X).all()
        return bad or (weight is not None and not (np.isfinite(weight).all() and (weight >= 0).all()
                                                   and (may_be_zero or weight.any())))  # fmt: skip


def check_parameters(weights, means, covariances, factors, covariance_type):
    for name, array in (("weights", weights), ("means", means), ("covariances", covariances),
                        ("factors", factors)):  # fmt: skip
        assert np.isfinite(array).all(), name
    tolerance = 1e-5 if weights.dtype == np.float32 else 1e-9
    assert (weights >= 0).all() and abs(weights.sum(dtype=np.float64) - 1) < tolerance
    alive = weights > 0
    if covariance_type in ("full", "tied"):
        np.testing.assert_array_equal(covariances, np.swapaxes(covariances, -1, -2))
        variances = np.diagonal(covariances, axis1=-2, axis2=-1)
        scales = np.diagonal(factors, axis1=-2, axis2=-1)
    else:
        variances, scales = covariances, factors
    if covariance_type != "tied":
        variances, scales = variances[alive], scales[alive]
    assert (variances > 0).all() and (scales > 0).all()


def check_model(model, X, covariance_type):
    check_parameters(
        model.weights_, model.means_, model.covariances_, model.precisions_cholesky_,
        covariance_type,
    )  # fmt: skip
    assert np.isfinite(model.precisions_).all()
    assert np.isfinite(model.lower_bounds_).all()
    # a mean of rows lies within their range
    low, high = X.astype(np.float64).min(axis=0), X.astype(np.float64).max(axis=0)
    slack = 1e-5 * np.maximum(np.abs(low), np.abs(high))
    if isinstance(model, GaussianMixture):
        assert (model.means_ >= low - slack).all() and (model.means_ <= high + slack).all()
    labels, proba, values = (
        outcome(getattr(model, method), X)
        for method in ("predict", "predict_proba", "score_samples")
    )
    assert ((labels >= 0) & (labels < len(model.weights_))).all()
    out_of_reach = np.isneginf(values)  # rows of weight zero, or the prior keeps the mixture away
    assert np.isfinite(values[~out_of_reach]).all()
    sums = np.where(out_of_reach, 0, 1)
    atol = tolerance("sum of probabilities")
    np.testing.assert_allclose(proba.sum(axis=1, dtype=np.float64), sums, atol=atol)


options = st.fixed_dictionaries(
    {
        "covariance_type": st.sampled_from(COVARIANCE_TYPES),
        "init_params": st.sampled_from(INITS),
        "reg_covar": st.sampled_from([1e-6, 1e-6, 0.0, 1.0]),
        "max_iter": st.sampled_from([0, 1, 3, 20]),
        "n_init": st.sampled_from([1, 1, 2]),
        "random_state": st.integers(0, 2**32 - 1),
    }
)


def fit_and_check(cls, X, k, weight, **more):
    def fitted(n_threads):
        return cls(n_components=k, n_threads=n_threads, **more).fit(X, sample_weight=weight)

    too_few = "Expected n_samples >= n_components"
    model = outcome(fitted, 1, expected=(BAD_ROWS, BAD_WEIGHTS, too_few))
    if must_be_refused(X, weight) or k > len(X):
        assert isinstance(model, Exception), "a fit of rows or weights that are none"
    if isinstance(model, Exception):
        return
    check_model(model, X, more["covariance_type"])
    again = outcome(fitted, 3)
    assert again.means_.tobytes() == model.means_.tobytes()
    assert again.covariances_.tobytes() == model.covariances_.tobytes()


@fuzz
@given(data(), st.integers(1, 5), st.data(), st.sampled_from(["raise", "repair"]), options)
def test_any_rows_give_a_mixture_or_a_reason(X, k, weight, degenerate, more):
    weight = weight.draw(weights_for(len(X)))
    fit_and_check(GaussianMixture, X, k, weight, degenerate=degenerate, **more)


@fuzz
@given(
    data(),
    st.integers(1, 5),
    st.data(),
    st.sampled_from(["dirichlet_process", "dirichlet_distribution"]),
    options,
)
def test_any_rows_give_a_bayesian_mixture_or_a_reason(X, k, weight, prior, more):
    weight = weight.draw(weights_for(len(X)))
    fit_and_check(
        BayesianGaussianMixture, X, k, weight, weight_concentration_prior_type=prior, **more
    )


@pytest.mark.slow
@fuzz
@given(
    st.lists(data(min_rows=0), min_size=1, max_size=4),
    st.sampled_from([[1], [2], [1, 2, 3]]),
    st.data(),
    options,
)
def test_any_problems_give_a_mixture_each_or_a_status(problems, ks, weighted, more):
    d = problems[0].shape[1]
    X = [np.resize(x, (len(x), d)) if len(x) else np.zeros((0, d)) for x in problems]
    weight = None
    if weighted.draw(st.booleans()):
        weight = [weighted.draw(weights_for(len(x))) for x in X]
        weight = [np.ones(len(x)) if w is None else w for x, w in zip(X, weight, strict=True)]
    more = {**more, "max_iter": min(more["max_iter"], 5)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [fit_batch(X, ks, sample_weight=weight, n_threads=t, **more) for t in (1, 3)]
    result = results[0]
    assert result.means.tobytes() == results[1].means.tobytes()
    assert (result.status == results[1].status).all()
    for i, x in enumerate(X):
        status = BatchStatus(result.status[i])
        w = None if weight is None else weight[i]
        if len(x) >= 2 and must_be_refused(x, w):
            assert status in (BatchStatus.ROWS_NOT_FINITE, BatchStatus.BAD_SAMPLE_WEIGHT), status
        assert status != BatchStatus.NOT_RUN
        if result.ok[i]:
            K = result.n_components[i]
            own = [result.weights[i][:K], result.means[i][:K], result.covariances[i],
                   result.precisions_cholesky[i]]  # fmt: skip
            if more["covariance_type"] != "tied":
                own[2:] = own[2][:K], own[3][:K]
            check_parameters(*own, more["covariance_type"])
            assert np.isfinite([result.bic[i], result.aic[i]]).all()


@fuzz
@given(
    data(),
    st.integers(1, 4),
    st.data(),
    st.sampled_from(COVARIANCE_TYPES),
    st.sampled_from([0.0, 1e-6]),
)
def test_any_rows_give_sums_or_a_reason(X, k, weight, covariance_type, reg_covar):
    weight = weight.draw(weights_for(len(X)))
    rows = np.nan_to_num(X[:k].astype(np.float64), posinf=1.0, neginf=-1.0)
    means = np.resize(rows, (k, X.shape[1]))
    scale = float(np.abs(means).max()) or 1.0
    square = np.clip(scale, 1e-150, 1e150) ** 2
    unit = of_type(np.eye(X.shape[1])[None].repeat(k, axis=0), covariance_type)
    params = MixtureParameters.from_covariances(
        np.full(k, 1 / k), means, unit * square, covariance_type
    )
    stats = outcome(
        lambda: fusedgmm.accumulate(X, params, weight), expected=(BAD_ROWS, BAD_WEIGHTS)
    )
    assert isinstance(stats, Exception) or not must_be_refused(X, weight, may_be_zero=True)
    if isinstance(stats, Exception):
        return
    if weight is not None and not weight.any():
        assert stats.weight_sum == 0 and not stats.nk.any()
        with pytest.raises(ValueError, match="nothing to maximize"):
            stats.maximize(reg_covar)
        return
    total = len(X) if weight is None else weight.sum()
    np.testing.assert_allclose(stats.nk.sum(), total, rtol=tolerance("sum of probabilities"))
    assert np.isfinite(stats.log_likelihood) and stats.n_samples == len(X)
    merged = outcome(lambda: (stats + stats).maximize(reg_covar))
    if not isinstance(merged, Exception):
        check_parameters(merged.weights, merged.means, merged.covariances,
                         merged.precisions_cholesky, covariance_type)  # fmt: skip


@pytest.mark.slow
def test_random_problems_agree_with_the_reference_and_scikit_learn():
    assert differential.run(60, seed=0) > 10
