"""The type stubs of the compiled core; src/_core.pyx documents each function."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, TypedDict, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import disjoint_base

from ._typing import Floats, Labels, Output, PassSums, Reals, Sums

_Real = TypeVar("_Real", np.ndarray[tuple[int, ...], np.dtype[np.float32]], Floats)

_Mixture: TypeAlias = tuple[Floats, Floats, Floats, Floats]
_Given: TypeAlias = tuple[Floats | None, Floats | None, Floats | None, Floats | None]

class _Config(TypedDict):
    instruction_set: str
    usable_instruction_sets: list[str]
    openmp: int | None
    build: str

__version__: str

# name: (value, meaning)
BATCH_STATUSES: dict[str, tuple[int, str]]

class NotFiniteError(ValueError): ...

def omp_max_threads() -> int: ...
def helpers() -> list[int]: ...
def available_cpus() -> int: ...
def config() -> _Config: ...
def covariance_shape(
    covariance_type: str, n_components: int, n_features: int
) -> tuple[int, ...]: ...
def moment_shape(covariance_type: str, n_components: int, n_features: int) -> tuple[int, ...]: ...
def n_tasks(*, covariance_type: str, n_samples: int, n_components: int, n_features: int) -> int: ...
def worth_threads(
    *,
    covariance_type: str,
    n_samples: int,
    n_components: int,
    n_features: int,
    n_passes: int = 1,
) -> int: ...
def fit(
    X: Reals,
    *,
    covariance_type: str,
    n_components: int,
    init_params: str,
    seed: int,
    tol: float,
    reg_covar: float,
    max_iter: int,
    n_init: int = 1,
    sample_weight: Floats | None = None,
    given: _Given = ...,
    lower_bound: float = ...,
    n_threads: int = 1,
    report: Callable[[int, int, float, float], object] | None = None,
    repair: bool = False,
    watch: Callable[[int, int, float, float, Any], bool] | None = None,
    resume: dict[str, Any] | None = None,
    accelerate: bool = False,
    stopping: str = "change",
) -> tuple[_Mixture, list[float], bool, list[tuple[int, int, int]], int]: ...
def accumulate(
    X: Reals,
    *,
    covariance_type: str,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    precisions_cholesky: Floats,
    sample_weight: Floats | None = None,
    n_threads: int = 1,
    in_double: bool = False,
) -> PassSums: ...
def merge_statistics(a: Sums, b: Sums, *, covariance_type: str) -> Sums: ...
def move_statistics(sums: Sums, *, covariance_type: str, shift: Floats) -> Sums: ...
def maximize(
    *,
    covariance_type: str,
    nk: Floats,
    shift: Floats,
    sx: Floats,
    sxx: Floats,
    weight_sum: float,
    reg_covar: float,
    n_samples: int,
) -> _Mixture: ...
def precision_cholesky(
    covariances: Floats, *, covariance_type: str, n_components: int, n_features: int
) -> Floats: ...

MOST_PARTS: int

@disjoint_base
class Stream:
    dtype: np.dtype[np.floating]
    n_passes: int
    shape: tuple[int, int]
    def __new__(
        cls,
        open_pass: Callable[[], Iterator[tuple[Reals, Floats | None]]],
        *,
        n_rows: int,
        n_features: int,
        dtype: DTypeLike,
        is_stable: bool,
        most_bytes: int,
        largest_weight: float | None = None,
    ) -> Self: ...
    def __len__(self) -> int: ...

def draw_keys(
    seed: int, *, first: int, n_rows: int, sample_weight: Floats | None, limit: float
) -> tuple[NDArray[np.int64], Floats]: ...

@disjoint_base
class Scorer:
    dtype: np.dtype[np.floating]
    def __new__(
        cls,
        *,
        covariance_type: str,
        weights: Reals,
        means: Reals,
        precisions_cholesky: Reals,
        dtype: DTypeLike,
    ) -> Self: ...
    def worth_threads(self, n_rows: int) -> int: ...
    @overload
    def score(self, X: Reals, n_threads: int, output: Literal["labels"]) -> Labels: ...
    @overload
    def score(
        self, X: Reals, n_threads: int, output: Literal["responsibilities", "log_likelihood"]
    ) -> Reals: ...
    @overload
    def score(self, X: Reals, n_threads: int, output: Output) -> Labels | Reals: ...

def fingerprint(arrays: tuple[object, ...]) -> int | None: ...
def all_within(array: Reals, low: float, high: float) -> bool: ...
def are_factors(matrices: Floats) -> bool: ...
def are_inverse(covariances: Floats, factors: Floats, tolerance: float) -> bool: ...
def start_seed(seed: int, *, init: int) -> int: ...

@disjoint_base
class Problems:
    rows: Reals | list[Reals]
    sample_weight: Floats | list[Floats] | None
    dtype: np.dtype[np.floating]
    offsets: Labels
    order: Labels
    cost: Floats | None
    def __new__(
        cls,
        rows: Reals | list[Reals],
        *,
        offsets: Labels,
        order: Labels,
        sample_weight: Floats | list[Floats] | None,
        dtype: np.dtype[np.floating],
        n_features: int,
        copies: int = 1,
        cost: Floats | None = None,
    ) -> Self: ...
    def __len__(self) -> int: ...

def seeds(seed: int, *, n: int) -> NDArray[np.uint32]: ...
def fit_batch(
    problems: Problems,
    *,
    candidates: Sequence[tuple[int, str, int]],
    separate: bool = False,
    by_aic: bool,
    init_params: str,
    tol: float,
    reg_covar: float,
    max_iter: int,
    repair: bool,
    given: _Given = ...,
    given_each: tuple[bool, bool, bool] = ...,
    held_out: Problems | None = None,
    n_threads: int,
    progress: Callable[[int], object] | None,
    result: Mapping[str, NDArray[np.generic]],
    accelerate: bool = False,
    stopping: str = "change",
) -> BaseException | None: ...
def score_batch(
    problems: Problems,
    *,
    covariance_type: str,
    n_components: Labels,
    weights: Floats,
    means: Floats,
    precisions_cholesky: Floats,
    n_threads: int,
    output: Output,
) -> tuple[NDArray[np.generic], int | None]: ...
def vector_exp(x: _Real) -> _Real: ...
def vector_log(x: _Real) -> _Real: ...
