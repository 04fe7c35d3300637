"""Shared data, and the build in pytest's header."""

import numpy as np
import pytest

from fusedgmm import _core

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
# One table of tolerances: (relative, of the compiled core against the reference)
RTOL = {np.float64: 1e-9, np.float32: 1e-4}


def pytest_report_header(config):
    return f"fusedgmm core: {_core.config()}"


def mixture_data(n, d, k, dtype=np.float64, seed=0):
    """Samples, and parameters near those that made them; covariances of full type."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(k, d)) * 3
    roots = rng.normal(size=(k, d, d)) * 0.3 + np.eye(d)
    labels = rng.integers(k, size=n)
    X = means[labels] + np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n, d)))
    weights = rng.dirichlet(np.full(k, 5.0))
    covariances = np.einsum("kij,klj->kil", roots, roots) + 0.2 * np.eye(d)
    return X.astype(dtype), weights, means, covariances


def of_type(covariances, covariance_type):
    """Full covariances as the given type holds them."""
    diagonal = np.einsum("kii->ki", covariances)
    return {
        "full": covariances,
        "tied": covariances.mean(axis=0),
        "diag": diagonal,
        "spherical": diagonal.mean(axis=1),
    }[covariance_type]


@pytest.fixture(params=COVARIANCE_TYPES)
def covariance_type(request):
    return request.param


@pytest.fixture(params=[np.float64, np.float32], ids=["f64", "f32"])
def dtype(request):
    return request.param
