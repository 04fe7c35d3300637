"""The lower bound of EM rises from one iteration to the next, except for rounding."""

from contextlib import suppress

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, accumulate
from fusedgmm._covariance import layout_of
from helpers import COVARIANCE_TYPES, INITS, of_type, quiet_fit, tolerance

SEEDS = [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 200))]


def hard_rows(seed):
    """Clusters of correlated features with several scales; with outliers, or far from zero."""
    rng = np.random.default_rng(seed)
    d, n, k = (int(rng.integers(low, high)) for low, high in ((2, 12), (50, 800), (2, 5)))
    root = rng.normal(size=(d, d)) * 10.0 ** rng.uniform(-3, 0, size=d)
    means = rng.normal(size=(k, d)) * rng.choice([1, 3, 10])
    if rng.random() < 0.5:
        means = means @ root
    X = means[rng.integers(k, size=n)] + rng.normal(size=(n, d)) @ root
    match rng.integers(4):
        case 1:
            X[0] += 10.0 ** rng.uniform(1, 5)
        case 2:
            X[:3] *= 10.0 ** rng.uniform(1, 4)
        case 3:
            X += 10.0 ** rng.uniform(0, 3)
    return X, k, INITS[seed % len(INITS)]


def largest_fall(model):
    bounds = np.array(model.lower_bounds_)
    return np.max(bounds[:-1] - bounds[1:])


def has_digits(model, X, most=1e10):
    """Whether the arithmetic can distinguish the covariances from singular ones: every feature is
    wider than the rounding of the rows, and no direction is too narrow for float64, as measured by
    variance times precision."""
    variances, precisions = (
        layout_of(model.covariance_type).variances(array, *model.means_.shape)
        for array in (model.covariances_, model.precisions_)
    )
    least = np.finfo(X.dtype).eps * np.abs(X).max()
    return np.sqrt(variances.min()) > least and np.max(variances * precisions) < most


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_never_falls_by_more_than_rounding(seed, covariance_type, dtype):
    """If float32 keeps too few digits of the narrowest direction, the passes are in double. There
    is no reg_covar, which lowers the bound in exact arithmetic too."""
    X, k, init = hard_rows(seed)
    X = X.astype(dtype)
    model = GaussianMixture(
        k, covariance_type=covariance_type, init_params=init, random_state=0, n_init=1, tol=0,
        max_iter=20, reg_covar=0,
    )  # fmt: skip
    try:
        quiet_fit(model, X)
    except ValueError as error:
        assert "ill-defined empirical covariance" in str(error)
        with suppress(ValueError):  # a component of one row, not a lack of digits
            quiet_fit(model, X.astype(np.float64))
            assert not has_digits(model, X)
        return
    if has_digits(model, X):
        assert largest_fall(model) <= tolerance("bounds, falling", dtype)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bayesian_bound_never_falls_by_more_than_rounding(seed, covariance_type, dtype):
    """And float32 rows fit where float64 rows do. This bound comes from the sums, so that their
    rounding changes it in the first order."""
    X, k, init = hard_rows(seed)
    X = X.astype(dtype)
    model = BayesianGaussianMixture(
        n_components=k, covariance_type=covariance_type, init_params=init, random_state=0, tol=0,
        max_iter=20, reg_covar=0,
    )  # fmt: skip
    quiet_fit(model, X)
    if has_digits(model, X, most=1e8):
        assert largest_fall(model) <= tolerance("bounds, falling", dtype) * len(X)


@pytest.mark.parametrize("n_features", [3, 20])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_float32_rows_are_scored_in_double_where_float_keeps_too_few_digits(
    covariance_type, n_features
):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, n_features)) * 1e-4 + rng.normal(size=(3000, 1))
    X[1500:] += 3
    model = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0, random_state=0).fit(X)
    X = X.astype(np.float32)
    same = X.astype(np.float64)
    close = dict(rtol=1e-6, atol=1e-6)  # rounded to float32, with nothing lost before
    for threads in (1, 2):
        model.n_threads = threads
        values = model.score_samples(X)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, model.score_samples(same), **close)
        np.testing.assert_allclose(model.predict_proba(X), model.predict_proba(same), **close)
        np.testing.assert_array_equal(model.predict(X), model.predict(same))
    np.testing.assert_allclose(model.score(X), accumulate(X, model).log_likelihood / 3000, **close)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_float32_rows_give_narrow_covariances_all_the_same(covariance_type):
    """The covariance is ten thousand times narrower across than along; float32 sums would keep no
    digit of it."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(2000, 20)) * 1e-4 + rng.normal(size=(2000, 1))).astype(np.float32)
    X[1000:] += 3
    truth = np.stack(
        [np.cov(part.T.astype(np.float64), bias=True) for part in (X[:1000], X[1000:])]
    )
    parameters = MixtureParameters.from_covariances(
        [0.5, 0.5],
        [X[:1000].mean(axis=0), X[1000:].mean(axis=0)],
        of_type(truth, covariance_type),
        covariance_type,
    )
    single, double = (accumulate(rows, parameters) for rows in (X, X.astype(np.float64)))
    np.testing.assert_allclose(single.log_likelihood, double.log_likelihood, rtol=1e-9)
    a, b = (np.linalg.slogdet(s.maximize(0).covariances)[1] for s in (single, double))
    np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize(("apart", "far"), [(400, 0), (0, 500)])
def test_shifts_far_away_in_a_narrow_direction_cost_no_digits(apart, far, covariance_type):
    """Two groups are so many standard deviations apart, or the start is so far away. In the narrow
    direction it is many more: sums about the mixture's mean, or the start, keep three digits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1)) + 1e-4 * rng.normal(size=(2000, 2))
    X[1000:] += [apart, -apart]
    groups = X.reshape(2, 1000, 2) if apart else X[None]
    k = len(groups)
    truth = of_type(np.stack([np.cov(group.T, bias=True) for group in groups]), covariance_type)
    model = GaussianMixture(
        k, covariance_type=covariance_type, weights_init=np.full(k, 1 / k), max_iter=1, reg_covar=0,
        means_init=groups.mean(axis=1) + [far, -far / 2],
        covariances_init=of_type(np.stack([np.eye(2)] * k), covariance_type),
    )  # fmt: skip
    quiet_fit(model, X)
    np.testing.assert_allclose(np.linalg.det(model.covariances_), np.linalg.det(truth), rtol=1e-5)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_far_outlier_in_float32(covariance_type):
    """float32 cannot hold its whitened distance from the mixture's mean."""
    X, k, _ = hard_rows(83)
    model = GaussianMixture(
        k, covariance_type=covariance_type, random_state=0, n_init=1, tol=0, max_iter=20
    )
    quiet_fit(model, X.astype(np.float32))
    assert largest_fall(model) <= tolerance("bounds, falling", np.float32)
