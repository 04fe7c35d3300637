"""Rows and sums beyond the range of their dtype, and rows that are not numbers: the errors name
them."""

import numpy as np
import pytest

import fusedgmm
from fusedgmm import GaussianMixture, MixtureParameters
from helpers import BOTH, fit_either, three_tight_groups

GROUPS = three_tight_groups()


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
    """The same rows can be fitted as float64."""
    X = (GROUPS * scale).astype(np.float32)
    options = dict(covariance_type=covariance_type, reg_covar=0)
    with pytest.raises(ValueError, match="float32.*scale the data, or convert them to float64"):
        fit_either(kind, X, **options)
    assert np.isfinite(fit_either(kind, X.astype(np.float64), **options).precisions_).all()


@pytest.mark.parametrize("kind", BOTH)
def test_other_faults_keep_their_message(kind):
    X = GROUPS * 1e160
    X[5, 1] = np.nan
    with pytest.raises(ValueError, match="NaN.*row 5, column 1"):
        fit_either(kind, X)
    with pytest.raises(ValueError, match="infinity.*row 5, column 1"):
        fit_either(kind, np.where(np.isnan(X), np.inf, X))
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(reg_covar=0).fit(np.full((9, 2), 1e8))


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


def test_sums_of_rows_beyond_reach_are_an_error():
    parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [[1.0]], "diag")
    with pytest.raises(ValueError, match="not finite"):
        fusedgmm.accumulate(np.array([[1e200], [0.0]]), parameters)


def test_sums_beyond_float64_are_an_error():
    parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [[1.0]], "diag")
    w = np.full(3, 1e308)
    with pytest.raises(ValueError, match="the (sums are|log-likelihood is) not finite"):
        fusedgmm.accumulate(np.array([[1.0], [0.0], [3.0]]), parameters, w)
    half = fusedgmm.accumulate(np.array([[1.0], [0.0]]), parameters, [5e307, 1e307])
    with pytest.raises(ValueError, match="the sums are not finite"):
        half + half + half + half
    # only the log-likelihood, or only the moments about zero, may be out of range
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
