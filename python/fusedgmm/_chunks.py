"""Streams as the core reads them: each chunk checked and converted, and what a first look at all of
them tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._estimator import feature_names
from ._typing import Floats, Reals
from ._validation import as_data, as_sample_weight, check_finite, check_range
from .stream import Source

# Bytes of rows that are read ahead of those that a pass is at, if holding them costs memory.
MOST_BYTES = 4 << 20


def _of_arrow(chunk: Any) -> Any:
    """Convert a RecordBatch or Table to an array whose columns are contiguous. Nulls become NaN,
    which is then reported with its row."""
    if hasattr(chunk, "combine_chunks"):  # a Table
        batches = chunk.combine_chunks().to_batches()
        if len(batches) != 1:
            return np.empty((0, chunk.num_columns))
        chunk = batches[0]
    if chunk.num_columns == 1 and hasattr(chunk.schema.field(0).type, "list_size"):
        column = chunk.column(0)
        values = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), chunk.schema.field(0).type.list_size)
    kinds = {str(field.type) for field in chunk.schema}
    if kinds == {"float"} or kinds == {"double"}:
        return chunk.to_tensor(null_to_nan=True, row_major=False).to_numpy()
    columns = [column.to_numpy(zero_copy_only=False) for column in chunk.columns]
    return np.array(columns).T


@dataclass(frozen=True)
class Chunk:
    """A converted chunk: its number, the number of its first row, and its rows."""

    number: int
    begin: int
    X: Reals
    weight: Floats | None
    original: Any

    def where(self) -> str:
        return _where(self.number, self.begin, len(self.X))

    def first_bad_row(self) -> str:
        """Return what tells the number of the first row that is not finite, for messages that name
        its number in the chunk."""
        bad = ~np.isfinite(self.X).all(axis=1)
        row = self.begin + int(bad.argmax())
        return f" of the chunk, row {row} of the stream" if bad.any() else ""


def _where(number: int, begin: int, n_rows: int) -> str:
    last = f" to {begin + n_rows - 1}" if n_rows > 1 else ""
    return f"chunk {number} (rows {begin}{last} of the stream)" if n_rows else f"chunk {number}"


class Chunks:
    """A source, and the pass over it: chunks are converted to the dtype of the first."""

    def __init__(self, source: Source, n_features: int | None = None, estimator: str = "") -> None:
        self.source = source
        self._n_features, self._estimator = n_features, estimator
        self.dtype: np.dtype[Any] | None = None
        self.is_weighted: bool | None = None
        self.is_stable = source.is_stable
        self._n_passes = 0

    def __iter__(self) -> Iterator[Chunk]:
        """Read and check all chunks."""
        begin = number = 0
        self._n_passes += 1
        iterator = iter(self.source)
        while True:
            try:
                given = next(iterator, None)
            except Exception as error:
                error.add_note(
                    f"fusedgmm was reading chunk {number} (from row {begin} of the stream) in pass "
                    f"{self._n_passes}"
                )
                raise
            if given is None:
                return
            chunk = self._converted(given, number, begin)
            yield chunk
            begin += len(chunk.X)
            number += 1

    def _converted(self, given: Any, number: int, begin: int) -> Chunk:
        weight: Any = None
        if isinstance(given, tuple) and len(given) == 2:
            given, weight = given
        try:
            if type(given).__module__.partition(".")[0] == "pyarrow":
                given = _of_arrow(given)
            X = as_data(given, min_samples=0)
            if weight is not None and self._n_passes > 1:  # it was checked in the first pass
                weight = np.ascontiguousarray(weight, dtype=np.float64)
            else:
                weight = as_sample_weight(weight, len(X), may_be_zero=True)
            return Chunk(number, begin, self._checked(X, weight), weight, given)
        except (TypeError, ValueError) as error:
            n_rows = _length(given)
            raise type(error)(f"{_where(number, begin, n_rows)}: {error}") from error

    def _checked(self, X: Reals, weight: Floats | None) -> Reals:
        """Return the rows in the dtype of the stream; ValueError if they are of another kind."""
        if self._n_features is None:
            self._n_features = X.shape[1]
        if X.shape[1] != self._n_features:
            who = self._estimator or "the first chunk"
            verb = "is expecting" if self._estimator else "has"
            raise ValueError(f"X has {X.shape[1]} features, but {who} {verb} {self._n_features}")
        if len(X) == 0:
            return X if self.dtype is None else X.astype(self.dtype)
        if self.dtype is None:
            self.dtype, self.is_weighted = X.dtype, weight is not None
        if (weight is not None) != self.is_weighted:
            has, first = ("no ", "has") if weight is None else ("", "does not have")
            raise ValueError(f"it has {has}sample weights, but the first chunk {first} them")
        if X.dtype == self.dtype:
            return X
        if self.dtype == np.float64:
            return X.astype(self.dtype)
        raise ValueError(
            f"it has dtype {X.dtype}, but the first chunk has {self.dtype}: convert all chunks to "
            "one dtype"
        )

    def explain(self, failed: bool) -> None:
        """Raise the ValueError that names the first NaN or infinity, or, if a fit has failed, the
        first chunk whose values are out of range."""
        for chunk in self:
            try:
                check_finite(chunk.X)
                if failed and len(chunk.X) > 1:
                    check_range(chunk.X)
            except ValueError as error:
                raise ValueError(f"{chunk.where()}: {error}{chunk.first_bad_row()}") from None


def _length(given: Any) -> int:
    try:
        return len(given)
    except TypeError:
        return 0


class RowStream(_core.Stream):
    """All rows of a stream, for the core: behaves as an array in `len`, `shape` and `dtype`."""

    survey: Survey


@dataclass
class Survey:
    """What the first look at a stream tells."""

    chunks: Chunks
    n_rows: int
    n_features: int
    dtype: np.dtype[Any]
    names: NDArray[np.object_] | None
    largest_weight: float | None
    weight_sum: float
    first_row: Reals  # (1, d)
    # the rows of the sample in the order of the stream, and their weights if they are all rows
    sample: Reals
    sample_weight: Floats | None

    def stream(self) -> RowStream:
        """Return the rows for the core."""
        n_rows, chunks = self.n_rows, self.chunks

        def read() -> Iterator[tuple[Reals, Floats | None]]:
            end = 0
            for chunk in chunks:
                end += len(chunk.X)
                if end > n_rows:
                    break
                yield chunk.X, chunk.weight
            if end != n_rows:
                more = "more" if end > n_rows else f"only {end}"
                raise ValueError(
                    f"the stream had {n_rows} rows in its first pass, and {more} in a later one: "
                    "every pass must give the same rows. If chunks is a function, it must return a "
                    "new iterator in every call"
                )

        stream = RowStream(
            read,
            n_rows=n_rows,
            n_features=self.n_features,
            dtype=self.dtype,
            is_stable=chunks.is_stable,
            most_bytes=MOST_BYTES if chunks.source.is_decoded else 1 << 62,
            largest_weight=self.largest_weight,
        )
        stream.survey = self
        return stream


class Sample:
    """The rows with the smallest keys so far."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed, self._limit = size, seed, np.inf
        self._rows: list[Reals] = []
        self._weights: list[Floats] = []
        self._numbers: list[NDArray[np.int64]] = []
        self._keys: list[Floats] = []
        self._count = 0

    def add(self, chunk: Chunk) -> None:
        numbers, keys = _core.draw_keys(
            self._seed,
            first=chunk.begin,
            n_rows=len(chunk.X),
            sample_weight=chunk.weight,
            limit=self._limit,
        )
        if len(numbers) == 0:
            return
        own = numbers - chunk.begin
        self._numbers.append(numbers)
        self._keys.append(keys)
        self._rows.append(np.ascontiguousarray(chunk.X[own]))
        if chunk.weight is not None:
            self._weights.append(chunk.weight[own])
        self._count += len(numbers)
        if self._count > 2 * self._size:
            self._prune()

    def _prune(self) -> None:
        keys = np.concatenate(self._keys)
        keep = np.arange(len(keys))
        if len(keys) > self._size:
            keep = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            self._limit = float(keys[keep].max())
        self._keys = [keys[keep]]
        self._numbers = [np.concatenate(self._numbers)[keep]]
        self._rows = [np.concatenate(self._rows)[keep]]
        if self._weights:
            self._weights = [np.concatenate(self._weights)[keep]]
        self._count = len(keep)

    def merge(self, other: Self) -> None:
        """Add a sample of rows that come later in the order of the rows."""
        self._numbers += other._numbers
        self._keys += other._keys
        self._rows += other._rows
        self._weights += other._weights
        self._limit = min(self._limit, other._limit)
        self._count += other._count
        if self._count > 2 * self._size:
            self._prune()

    def result(self, n_features: int, dtype: Any) -> tuple[Reals, Floats | None, bool]:
        """Return the sample in the order of the rows, the weights of its rows, and whether it is
        all rows of positive weight."""
        if not self._rows:
            return np.empty((0, n_features), dtype), None, True
        is_all = self._limit == np.inf and self._count <= self._size
        self._prune()
        weights = self._weights[0] if self._weights else None
        return self._rows[0], weights, is_all


class _Memory:
    """Finds out whether a reader overwrites its chunks, as one with a single buffer does."""

    def __init__(self) -> None:
        self._recent: deque[Reals] = deque(maxlen=_core.MOST_PARTS)  # which are kept, as in a pass
        self.is_reused = False

    def add(self, array: NDArray[Any]) -> None:
        if array.size:
            self.is_reused = self.is_reused or any(_overlap(array, old) for old in self._recent)
            self._recent.append(array)


def _overlap(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether two arrays may share memory; slices of rows of one array do not."""
    if a.strides == b.strides and a.strides[0] > 0:
        first, last = sorted((a, b), key=lambda array: int(array.ctypes.data))
        return bool(last.ctypes.data - first.ctypes.data < len(first) * first.strides[0])
    return np.may_share_memory(a, b)


def _sample_numbers(n_rows: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows of a sample, in order."""
    block = 1 << 20
    numbers, keys, limit = np.empty(0, np.int64), np.empty(0), np.inf
    for first in range(0, n_rows, block):
        more = _core.draw_keys(
            seed,
            first=first,
            n_rows=min(block, n_rows - first),
            sample_weight=None,
            limit=limit,
        )
        numbers, keys = np.append(numbers, more[0]), np.append(keys, more[1])
        if len(keys) > size:
            keep = np.sort(np.argpartition(keys, size - 1)[:size])
            numbers, keys = numbers[keep], keys[keep]
            limit = float(keys.max())
    return numbers


def _survey_array(source: Source, array: Reals, sample_rows: int, seed: int) -> Survey:
    """Look at an array, of which only the rows of the sample are read."""
    n_rows, n_features = array.shape
    chunks = Chunks(source, n_features)
    chunks.dtype, chunks.is_weighted = array.dtype, False
    sample = np.array(array[_sample_numbers(n_rows, sample_rows, seed)])
    first_row = np.array(array[:1])
    return Survey(
        chunks, n_rows, n_features, array.dtype, None, None, float(n_rows), first_row, sample, None
    )


def survey(source: Source, sample_rows: int, seed: int) -> Survey:
    """Look at all rows once: count them, find their dtype, names and largest weight, and take a
    sample that does not depend on how the rows are divided into chunks."""
    array = source.array()
    if array is not None and len(array) and array.dtype in (np.float32, np.float64):
        return _survey_array(source, array, sample_rows, seed)
    chunks, sample, memory = Chunks(source), Sample(sample_rows, seed), _Memory()
    n_rows, largest, weight_sum = 0, 0.0, 0.0
    names: NDArray[np.object_] | None = None
    first_row: Reals | None = None  # of positive weight, if there is one
    for chunk in chunks:
        if not source.is_stable:
            memory.add(chunk.X)
            if chunk.weight is not None:
                memory.add(chunk.weight)
        if len(chunk.X) == 0:
            continue
        if n_rows == 0:
            names = feature_names(chunk.original)
        first = 0 if chunk.weight is None else int(np.argmax(chunk.weight > 0.0))
        counts = chunk.weight is None or chunk.weight[first] > 0.0
        if first_row is None or (counts and chunks.is_weighted and largest == 0.0):
            first_row = np.array(chunk.X[first : first + 1])
        n_rows += len(chunk.X)
        if chunk.weight is not None:
            largest = max(largest, float(chunk.weight.max()))
            weight_sum += float(chunk.weight.sum())
        sample.add(chunk)
    if first_row is None or chunks.dtype is None:
        raise ValueError("the stream is empty: it gave no rows")
    if chunks.is_weighted and not largest > 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    if memory.is_reused and source.reads_ahead:
        raise ValueError(
            "the chunks share memory, so they cannot be read ahead: give every chunk its own array"
        )
    chunks.is_stable = source.is_stable or not memory.is_reused
    n_features = first_row.shape[1]
    found, weights, is_all = sample.result(n_features, chunks.dtype)
    return Survey(
        chunks,
        n_rows,
        n_features,
        chunks.dtype,
        names,
        largest if chunks.is_weighted else None,
        weight_sum if chunks.is_weighted else float(n_rows),
        first_row,
        found,
        weights if is_all else None,
    )
