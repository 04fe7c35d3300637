"""Sources of chunks for `fit_chunks` and the other methods that read a stream.

A stream is anything that can be read from its beginning any number of times and gives chunks: a
list of arrays, an object whose ``__iter__`` starts anew, or a function without arguments that
returns an iterator. A chunk is whatever `fit` takes as `X`, a pyarrow RecordBatch or Table, or a
tuple ``(X, sample_weight)``. The functions here make streams of arrays on disk and of files.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy

from ._validation import as_integer

Stream: TypeAlias = "Iterable[Any] | Callable[[], Iterable[Any]]"

__all__ = ["ahead", "chunks", "files", "parquet", "rows"]

ROWS = 65_536  # of a chunk


class Source:
    """A stream with what is known of it before it is read."""

    # The arrays keep their values while later chunks are read.
    is_stable = True
    # Rows that are held cost memory: they are not part of an array or a file in the page cache.
    is_decoded = False
    reads_ahead = False

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def array(self) -> Any:
        """Return an array with all rows that can be indexed cheaply, or None."""
        return None


class _Rows(Source):
    def __init__(self, array: Any, size: int | None) -> None:
        # np.asarray of a map only changes its class, and so makes slices faster
        self._array = np.asarray(array) if type(array) is np.memmap else array
        self._size = size
        self.is_decoded = not isinstance(array, np.ndarray)

    def __iter__(self) -> Iterator[Any]:
        size = self._size or self._own_size()
        for begin in range(0, self._array.shape[0], size):
            yield self._array[begin : begin + size]

    def _own_size(self) -> int:
        """Return the array's own number of rows per chunk, or a multiple of it."""
        chunks = getattr(self._array, "chunks", None)
        own = chunks[0] if chunks else 1
        if not isinstance(own, int) or own < 1:  # Dask has a tuple of sizes
            return ROWS
        return own * max(1, ROWS // own)

    def array(self) -> Any:
        return self._array if isinstance(self._array, np.ndarray) else None


class _Files(Source):
    is_decoded = True

    def __init__(self, paths: list[Path], load: Callable[[Path], Any] | None) -> None:
        self._paths, self._load = paths, load

    def __iter__(self) -> Iterator[Any]:
        for path in self._paths:
            try:
                if self._load is not None:
                    yield self._load(path)
                elif path.suffix.lower() == ".npy":
                    yield from _Rows(open_npy(path), None)
                else:
                    yield from parquet(path)
            except Exception as error:
                error.add_note(f"fusedgmm was reading the file {path}")
                raise

    def array(self) -> Any:
        one = len(self._paths) == 1 and self._load is None
        return open_npy(self._paths[0]) if one and self._paths[0].suffix == ".npy" else None


class _Parquet(Source):
    is_decoded = True

    def __init__(
        self, source: Any, columns: list[str] | None, weight: str | None, size: int
    ) -> None:
        self._source, self._columns, self._weight, self._size = source, columns, weight, size

    def _batches(self) -> Iterator[Any]:
        columns = self._columns
        if columns is not None and self._weight is not None:
            columns = [*columns, self._weight]
        source = self._source
        if hasattr(source, "iter_batches"):  # a ParquetFile
            yield from source.iter_batches(batch_size=self._size, columns=columns)
        elif hasattr(source, "scanner"):  # a Dataset; batches in the order of the files
            scanner = source.scanner(
                columns=columns, batch_size=self._size, batch_readahead=2, fragment_readahead=1
            )
            yield from scanner.to_batches()
        else:  # a Table
            table = source if columns is None else source.select(columns)
            yield from table.to_batches(max_chunksize=self._size)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches():
            if self._weight is None:
                yield batch
            else:
                weight = batch.column(self._weight).to_numpy(zero_copy_only=False)
                yield batch.drop_columns([self._weight]), weight


class _Ahead(Source):
    def __init__(self, given: Stream, n: int) -> None:
        self._given, self._n = given, n
        self.is_stable = bool(getattr(given, "is_stable", False))
        self.is_decoded = self.reads_ahead = True

    def __iter__(self) -> Iterator[Any]:
        done = object()
        ready: queue.Queue[Any] = queue.Queue(self._n)
        stop = threading.Event()

        def put(item: Any) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.05)
                except queue.Full:
                    continue

        def read() -> None:
            try:
                for chunk in open_stream(self._given):
                    put((chunk, None))
                    if stop.is_set():
                        return
                put((done, None))
            except BaseException as error:
                put((done, error))

        reader = threading.Thread(target=read, name="fusedgmm-ahead", daemon=True)
        reader.start()
        try:
            while True:
                chunk, error = ready.get()
                if error is not None:
                    raise error
                if chunk is done:
                    return
                yield chunk
        finally:
            stop.set()
            reader.join()


def open_stream(given: Stream) -> Iterator[Any]:
    """Begin a pass over the chunks."""
    return iter(given() if callable(given) else given)


def open_npy(path: Path) -> Any:
    """Map a .npy file into memory; ValueError if it is shorter than its header says."""
    with open(path, "rb") as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        expected = file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
        found = file.seek(0, 2)
    if found < expected:
        raise ValueError(f"{path} is truncated: it has {found} of {expected} bytes")
    return np.load(path, mmap_mode="r", allow_pickle=False)


class _Given(Source):
    """What the user passed: a callable or an iterable."""

    def __init__(self, given: Any, is_stable: bool) -> None:
        self._given, self.is_stable = given, is_stable
        self.is_decoded = not is_stable

    def __iter__(self) -> Iterator[Any]:
        return open_stream(self._given)


def chunks(given: Any, *, once: bool = False) -> Source:
    """Return a stream of anything that `fit_chunks` takes.

    It is for methods that take an array or a stream, such as `score`.

    Parameters
    ----------
    given : see `GaussianMixture.fit_chunks`
    once : bool, default=False
        True: it is read only once, so that it may be an iterator.

    Returns
    -------
    stream

    Raises
    ------
    TypeError
        `given` is no stream, or can be read only once.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import GaussianMixture, stream
    >>> parts = [np.array([[0.0], [1.0]]), np.array([[2.0], [5.0]])]
    >>> model = GaussianMixture().fit_chunks(parts)
    >>> round(model.score(stream.chunks(parts)), 3)
    -2.045
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, (str, Path)):
        return files(given)
    if isinstance(given, (list, tuple)):
        if given and all(isinstance(item, (str, Path)) for item in given):
            return files(given)
        return _Given(given, is_stable=True)
    if type(given).__module__.partition(".")[0] == "pyarrow" and (
        hasattr(given, "scanner") or hasattr(given, "iter_batches") or hasattr(given, "to_batches")
    ):
        return parquet(given)
    if len(getattr(given, "shape", ())) == 2 and hasattr(given, "dtype"):
        source = rows(given)
        return ahead(source) if source.is_decoded else source
    if hasattr(given, "shape"):  # a frame
        return _Given([given], is_stable=True)
    if callable(given):
        return _Given(given, is_stable=False)
    if not isinstance(given, Iterable):
        raise TypeError(
            f"chunks is of type {type(given).__name__}: pass a list of arrays, a function that "
            "returns an iterator of arrays, an array on disk, or the paths of files"
        )
    if iter(given) is given and not once:
        raise TypeError(
            f"chunks is a {type(given).__name__}, which can be read only once, but EM reads the "
            "rows many times: pass a list, an object whose __iter__ starts anew, or a function "
            "that returns a new iterator, for example fit_chunks(lambda: read_chunks())"
        )
    return _Given(given, is_stable=False)


def rows(array: Any, size: int | None = None) -> Source:
    """Return a stream of the rows of an array on disk or in memory.

    Parameters
    ----------
    array : array of shape (n_samples, n_features)
        Anything with a shape and slices of rows: `numpy.memmap`, an h5py dataset, a zarr array.
    size : int or None, default=None
        Number of rows per chunk. None: about 65,536, whole chunks of the array.

    Returns
    -------
    stream

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import stream
    >>> [chunk.shape for chunk in stream.rows(np.zeros((5, 2)), size=3)]
    [(3, 2), (2, 2)]
    """
    if len(getattr(array, "shape", ())) != 2:
        found = getattr(array, "shape", type(array).__name__)
        raise ValueError(f"rows takes an array of shape (n_samples, n_features), got {found}")
    return _Rows(array, None if size is None else as_integer(size, "size", 1))


def files(
    paths: str | Path | Sequence[str | Path], load: Callable[[Path], Any] | None = None
) -> Source:
    """Return a stream of the rows of files, one after the other.

    Parameters
    ----------
    paths : str, pathlib.Path or sequence of them
        Files ending in .npy or .parquet; or any files if `load` is given.
    load : callable or None, default=None
        Returns the chunk in a file, given its path.

    Returns
    -------
    stream

    Raises
    ------
    ValueError
        There are no files, or one has an ending that needs `load`.
    FileNotFoundError
        A file does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fusedgmm import stream
    >>> with TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "a.npy", np.zeros((3, 2)))
    ...     [chunk.shape for chunk in stream.files(Path(folder) / "a.npy")]
    [(3, 2)]
    """
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found = [Path(path) for path in several]
    if not found:
        raise ValueError("there are no files: the list of paths is empty")
    for path in found:
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        if load is None and path.suffix.lower() not in (".npy", ".parquet", ".pq"):
            raise ValueError(
                f"{path}: only .npy and .parquet files are read without help; pass load=, a "
                "function that returns the array in a file"
            )
    return _Files(found, load)


def parquet(
    source: Any,
    columns: Sequence[str] | None = None,
    weight: str | None = None,
    size: int = ROWS,
) -> Source:
    """Return a stream of the rows of Parquet files, or of a pyarrow Dataset, Table or ParquetFile.

    Parameters
    ----------
    source : path, sequence of paths, or pyarrow Dataset, Table or ParquetFile
    columns : sequence of str or None, default=None
        The columns that are features. None: all, except `weight`.
    weight : str or None, default=None
        The column with the sample weights.
    size : int, default=65536
        Largest number of rows per chunk.

    Returns
    -------
    stream
        Its columns are passed on as columns, without conversion to rows.

    Raises
    ------
    ImportError
        pyarrow is not installed.
    """
    size = as_integer(size, "size", 1)
    if not type(source).__module__.startswith("pyarrow"):
        try:
            dataset = import_module("pyarrow.dataset")
        except ImportError as error:
            raise ImportError("reading Parquet needs pyarrow: pip install pyarrow") from error
        several = [source] if isinstance(source, (str, Path)) else list(source)
        source = dataset.dataset([str(path) for path in several], format="parquet")
    return _Parquet(source, None if columns is None else list(columns), weight, size)


def ahead(given: Stream, n: int = 2) -> Source:
    """Return a stream whose chunks are read by a thread, before they are needed.

    This helps where reading a chunk takes work that releases the interpreter's lock, such as
    decompression, and a CPU is free. Arrays in memory and memory maps gain nothing.

    Parameters
    ----------
    given : stream
        Its chunks must not share memory that is overwritten.
    n : int, default=2
        Number of chunks that may wait.

    Returns
    -------
    stream

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import GaussianMixture, stream
    >>> parts = [np.array([[0.0], [1.0]]), np.array([[2.0], [5.0]])]
    >>> model = GaussianMixture().fit_chunks(stream.ahead(parts))
    >>> model.means_.tolist()
    [[2.0]]
    """
    return _Ahead(given, as_integer(n, "n", 1))
