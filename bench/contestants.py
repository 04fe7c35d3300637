"""EM iterations by each contestant, from the same start. Every function returns a callable that
runs a given number of iterations."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from workloads import Workload

import fusedgmm
from fusedgmm import reference

Run = Callable[[int], object]
Start = dict[str, np.ndarray]


def _precisions(workload: Workload, covariances: np.ndarray) -> np.ndarray:
    if workload.covariance_type in ("full", "tied"):
        return np.linalg.inv(covariances)
    return 1 / covariances


def _estimator(cls: type, workload: Workload, X: np.ndarray, start: Start, **options: int) -> Run:
    given = {
        "weights_init": start["weights"],
        "means_init": start["means"],
        "precisions_init": _precisions(workload, start["covariances"]),
    }

    def run(iterations: int) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cls(
                workload.n_components, covariance_type=workload.covariance_type, tol=0,
                max_iter=iterations, **given, **options,
            ).fit(X)  # fmt: skip

    return run


def ours(workload: Workload, X: np.ndarray, start: Start, n_threads: int) -> Run:
    return _estimator(fusedgmm.GaussianMixture, workload, X, start, n_threads=n_threads)


def scikit_learn(workload: Workload, X: np.ndarray, start: Start) -> Run:
    from sklearn.mixture import GaussianMixture

    given = {name: value.astype(X.dtype) for name, value in start.items()}
    return _estimator(GaussianMixture, workload, X, given)


def numpy_reference(workload: Workload, X: np.ndarray, start: Start) -> Run:
    return lambda iterations: reference.fit(
        X, start["weights"], start["means"], start["covariances"], workload.covariance_type,
        0, 1e-6, iterations,
    )  # fmt: skip


def daal4py(workload: Workload, X: np.ndarray, start: Start) -> Run | None:
    """oneDAL's em_gmm; None if it is not installed or does not support this covariance type."""
    storage = {"full": "full", "diag": "diagonal"}.get(workload.covariance_type)
    try:
        import daal4py as d4p
    except ImportError:
        return None
    if storage is None:
        return None
    covariances = [np.atleast_2d(c) for c in start["covariances"]]
    precision = "float" if X.dtype == np.float32 else "double"

    def run(iterations: int) -> object:
        algorithm = d4p.em_gmm(
            nComponents=workload.n_components, fptype=precision, maxIterations=iterations,
            accuracyThreshold=0.0, covarianceStorage=storage,
        )  # fmt: skip
        return algorithm.compute(X, start["weights"][None], start["means"], covariances)

    return run
