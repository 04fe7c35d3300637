"""The compiled core, as Python sees it; src/_core.pyx says what each function does."""

from collections.abc import Callable
from typing import Literal, TypedDict, TypeVar, overload

import numpy as np

from ._typing import Floats, Labels, Reals

_Real = TypeVar("_Real", np.ndarray[tuple[int, ...], np.dtype[np.float32]], Floats)

class _Config(TypedDict):
    instruction_set: str
    usable_instruction_sets: list[str]
    openmp: int | None
    build: str

class _Sums(TypedDict):
    nk: Floats
    shift: Floats
    sx: Floats
    sxx: Floats
    log_likelihood: float
    weight_sum: float
    n_samples: int

def omp_max_threads() -> int: ...
def config() -> _Config: ...
def covariance_shape(
    covariance_type: str, n_components: int, n_features: int
) -> tuple[int, ...]: ...
def n_tasks(covariance_type: str, n_samples: int, n_components: int, n_features: int) -> int: ...
def start(
    X: Reals,
    sample_weight: Floats | None,
    covariance_type: str,
    n_components: int,
    init_params: str,
    seed: int,
    reg_covar: float,
    n_threads: int,
) -> tuple[Floats, Floats, Floats, Floats]: ...
def em(
    X: Reals,
    sample_weight: Floats | None,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    precisions_cholesky: Floats,
    tol: float,
    reg_covar: float,
    max_iter: int,
    lower_bound: float,
    n_threads: int,
    report: Callable[[int, float, float], object] | None,
) -> tuple[Floats, Floats, Floats, Floats, list[float], bool]: ...
def accumulate(
    X: Reals,
    sample_weight: Floats | None,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
) -> _Sums: ...
def maximize(
    covariance_type: str,
    nk: Floats,
    shift: Floats,
    sx: Floats,
    sxx: Floats,
    weight_sum: float,
    reg_covar: float,
    n_samples: int,
) -> tuple[Floats, Floats, Floats, Floats]: ...
def precision_cholesky(covariance_type: str, covariances: Floats) -> Floats: ...
@overload
def score(
    X: Reals,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
    want: Literal["labels"],
) -> Labels: ...
@overload
def score(
    X: Reals,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
    want: Literal["responsibilities", "log_likelihood"],
) -> Reals: ...
@overload
def score(
    X: Reals,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
    want: Literal["labels", "responsibilities", "log_likelihood"],
) -> Labels | Reals: ...
def vector_exp(x: _Real) -> _Real: ...
def vector_log(x: _Real) -> _Real: ...
