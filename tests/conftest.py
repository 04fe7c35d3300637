"""Fixtures, and the build in pytest's header. Functions that tests import are in helpers/."""

import os

import numpy as np
import pytest

pytest.register_assert_rewrite("helpers")

from fusedgmm import _core, _threads, fit_batch  # noqa: E402
from helpers import BOTH, COVARIANCE_TYPES  # noqa: E402
from helpers.batches import ragged  # noqa: E402

os.environ["MPLBACKEND"] = "Agg"  # neither the tests nor the processes they start need a display


def pytest_report_header(config):
    return f"fusedgmm core: {_core.config()}"


@pytest.fixture(params=COVARIANCE_TYPES)
def covariance_type(request):
    return request.param


@pytest.fixture(params=[np.float64, np.float32], ids=["f64", "f32"])
def dtype(request):
    return request.param


@pytest.fixture(params=BOTH, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture(params=["dirichlet_process", "dirichlet_distribution"])
def prior_type(request):
    return request.param


@pytest.fixture
def four_cpus(monkeypatch):
    """Pretend that there are four CPUs: n_threads is limited to the CPUs, and results must not
    depend on their real number."""
    monkeypatch.setattr(_threads, "available_cpus", lambda: 4)


@pytest.fixture(scope="module")
def mixed():
    """The rows and the result of a batch with several numbers of components and a problem without a
    mixture."""
    X = [*ragged([300, 40], 2), np.zeros((1, 2)), *ragged([90, 3], 2)]
    return X, fit_batch(X, [1, 2, 3], random_state=0)
