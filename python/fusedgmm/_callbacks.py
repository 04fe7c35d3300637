"""What a fit tells while it runs: its state for callbacks, progress, and checkpoints."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import numpy as np

from . import _core
from ._covariance import layout_of
from ._parameters import MixtureParameters
from ._typing import CovarianceType, Floats, Reals
from ._validation import as_integer, as_positive

_KIND, _FORMAT = "fusedgmm.Checkpoint", 1


class _Fit(Protocol):
    """The fit in the core, during a report."""

    def parameters(self) -> dict[str, Floats]: ...
    def state(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class FitState:
    """The state of a fit after an iteration, as a callback gets it.

    It is valid during the call of the callback; `parameters` are copies, which stay valid.

    Attributes
    ----------
    init : int
        Number of the start, from 0.
    iteration : int
        Number of iterations of this start.
    lower_bound, change : float
        Mean log-likelihood per row (nats), and its change in this iteration.
    seconds : float
        Time since the fit began, in seconds.
    rows : int
        Number of rows of a pass.
    rows_per_second : float
        Rows per second of the last iteration.
    remaining : float
        Estimate of the seconds until this start converges or reaches `max_iter`, from the last two
        changes.
    parameters : MixtureParameters
        The parameters after this iteration, float64.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture
    >>> def watch(state):
    ...     print(state.iteration, state.parameters.means.tolist())
    >>> model = GaussianMixture().fit([[1.0], [3.0]], callback=watch)
    1 [[2.0]]
    2 [[2.0]]
    """

    init: int
    iteration: int
    lower_bound: float
    change: float
    seconds: float
    rows: int
    rows_per_second: float
    remaining: float
    _fit: _Fit = field(repr=False)
    _identity: dict[str, object] = field(repr=False)

    @property
    def parameters(self) -> MixtureParameters:
        """The parameters after this iteration, float64."""
        p = self._fit.parameters()
        covariance_type: Any = self._identity["covariance_type"]
        return MixtureParameters(
            p["weights"], p["means"], p["covariances"], p["precisions_cholesky"], covariance_type
        )


Callback: TypeAlias = Callable[[FitState], object]


class Watch:
    """Calls the callbacks of a fit after each iteration; true if one of them wants it to end."""

    def __init__(
        self,
        callbacks: list[Callback],
        rows: int,
        tol: float,
        max_iter: int,
        identity: dict[str, object],
    ) -> None:
        self._callbacks, self.rows = callbacks, rows
        self._tol, self._max_iter, self._identity = tol, max_iter, identity
        self._begin = self._last = perf_counter()
        self._change = math.inf

    def __call__(
        self, init: int, iteration: int, lower_bound: float, change: float, fit: _Fit
    ) -> bool:
        now = perf_counter()
        lapse, self._last = now - self._last, now
        before, self._change = self._change, change
        if iteration == 0:
            return False
        state = FitState(
            init,
            iteration,
            lower_bound,
            change,
            now - self._begin,
            self.rows,
            self.rows / max(lapse, 1e-9),
            lapse * self._iterations_left(iteration, abs(before), abs(change)),
            fit,
            self._identity,
        )
        answers = [callback(state) for callback in self._callbacks]
        return any(answers)

    def _iterations_left(self, iteration: int, before: float, change: float) -> int:
        """Extrapolate the changes, which shrink by about the same factor in each iteration."""
        left = self._max_iter - iteration
        if change < self._tol:
            return 0
        if 0 < change < before < math.inf and self._tol > 0:
            left = min(left, math.ceil(math.log(self._tol / change) / math.log(change / before)))
        return left


@contextmanager
def progress_callback(progress: bool, max_iter: int) -> Iterator[Callback | None]:
    """Yield a callback that shows the iterations on standard error: with tqdm, else as a line on a
    terminal; None without progress."""
    if not progress:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if not sys.stderr.isatty():
            yield None
            return

        def show(state: FitState) -> None:
            line = f"\riteration {state.iteration}, {state.lower_bound:.6g} nats per row"
            print(line, end="", file=sys.stderr, flush=True)

        try:
            yield show
        finally:
            print(file=sys.stderr)
        return
    with tqdm(total=max_iter, unit="iteration", disable=None) as bar:

        def update(state: FitState) -> None:
            if state.iteration < bar.n:  # another start
                bar.reset()
            bar.set_postfix_str(f"{state.lower_bound:.6g} nats per row", refresh=False)
            bar.update(state.iteration - bar.n)

        yield update


class Checkpoint:
    """A callback that writes the state of a fit to a file, from which another process goes on.

    Pass it as `callback` to `fit` or `fit_chunks`, and the same object, or another one for the same
    path, as `resume`: a fit that was killed at any moment goes on from the last file, and ends with
    the same bits as one that ran through (on the same machine, with the same version).

    Parameters
    ----------
    path : str or pathlib.Path
        File name ending in .npz. The file is replaced atomically.
    every_seconds : float, default=60
        Least time between two files, in seconds; 0 writes one after every iteration.
    every : int or None, default=None
        Write after every so many iterations instead.

    Notes
    -----
    As `resume`, a checkpoint whose file does not exist starts the fit from the beginning, so the
    same script can be run again and again until it ends. The file stays when the fit has ended, and
    a fit can be resumed from it.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fusedgmm import Checkpoint, GaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> with TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(Path(folder) / "fit.npz", every_seconds=0)
    ...     model = GaussianMixture(2, random_state=0).fit(X, callback=checkpoint)
    ...     again = GaussianMixture(2, random_state=0).fit(X, resume=checkpoint)
    >>> bool((again.means_ == model.means_).all())
    True
    """

    def __init__(
        self, path: str | Path, every_seconds: float = 60, every: int | None = None
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".npz":
            raise ValueError(f"{path}: the name must end in .npz")
        self.every_seconds = every_seconds
        if every_seconds != 0:
            as_positive(every_seconds, "every_seconds")
        self.every = None if every is None else as_integer(every, "every", 1)
        self._last = -math.inf

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r})"

    def __call__(self, state: FitState) -> None:
        now = perf_counter()
        if self.every is not None:
            if state.iteration % self.every:
                return
        elif now - self._last < self.every_seconds:
            return
        self._save(state)
        self._last = perf_counter()

    def _save(self, state: FitState) -> None:
        from ._files import save_arrays

        save_arrays(self.path, _KIND, _FORMAT, state._identity, state._fit.state())


def read_checkpoint(resume: object) -> tuple[Path, dict[str, Any], dict[str, Any]] | None:
    """Return the path, the identity of the fit, and its state; None if a Checkpoint has no file
    yet."""
    from ._files import load_arrays

    if isinstance(resume, Checkpoint):
        if not resume.path.exists():
            return None
        path = resume.path
    elif isinstance(resume, (str, Path)):
        path = Path(resume)
    else:
        raise TypeError(
            f"resume must be a Checkpoint or the path of its file, got a {type(resume).__name__}"
        )
    meta, state = load_arrays(path, _KIND, _FORMAT)
    return path, meta, state


def check_identity(path: Path, found: dict[str, Any], expected: dict[str, object]) -> None:
    """Raise ValueError if a checkpoint is of a fit with other options or data."""
    for name, value in expected.items():
        if name in ("seed", "version", "instruction_set"):
            continue
        if found.get(name) != value:
            raise ValueError(
                f"{path}: the checkpoint is of a fit with {name} = {found.get(name)!r}, but this "
                f"fit has {name} = {value!r}"
            )


def fingerprint(*arrays: Reals | None) -> int:
    """Return a checksum of some rows, to recognize the data."""
    value = 0
    for array in arrays:
        if array is not None:
            value = zlib.crc32(np.ascontiguousarray(array).tobytes(), value)
    return value


def identity_of(
    covariance_type: CovarianceType,
    n_components: int,
    X: Any,
    options: dict[str, object],
    data: int,
) -> dict[str, object]:
    """Return what a checkpoint must have in common with the fit that resumes from it."""
    layout_of(covariance_type)
    return {
        "covariance_type": covariance_type,
        "n_components": int(n_components),
        "n_samples": len(X),
        "n_features": int(X.shape[1]),
        "dtype": str(np.dtype(X.dtype)),
        **options,
        "checksum of the data": data,
        "version": _core.__version__,
        "instruction_set": _core.config()["instruction_set"],
    }
