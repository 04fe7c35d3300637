"""fit_batch: many independent mixtures in one call."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, threads
from ._estimator import as_seed
from ._problems import Answers, arrange
from ._typing import CovarianceType, Floats, InitParams, Labels, RandomState
from ._validation import as_integer, as_nonnegative, as_option, covariance_shape
from .mixture import GaussianMixture
from .parameters import as_given

if TYPE_CHECKING:
    import pandas
    import polars

FORMAT = 1  # of saved results


class BatchStatus(IntEnum):
    """How a problem of a batch ended.

    The first five may come with a mixture; the others have none.
    """

    CONVERGED = 0
    NOT_CONVERGED = 1
    LOST_COMPONENT = 2
    CONSTANT_ROWS = 3
    TOO_FEW_DISTINCT_ROWS = 4
    TOO_FEW_ROWS = 5
    ROWS_NOT_FINITE = 6
    BAD_SAMPLE_WEIGHT = 7
    COLLAPSED_COMPONENT = 8
    ROWS_OUT_OF_REACH = 9
    OUT_OF_MEMORY = 10
    NOT_RUN = 11

    @property
    def meaning(self) -> str:
        """What the status says, in words."""
        return _MEANING[self]


_MEANING = {
    BatchStatus.CONVERGED: "converged",
    BatchStatus.NOT_CONVERGED: "did not converge within max_iter",
    BatchStatus.LOST_COMPONENT: "a component lost all its rows: its weight is 0",
    BatchStatus.CONSTANT_ROWS: "all rows are the same",
    BatchStatus.TOO_FEW_DISTINCT_ROWS: "fewer distinct rows than components",
    BatchStatus.TOO_FEW_ROWS: "fewer rows than components, or fewer than two",
    BatchStatus.ROWS_NOT_FINITE: "NaN or infinity in the rows",
    BatchStatus.BAD_SAMPLE_WEIGHT: "sample weights negative, not finite, or all zero",
    BatchStatus.COLLAPSED_COMPONENT: "a covariance is singular; raise reg_covar",
    BatchStatus.ROWS_OUT_OF_REACH: "rows beyond the reach of every component; scale the data",
    BatchStatus.OUT_OF_MEMORY: "no memory left",
    BatchStatus.NOT_RUN: "not run: the call was stopped",
}


def fit_batch(
    X: ArrayLike | Sequence[ArrayLike],
    n_components: int | Sequence[int],
    *,
    offsets: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | Sequence[ArrayLike] | None = None,
    covariance_type: CovarianceType = "full",
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    n_init: int = 1,
    init_params: InitParams = "kmeans",
    weights_init: ArrayLike | None = None,
    means_init: ArrayLike | None = None,
    precisions_init: ArrayLike | None = None,
    random_state: RandomState | ArrayLike = None,
    criterion: Literal["bic", "aic"] = "bic",
    n_threads: int | None = None,
    on_error: Literal["mark", "raise"] = "mark",
    progress: bool | Callable[[int, int], object] = False,
) -> BatchResult:
    """Fit many independent Gaussian mixtures, shared out among the threads.

    Problem i gets the bits that
    ``GaussianMixture(n_components, ..., random_state=result.seeds[i]).fit(X_i)`` gives: they depend
    neither on the other problems nor on the number of threads.

    Parameters
    ----------
    X : list of array-likes, or array-like
        The rows of P problems, in one of four forms: a list of arrays (n_i, n_features), where a
        1-D array is one feature; an array (P, n, n_features); an array (N, n_features) or (N,) with
        `offsets`; the same with `groups`. float32 and float64 are not copied, except to bring
        together the rows of a group, or to join the two in one list.
    n_components : int or list of int
        Number of Gaussians K. Of several, each problem keeps the one with the least `criterion`.
    offsets : array-like of int of shape (P + 1,), default=None
        Problem i has the rows ``X[offsets[i]:offsets[i + 1]]``.
    groups : array-like of shape (N,), default=None
        A label for each row; the rows of a label, in any order, are one problem. The problems are
        in the order of the sorted labels, `BatchResult.labels`.
    sample_weight : like X without its last axis, default=None
        As in `GaussianMixture.fit`, judged problem by problem.
    covariance_type, tol, reg_covar, max_iter, n_init, init_params
        As in `GaussianMixture`, for every problem.
    weights_init, means_init, precisions_init : array-like, default=None
        As in `GaussianMixture`, the same for all problems; or with one more axis in front, for each
        its own. Only with a single `n_components`.
    random_state : int, RandomState, Generator, None, or array-like of int of shape (P,)
        Gives each problem a seed of its own; or the seeds themselves.
    criterion : {"bic", "aic"}, default="bic"
        By which one of several `n_components` is chosen.
    n_threads : int or None, default=None
        As in `GaussianMixture`.
    on_error : {"mark", "raise"}, default="mark"
        "mark": `BatchResult.status` says what happened to each problem. "raise": ValueError for the
        first problem that has no mixture, when all have been run.
    progress : bool or callable, default=False
        True: a bar on the standard error (tqdm's, where it is installed). A callable is called with
        (problems done, P) some times a second.

    Returns
    -------
    BatchResult

    Raises
    ------
    TypeError, ValueError
        An option, or the form of `X`; nothing has been fitted then.
    ValueError
        With ``on_error="raise"``, a problem that has no mixture. This error, a KeyboardInterrupt
        and whatever `progress` raises carry the `BatchResult` so far as their `partial`: problems
        that were not finished are `BatchStatus.NOT_RUN`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import fit_batch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 200, 1)) + 6 * rng.integers(2, size=(1000, 200, 1))
    >>> result = fit_batch(X, [1, 2, 3], random_state=0)
    >>> len(result), int(np.median(result.n_components))
    (1000, 2)
    >>> result[17].means_.shape == (result.n_components[17], 1)
    True
    """
    candidates = _as_candidates(n_components)
    as_option(criterion, "criterion", ("bic", "aic"))
    as_option(on_error, "on_error", ("mark", "raise"))
    template = GaussianMixture(
        max(candidates),
        covariance_type=covariance_type,
        tol=as_nonnegative(tol, "tol"),
        reg_covar=as_nonnegative(reg_covar, "reg_covar"),
        max_iter=as_integer(max_iter, "max_iter", 0),
        n_init=as_integer(n_init, "n_init", 1),
        init_params=init_params,
        n_threads=None if n_threads is None else as_integer(n_threads, "n_threads", 1),
    )
    template._options()
    problems = arrange(X, offsets, groups, sample_weight)
    count, most, d = len(problems.core), max(candidates), problems.n_features
    inits = (weights_init, means_init, precisions_init)
    if len(candidates) > 1 and any(init is not None for init in inits):
        raise ValueError("starting values need a single n_components")
    each = _own_axes(inits, covariance_type)
    given = as_given(*inits, covariance_type, most, d, tuple(count if e else None for e in each))
    layout = _layout(covariance_type, count, most, d, len(candidates))
    arrays: dict[str, Any] = {name: np.full(shape, fill) for name, (shape, fill) in layout.items()}
    arrays["seeds"] = _as_seeds(random_state, count)
    result = BatchResult(
        **arrays,
        labels=problems.labels,
        candidates=candidates,
        criterion=criterion,
        dtype=problems.core.dtype,
        template=template,
    )
    with _reports(progress, count) as report:
        error = _core.fit_batch(
            problems.core,
            covariance_type,
            candidates,
            criterion == "aic",
            init_params,
            template.n_init,
            given,
            each,
            template.tol,
            template.reg_covar,
            template.max_iter,
            threads.resolve(n_threads, None if count > 1 else _n_tasks(problems.core, result)),
            report,
            arrays,
        )
    if error is None and on_error == "raise" and not result.ok.all():
        i = int(np.argmin(result.ok))
        error = ValueError(f"{result._name(i)} has no mixture: {result._reason(i)}")
    if error is None:
        return result
    error.partial = result  # type: ignore[attr-defined]
    try:
        raise error
    finally:
        del error  # it holds this frame, and the frame would hold it, and X


def _n_tasks(core: _core.Problems, result: BatchResult) -> int:
    """Return the tasks of the only problem, or of none."""
    if len(core) == 0:
        return 0
    _, K, d = result.means.shape
    return _core.n_tasks(result.covariance_type, int(core.offsets[-1]), K, d)


def _layout(
    covariance_type: str, P: int, K: int, d: int, n_candidates: int
) -> dict[str, tuple[tuple[int, ...], np.generic]]:
    """Return what every problem has in a result: shape, and the value (and dtype) of no result."""
    square = (P, *covariance_shape(covariance_type, K, d))
    nan, none = np.float64(np.nan), np.int64(0)
    return {
        "weights": ((P, K), nan),
        "means": ((P, K, d), nan),
        "covariances": (square, nan),
        "precisions_cholesky": (square, nan),
        "lower_bound": ((P,), nan),
        "n_iter": ((P,), none),
        "converged": ((P,), np.bool_(False)),
        "status": ((P,), np.int8(BatchStatus.NOT_RUN)),
        "n_components": ((P,), none),
        "bic": ((P,), nan),
        "aic": ((P,), nan),
        "criteria": ((P, n_candidates), nan),
        "seeds": ((P,), np.uint32(0)),
    }


def _as_candidates(n_components: int | Sequence[int]) -> tuple[int, ...]:
    if np.ndim(n_components) == 0:
        return (as_integer(n_components, "n_components", 1),)
    several = cast(Sequence[int], n_components)
    candidates = tuple(as_integer(k, "n_components", 1) for k in several)
    if not candidates or len(set(candidates)) < len(candidates):
        raise ValueError(f"n_components must be different numbers, got {n_components!r}")
    return candidates


def _own_axes(
    inits: tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None], covariance_type: str
) -> tuple[bool, bool, bool]:
    """Return which of weights, means and precisions have one axis more than one mixture's."""
    plain = (1, 2, len(covariance_shape(covariance_type, 1, 1)))
    weights, means, precisions = (
        init is not None and np.ndim(init) == axes + 1
        for init, axes in zip(inits, plain, strict=True)
    )
    return weights, means, precisions


def _as_seeds(random_state: RandomState | ArrayLike, count: int) -> NDArray[np.uint32]:
    if np.ndim(cast(ArrayLike, random_state)) == 0:
        return _core.seeds(as_seed(random_state), count)
    seeds = np.asarray(random_state)
    if seeds.shape != (count,) or (seeds.dtype.kind not in "iu" and count):
        raise ValueError(
            f"as random_state, seeds must be {count} ints, one per problem; got shape "
            f"{seeds.shape}, dtype {seeds.dtype}"
        )
    if count and (seeds.min() < 0 or seeds.max() >= 2**32):
        raise ValueError("seeds must be between 0 and 2**32 - 1")
    return seeds.astype(np.uint32)


@contextmanager
def _reports(
    progress: bool | Callable[[int, int], object], count: int
) -> Iterator[Callable[[int], object] | None]:
    """Yield what the core calls with the number of problems that are done."""
    if not progress:
        yield None
        return
    if callable(progress):
        yield lambda done: progress(done, count)
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        try:
            yield lambda done: print(f"\r{done}/{count} fits", end="", file=sys.stderr, flush=True)
        finally:
            print(file=sys.stderr)
        return
    with tqdm(total=count, unit="fit") as bar:
        yield lambda done: bar.update(done - bar.n)


@dataclass(frozen=True, eq=False, repr=False)
class BatchResult:
    """The mixtures of P problems, from `fit_batch`. K is the largest number of components.

    ``result[i]`` is a fitted `GaussianMixture`; a slice, a mask or an array of numbers gives the
    `BatchResult` of those problems. Where a problem has fewer than K components, or no mixture, the
    arrays hold NaN. Of the lower bounds of all iterations, a model's `lower_bounds_` has the last.

    Attributes
    ----------
    weights : array of shape (P, K), float64
    means : array of shape (P, K, n_features), float64
    covariances, precisions_cholesky : array, float64
        (P, K, n_features, n_features) for "full", (P, n_features, n_features) for "tied",
        (P, K, n_features) for "diag", (P, K) for "spherical".
    lower_bound : array of shape (P,)
        The mean log-likelihood per row (nats) that the last iteration found.
    n_iter : array of shape (P,), int64
    converged : array of shape (P,), bool
    status : array of shape (P,), int8
        A `BatchStatus` each.
    n_components : array of shape (P,), int64
        The number that was chosen; 0 where there is no mixture.
    bic, aic : array of shape (P,)
        Criteria of the mixture kept, at its final parameters; with sample weights, N is their sum.
    criteria : array of shape (P, len(candidates))
        The criterion of every number of components that was tried; NaN where that has no mixture.
    seeds : array of shape (P,), uint32
        The `random_state` of each problem.
    labels : array of shape (P,) or None
        The labels of the groups, sorted; None where there were no `groups`.
    candidates : tuple of int
        The numbers of components that were tried.
    criterion : {"bic", "aic"}
        What chose among them.
    dtype : numpy.dtype
        Of the rows: float32 or float64.
    template : GaussianMixture
        An unfitted model with the options of the fits.
    """

    weights: Floats
    means: Floats
    covariances: Floats
    precisions_cholesky: Floats
    lower_bound: Floats
    n_iter: Labels
    converged: NDArray[np.bool_]
    status: NDArray[np.int8]
    n_components: Labels
    bic: Floats
    aic: Floats
    criteria: Floats
    seeds: NDArray[np.uint32]
    labels: NDArray[np.generic] | None
    candidates: tuple[int, ...]
    criterion: Literal["bic", "aic"]
    dtype: np.dtype[np.floating]
    template: GaussianMixture

    @property
    def covariance_type(self) -> CovarianceType:
        """The covariance type of all mixtures."""
        return self.template.covariance_type

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which problems have a mixture, (P,) bool: ``result[result.ok]`` are those."""
        return self.n_components > 0

    def __len__(self) -> int:
        return len(self.status)

    def __repr__(self) -> str:
        _, K, d = self.means.shape
        return (
            f"<BatchResult: {len(self)} problems, {self.ok.sum()} with a mixture; "
            f"n_components up to {K}, n_features {d}, {self.covariance_type!r}>"
        )

    def _name(self, i: int) -> str:
        return f"problem {i}" + ("" if self.labels is None else f" (group {self.labels[i]!r})")

    def _reason(self, i: int) -> str:
        return BatchStatus(self.status[i]).meaning

    @overload
    def __getitem__(self, index: int) -> GaussianMixture: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Self: ...
    def __getitem__(self, index: int | slice | ArrayLike) -> GaussianMixture | Self:
        if isinstance(index, slice) or np.ndim(index):
            chosen = index if isinstance(index, slice) else _as_places(index)
            return replace(self, **{name: array[chosen] for name, array in self._arrays().items()})
        i = operator.index(cast(int, index))
        if not -len(self) <= i < len(self):
            raise IndexError(f"problem {i} of {len(self)}")
        i %= len(self)
        K = int(self.n_components[i])
        if K == 0:
            raise ValueError(
                f"{self._name(i)} has no mixture: {self._reason(i)}; result[result.ok] has the "
                "others"
            )
        kind = self.covariance_type
        parts = slice(None) if kind == "tied" else slice(K)
        model = copy(self.template)
        model.n_components, model.random_state = K, int(self.seeds[i])
        model._assign(
            (
                self.weights[i, :K],
                self.means[i, :K],
                self.covariances[i, parts],
                self.precisions_cholesky[i, parts],
            ),
            self.dtype,
        )
        model.n_features_in_ = self.means.shape[2]
        model.converged_ = bool(self.converged[i])
        model.n_iter_ = int(self.n_iter[i])
        model.lower_bound_ = float(self.lower_bound[i])
        model.lower_bounds_ = [model.lower_bound_] if model.n_iter_ else []
        return model

    def __iter__(self) -> Iterator[GaussianMixture]:
        return (self[i] for i in range(len(self)))

    def _arrays(self) -> dict[str, Any]:
        """Return everything that has an entry per problem: arrays."""
        everything = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in everything if isinstance(value, np.ndarray)}

    def predict(
        self, X: object, *, offsets: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Answers:
        """Return the most probable component of each row, by its own problem's mixture.

        Parameters
        ----------
        X, offsets, groups
            Rows of the P problems, in a form of `fit_batch`. Groups are found by their label.

        Returns
        -------
        labels : int64, in the form of `X`
            A list of arrays (n_i,), or an array (P, n), or (N,); -1 where there is no mixture.

        Raises
        ------
        ValueError
            Other problems than those of the fit; NaN or infinity in the rows of a mixture.
        """
        return self._score(X, offsets, groups, "labels")

    def predict_proba(
        self, X: object, *, offsets: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Answers:
        """Return the responsibilities, as `predict` with a last axis K; NaN where there is none."""
        return self._score(X, offsets, groups, "responsibilities")

    def score_samples(
        self, X: object, *, offsets: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Answers:
        """Return the log-likelihood of each row in nats, as `predict`; NaN where there is none."""
        return self._score(X, offsets, groups, "log_likelihood")

    def _score(
        self,
        X: object,
        offsets: ArrayLike | None,
        groups: ArrayLike | None,
        want: Literal["labels", "responsibilities", "log_likelihood"],
    ) -> Answers:
        if groups is not None and self.labels is None:
            raise ValueError("the problems of the fit had no groups; pass X in the form of the fit")
        self._check()  # the core trusts these arrays, and they can be written to
        problems = arrange(X, offsets, groups, labels=self.labels)
        if len(problems.core) != len(self):
            raise ValueError(f"X has {len(problems.core)} problems, the fit had {len(self)}")
        if problems.n_features != self.means.shape[2] and problems.core.offsets[-1]:
            raise ValueError(
                f"X has {problems.n_features} features, the fit had {self.means.shape[2]}"
            )
        answer, bad = _core.score_batch(
            problems.core,
            self.covariance_type,
            np.ascontiguousarray(self.n_components),
            self._rounded(self.weights),
            self._rounded(self.means),
            self._rounded(self.precisions_cholesky),
            threads.resolve(self.template.n_threads),
            want,
        )
        if bad is not None:
            raise ValueError(f"{self._name(bad)} has NaN or infinity in its rows")
        return problems.restore(answer)

    def _rounded(self, array: Floats) -> Floats:
        """Return parameters as each problem's own model has them, for the core."""
        rounded = array.astype(self.dtype, copy=False)
        return np.ascontiguousarray(rounded, dtype=np.float64)

    @overload
    def to_frame(self, library: Literal["pandas"]) -> pandas.DataFrame: ...
    @overload
    def to_frame(self, library: Literal["polars"]) -> polars.DataFrame: ...
    @overload
    def to_frame(self, library: None = None) -> pandas.DataFrame | polars.DataFrame: ...
    def to_frame(
        self, library: Literal["pandas", "polars"] | None = None
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return a data frame with a row per problem and component.

        Parameters
        ----------
        library : {"pandas", "polars"} or None, default=None
            None: pandas where it is installed, polars otherwise.

        Returns
        -------
        DataFrame
            Columns problem (the group's label, where there were groups), component, weight,
            mean_0 ..., then covariance_0_0, covariance_1_0 ... (lower triangle; "full" and "tied"),
            variance_0 ... ("diag") or variance ("spherical"), then status, converged, n_iter,
            lower_bound, bic, aic. A problem without a mixture has one row, of NaN.

        Raises
        ------
        ImportError
            Neither library is installed, or not the one asked for.
        """
        columns = self._columns()
        for name in ("pandas", "polars") if library is None else (library,):
            try:
                module = import_module(as_option(name, "library", ("pandas", "polars")))
            except ImportError:
                continue
            return module.DataFrame(columns)
        raise ImportError(
            f"to_frame needs {library or 'pandas or polars'}: "
            f"pip install fusedgmm[{library or 'pandas'}]"
        )

    def _columns(self) -> dict[str, NDArray[np.generic] | list[str]]:
        d = self.means.shape[2]
        rows = np.maximum(self.n_components, 1)
        problem = np.repeat(np.arange(len(self)), rows)
        component = np.arange(len(problem)) - np.repeat(np.cumsum(rows) - rows, rows)
        at = (problem, component)
        columns: dict[str, NDArray[np.generic] | list[str]] = {
            "problem": problem if self.labels is None else self.labels[problem],
            "component": component,
            "weight": self.weights[at],
        }
        columns |= {f"mean_{j}": self.means[..., j][at] for j in range(d)}
        kind = self.covariance_type
        if kind in ("full", "tied"):
            where = problem if kind == "tied" else at
            for i in range(d):
                for j in range(i + 1):
                    columns[f"covariance_{i}_{j}"] = self.covariances[..., i, j][where]
        elif kind == "diag":
            columns |= {f"variance_{j}": self.covariances[..., j][at] for j in range(d)}
        else:
            columns["variance"] = self.covariances[at]
        columns["status"] = [BatchStatus(s).name.lower() for s in self.status[problem]]
        for name in ("converged", "n_iter", "lower_bound", "bic", "aic"):
            columns[name] = getattr(self, name)[problem]
        return columns

    def summary(self) -> None:
        """Print how many problems converged, how many failed, and why."""
        print(repr(self)[1:-1])
        for status in BatchStatus:
            places = np.flatnonzero(self.status == status)
            if len(places):
                first = (
                    "" if status is BatchStatus.CONVERGED else f"; first: {self._name(places[0])}"
                )
                print(f"  {len(places):>9}  {status.meaning}{first}")
        chosen, counts = np.unique(self.n_components[self.ok], return_counts=True)
        if len(self.candidates) > 1:
            shares = ", ".join(f"{k}: {n}" for k, n in zip(chosen, counts, strict=True))
            print(f"  components chosen: {shares}")
        if self.ok.any():
            iterations = self.n_iter[self.ok]
            print(f"  iterations: median {np.median(iterations):g}, most {iterations.max()}")

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, whole or not at all.

        Raises
        ------
        TypeError
            Labels that are neither numbers, strings nor dates: such a file could run code.
        """
        from ._files import save_arrays  # with zipfile and json 6 ms, which a fit should not pay

        arrays = self._arrays()
        if self.labels is not None and self.labels.dtype.kind == "O":
            plain = np.asarray(self.labels.tolist())
            if plain.dtype.kind == "O" or plain.tolist() != self.labels.tolist():
                raise TypeError("labels of such Python types cannot be saved; make them strings")
            arrays["labels"] = plain
        options = self.template.get_params()
        options.pop("random_state")
        meta = {
            "candidates": self.candidates,
            "criterion": self.criterion,
            "dtype": self.dtype.name,
            "options": options,
        }
        save_arrays(path, "fusedgmm.BatchResult", FORMAT, meta, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Never runs code from the file.

        Raises
        ------
        ValueError
            Another kind of file, a newer format, or one that is damaged.
        """
        from ._files import load_arrays

        meta, arrays = load_arrays(path, "fusedgmm.BatchResult", FORMAT)
        try:
            template = GaussianMixture(**meta["options"])
            template._options()
            result = cls(
                **{"labels": None, **arrays},
                candidates=_as_candidates(meta["candidates"]),
                criterion=meta["criterion"],
                dtype=np.dtype(meta["dtype"]),
                template=template,
            )
            result._check()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a whole BatchResult: {error}") from error
        return result

    def _check(self) -> None:
        """Raise ValueError unless everything fits together."""
        as_option(self.criterion, "criterion", ("bic", "aic"))
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"rows of {self.dtype}")
        P, d = len(self), self.means.shape[-1]
        layout = _layout(self.covariance_type, P, max(self.candidates), d, len(self.candidates))
        for name, (shape, fill) in layout.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != fill.dtype:
                raise ValueError(
                    f"{name} is {array.dtype} of shape {array.shape}, not {fill.dtype} of {shape}"
                )
        if self.labels is not None and self.labels.shape != (P,):
            raise ValueError(f"labels have shape {self.labels.shape}, not {(P,)}")
        if P and not 0 <= self.n_components.min() <= self.n_components.max() <= max(
            self.candidates
        ):
            raise ValueError("n_components has numbers that were not tried")
        if P and not 0 <= self.status.min() <= self.status.max() <= max(BatchStatus):
            raise ValueError("status has an unknown value")


def _as_places(index: ArrayLike) -> NDArray[np.generic]:
    """Return a mask or problem numbers as an array, of one axis."""
    places = np.asarray(index)
    if places.ndim != 1:
        raise IndexError(f"problems are chosen by one axis, got an index of shape {places.shape}")
    return places if places.size else places.astype(np.intp)
