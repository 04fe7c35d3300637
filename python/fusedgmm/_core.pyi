"""The compiled core, as Python sees it; src/_core.pyx says what each function does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Self, TypeAlias, TypedDict, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._typing import Floats, Labels, Moments, Reals

_Real = TypeVar("_Real", np.ndarray[tuple[int, ...], np.dtype[np.float32]], Floats)

_Mixture: TypeAlias = tuple[Floats, Floats, Floats, Floats]
_Given: TypeAlias = tuple[Floats | None, Floats | None, Floats | None, Floats | None]

class _Config(TypedDict):
    instruction_set: str
    usable_instruction_sets: list[str]
    openmp: int | None
    build: str

__version__: str

def omp_max_threads() -> int: ...
def config() -> _Config: ...
def covariance_shape(
    covariance_type: str, n_components: int, n_features: int
) -> tuple[int, ...]: ...
def n_tasks(covariance_type: str, n_samples: int, n_components: int, n_features: int) -> int: ...
def fit(
    X: Reals,
    sample_weight: Floats | None,
    covariance_type: str,
    n_components: int,
    init_params: str,
    n_init: int,
    seed: int,
    given: _Given,
    tol: float,
    reg_covar: float,
    max_iter: int,
    lower_bound: float,
    n_threads: int,
    report: Callable[[int, int, float, float], object] | None,
    repair: bool,
) -> tuple[_Mixture, list[float], bool, list[tuple[int, int, int]]]: ...
def start_seed(seed: int, init: int) -> int: ...
def accumulate(
    X: Reals,
    sample_weight: Floats | None,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
) -> Moments: ...
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

@disjoint_base
class Problems:
    rows: Reals | list[Reals]
    sample_weight: Floats | list[Floats] | None
    dtype: np.dtype[np.floating]
    offsets: Labels
    order: Labels
    def __new__(
        cls,
        rows: Reals | list[Reals],
        offsets: Labels,
        sample_weight: Floats | list[Floats] | None,
        dtype: np.dtype[np.floating],
        n_features: int,
    ) -> Self: ...
    def __len__(self) -> int: ...

def seeds(seed: int, n: int) -> NDArray[np.uint32]: ...
def fit_batch(
    problems: Problems,
    covariance_type: str,
    candidates: Sequence[int],
    by_aic: bool,
    init_params: str,
    n_init: int,
    given: _Given,
    given_each: tuple[bool, bool, bool],
    tol: float,
    reg_covar: float,
    max_iter: int,
    repair: bool,
    n_threads: int,
    progress: Callable[[int], object] | None,
    result: Mapping[str, NDArray[np.generic]],
) -> BaseException | None: ...
def score_batch(
    problems: Problems,
    covariance_type: str,
    n_components: Labels,
    weights: Floats,
    means: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
    want: Literal["labels", "responsibilities", "log_likelihood"],
) -> tuple[NDArray[np.generic], int | None]: ...
def vector_exp(x: _Real) -> _Real: ...
def vector_log(x: _Real) -> _Real: ...
