"""Shared data, and the build in pytest's header."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fusedgmm import _core

os.environ["MPLBACKEND"] = "Agg"  # no test needs a display, nor do the processes it starts
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


# How far the resident memory of a process rises above what it was: rise(call), in megabytes.
RISE = """
from pathlib import Path

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

def rise(call):
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    call()
    return megabytes("VmHWM") - before
"""


def measure_memory(script):
    """The numbers that a script prints, run in a process of its own with `rise` at hand."""
    if not sys.platform.startswith("linux"):  # there a mark that cannot be reset is a failure
        pytest.skip("only Linux lets a process reset the high-water mark of its memory")
    done = subprocess.run([sys.executable, "-c", RISE + script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float(number) for number in done.stdout.split()]
