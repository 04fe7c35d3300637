"""The partitions of a Dask collection: how they are grouped, and the tasks over a group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._chunks import Chunk, Sample
from ._estimator import feature_names
from ._parameters import MixtureParameters
from ._statistics import SufficientStatistics, accumulate
from ._typing import Floats, Reals
from ._validation import as_data, as_sample_weight, check_finite

_SAMPLED_AT_ONCE = 65_536  # rows: drawing copies those that may be in the sample
_ROWS_OF_A_PARTITION = 1 << 40  # more than any has; numbers the rows when lengths are not known

Mergeable = TypeVar("Mergeable", bound=SufficientStatistics)


class Partition(NamedTuple):
    """A converted partition that has rows: its number, its rows, and the names of its columns."""

    number: int
    X: Reals
    weight: Floats | None
    names: NDArray[np.object_] | None


class Shape(NamedTuple):
    """What a partition tells about itself."""

    number: int
    n_rows: int
    n_features: int
    dtype: np.dtype[Any]
    names: list[str] | None


@dataclass(frozen=True)
class Group:
    """Consecutive partitions, from the number `first` on; None for those without rows."""

    first: int
    partitions: list[Partition | None]

    def __iter__(self) -> Iterator[Partition]:
        return (partition for partition in self.partitions if partition is not None)


@contextmanager
def _naming(number: int) -> Iterator[None]:
    """Name the partition in an error about its rows."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"partition {number}: {error}") from None


def group_size(n_partitions: int, n_groups: int) -> int:
    """Return the least power of two that makes at most so many groups of consecutive partitions.

    A group is then a subtree of the binary tree over all partitions in which statistics are merged,
    so the bits of a fit do not depend on the groups."""
    size = 1
    while -(-n_partitions // size) > n_groups:
        size *= 2
    return size


def merge_in_tree(found: Sequence[Mergeable | None]) -> Mergeable | None:
    """Merge neighbours, then neighbours of the results, and so on; None has no rows."""
    level = list(found)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [_merged(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0] if level else None


def _merged(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b


# ---- tasks ----


def convert(first: int, parts: list[Any], weights: list[Any] | None) -> Group:
    """Convert and check the partitions of a group."""
    found: list[Partition | None] = []
    for i, part in enumerate(parts):
        with _naming(first + i):
            weight = None if weights is None else weights[i]
            if part is None or len(part) == 0:
                if weight is not None and len(weight):
                    raise ValueError(f"it has no rows, but {len(weight)} weights")
                found.append(None)
                continue
            names, X = feature_names(part), as_data(part)
            if weights is not None and weight is None:
                raise ValueError(f"it has {len(X)} rows, but no weights")
            check_finite(X)
            weight = as_sample_weight(weight, len(X), may_be_zero=True)
            found.append(Partition(first + i, X, weight, names))
    return Group(first, found)


def look_at(group: Group, size: int, seed: int) -> tuple[list[Shape], Sample]:
    """Return the shapes of the partitions, and a sample of `size` rows that depends on the seed and
    the numbers of the rows only."""
    shapes, sample = [], Sample(size, seed)
    for number, X, weight, names in group:
        listed = None if names is None else list(names)
        shapes.append(Shape(number, len(X), X.shape[1], X.dtype, listed))
        for begin in range(0, len(X), _SAMPLED_AT_ONCE):
            rows = slice(begin, begin + _SAMPLED_AT_ONCE)
            part = None if weight is None else weight[rows]
            at = number * _ROWS_OF_A_PARTITION + begin
            sample.add(Chunk(number, at, X[rows], part, None))
    return shapes, sample


def run_pass(
    group: Group, parameters: MixtureParameters, n_threads: int | None
) -> SufficientStatistics | None:
    """Return the merged statistics of a group; None if it has no rows."""
    found: list[SufficientStatistics | None] = []
    for partition in group.partitions:
        if partition is None:
            found.append(None)
            continue
        with _naming(partition.number):
            found.append(accumulate(partition.X, parameters, partition.weight, n_threads))
    return merge_in_tree(found)


def total(
    first: int, parts: list[Any], weights: list[Any] | None, model: Any
) -> tuple[float, float, int]:
    """Return the log-likelihood summed over the weighted rows, the sum of the weights, and the
    number of rows."""
    totals, sums, n_rows = [0.0], [0.0], 0
    for number, X, weight, _ in convert(first, parts, weights):
        with _naming(number):
            values = model.score_samples(X).astype(np.float64, copy=False)
        n_rows += len(X)
        if weight is None:
            weight = np.ones(len(X))
        used = weight > 0  # rows of weight 0 are excluded, even if -inf
        totals.append(float(weight[used] @ values[used]))
        sums.append(float(weight.sum()))
    return math.fsum(totals), math.fsum(sums), n_rows


def predict(part: Any, model: Any, method: str, empty: NDArray[Any], number: int) -> Any:
    """Return what a method of the model returns for the rows of a partition."""
    if part is None or len(part) == 0:
        return empty
    with _naming(number):
        X = as_data(part)  # the names of the columns have been compared
        predicted: Callable[[Reals], Any] = getattr(model, method)
        return predicted(X)


def predict_block(
    block: Any, model: Any, method: str, empty: NDArray[Any], block_id: tuple[int, ...]
) -> Any:
    """As `predict`, for `map_blocks`."""
    return predict(block, model, method, empty, block_id[0])
