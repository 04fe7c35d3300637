"""The interface to the C core: the arguments it accepts, and its errors when a call fails."""

import numpy as np
import pytest

import fusedgmm
from fusedgmm import BatchStatus, BayesianGaussianMixture, GaussianMixture, _core


def test_python_and_c_have_the_same_statuses():
    ours = {status.name: (status.value, status.meaning) for status in BatchStatus}
    assert ours == _core.BATCH_STATUSES
    assert [status.value for status in BatchStatus] == list(range(len(ours)))


@pytest.mark.parametrize("name", ["fit", "accumulate", "maximize", "Scorer", "fit_batch"])
def test_all_but_the_rows_is_passed_by_keyword(name):
    with pytest.raises(TypeError, match="positional"):
        getattr(_core, name)(np.zeros((2, 1)), "full", 1, 2, 3, 4, 5)


@pytest.fixture
def bad():
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[17, 1] = np.nan
    return X


@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("method", ["fit", "predict", "score_samples"])
def test_a_row_that_is_not_finite_is_named_and_nothing_else_is_said(bad, kind, method):
    model = kind(n_components=1, random_state=0).fit(np.nan_to_num(bad))
    with pytest.raises(
        ValueError, match=r"Input X contains NaN.*\. First at row 17, column 1"
    ) as e:
        getattr(model, method)(bad)
    assert e.value.__suppress_context__  # the core's own error is less specific


def test_statistics_of_a_row_that_is_not_finite(bad):
    parameters = fusedgmm.MixtureParameters.from_covariances(
        [1.0], [[0.0, 0.0]], [1.0], "spherical"
    )
    with pytest.raises(ValueError, match="row 17, column 1"):
        fusedgmm.accumulate(bad, parameters)


def test_the_core_itself_names_no_row(bad):
    assert issubclass(_core.NotFiniteError, ValueError)
    with pytest.raises(_core.NotFiniteError, match="too far from every component"):
        _core.fit(
            bad,
            covariance_type="diag",
            n_components=2,
            init_params="random",
            seed=0,
            tol=1e-3,
            reg_covar=1e-6,
            max_iter=3,
        )


def test_the_order_of_a_batch_has_all_problems():
    with pytest.raises(ValueError, match="an entry per problem"):
        _core.Problems(
            np.zeros((4, 1)),
            offsets=np.array([0, 2, 4]),
            order=np.array([0]),
            sample_weight=None,
            dtype=np.dtype(float),
            n_features=1,
        )
