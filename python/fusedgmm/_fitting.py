"""The fit of a mixture: its options, its attributes, its warnings and its verbose output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core, _threads, stream
from ._callbacks import (
    Callback,
    Checkpoint,
    Watch,
    check_identity,
    fingerprint,
    identity_of,
    progress_callback,
    read_checkpoint,
)
from ._chunks import survey
from ._covariance import COVARIANCE_TYPES, layout_of
from ._estimator import ConvergenceWarning, as_seed, feature_names, sklearn_counterpart
from ._fitted import FittedMixture, Parameters, in_dtype
from ._typing import Floats, InitParams, Labels, Reals
from ._validation import (
    INIT_PARAMS,
    as_data,
    as_integer,
    as_nonnegative,
    as_option,
    as_sample_weight,
    check_finite,
    check_range,
    warn_caller,
)


class Progress:
    """scikit-learn's verbose output: level 1 prints the steps, level 2 also their times."""

    def __init__(self, verbose: int, interval: int, tol: float) -> None:
        self._verbose, self._interval, self._tol = verbose, interval, tol
        self._begin = self._last = 0.0
        self._bound, self._change = -math.inf, math.inf

    def __call__(self, init: int, iteration: int, lower_bound: float, change: float) -> None:
        if iteration == 0:
            if init > 0:
                self.end()
            print(f"Initialization {init}")
            self._begin = self._last = perf_counter()
        elif iteration % self._interval == 0:
            if self._verbose == 1:
                print(f"  Iteration {iteration}")
            else:
                now = perf_counter()
                lapse, self._last = now - self._last, now
                print(f"  Iteration {iteration}\t time lapse {lapse:.5f}s\t ll change {change:.5f}")
        self._bound, self._change = lower_bound, change

    def end(self) -> None:
        outcome = "converged" if abs(self._change) < self._tol else "did not converge"
        if self._verbose == 1:
            print(f"Initialization {outcome}.")
        else:
            lapse = perf_counter() - self._begin
            print(
                f"Initialization {outcome}. time lapse {lapse:.5f}s\t lower bound"
                f" {self._bound:.5f}."
            )


@dataclass(frozen=True)
class Control:
    """How a fit starts and who watches it."""

    seed: int
    sample: tuple[Reals, Floats | None] | None = None  # rows on which to find the start
    watch: Watch | None = None
    resume: dict[str, Any] | None = None  # the core's state of an earlier fit


@dataclass(frozen=True)
class Estimate:
    """The result of a fit: the parameters of the best start and its lower bounds, one per
    iteration."""

    parameters: Parameters
    lower_bounds: list[float]
    converged: bool
    others: dict[str, object] = field(default_factory=dict)  # attributes of one class of mixture


class BaseMixture(FittedMixture):
    """A Gaussian mixture that can be fitted; subclasses implement `_estimate`."""

    _has_prior: ClassVar[bool] = False  # of the covariances

    n_components: int
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int | Literal["auto"]
    init_params: InitParams
    warm_start: bool
    verbose: int
    verbose_interval: int
    _can_be_watched = False  # whether callbacks and checkpoints are possible

    def _estimate(
        self,
        X: Reals,
        weight: Floats | None,
        n_threads: int,
        progress: Progress | None,
        control: Control,
    ) -> Estimate:
        """Fit converted rows, or a RowStream, without setting attributes, so that a failed fit
        leaves the last one unchanged."""
        raise NotImplementedError

    def _identity(self) -> dict[str, object]:
        """Return the options that a checkpoint has in common with the fit that resumes from it."""
        names = ("reg_covar", "init_params", "degenerate", "acceleration")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        progress: bool = False,
        resume: Checkpoint | str | Path | None = None,
    ) -> Self:
        """Fit the mixture and keep the best of `n_init` starts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite real numbers, at least two rows and at least `n_components`. float32 and float64
            data are not copied, whatever their memory layout.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative, finite weights, not all zero. None: every row has weight 1.
        callback : callable or None, default=None
            Called with a `FitState` after each iteration, for example a `Checkpoint`. If it returns
            a true value, the fit ends, keeps what it has, and `converged_` is False. If it raises,
            the model is unchanged.
        progress : bool, default=False
            True: show the iterations on standard error, unless that is no terminal.
        resume : Checkpoint, str, pathlib.Path or None, default=None
            Go on from this checkpoint, which a fit with the same options and data has written.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            The data, the weights or a parameter are invalid, a covariance is singular, or the
            checkpoint is of a fit with other options or data. The model is unchanged then.

        Warns
        -----
        ConvergenceWarning
            The fit did not converge within `max_iter`.
        UserWarning
            A component lost all its rows or was repaired, or `reg_covar` dominates the covariances.
        """
        self._fit(X, sample_weight, callback, progress, resume)
        return self

    def fit_chunks(
        self,
        chunks: Any,
        *,
        start_rows: int | None = 16_384,
        callback: Callback | None = None,
        progress: bool = False,
        resume: Checkpoint | str | Path | None = None,
    ) -> Self:
        """Fit the mixture to rows that come in chunks, for data larger than memory.

        Parameters
        ----------
        chunks : stream
            One of: a list of arrays; an object whose ``__iter__`` starts anew; a function without
            arguments that returns an iterator; an array on disk (`numpy.memmap`, h5py, zarr); the
            path of a .npy or .parquet file, or a list of paths; a pyarrow Dataset or Table; a
            source of `fusedgmm.stream`. Each chunk is an array-like or a frame of any number of
            rows, a pyarrow RecordBatch, or a tuple (X, sample_weight). All chunks have the first
            one's columns and dtype.
        start_rows : int or None, default=16384
            The start is a fit of so many rows, drawn at random, that makes `n_init` starts ("auto":
            2 K - 1, at most 11). None: the start is that of `fit`, on all rows.
        callback, progress, resume
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            `chunks` can be read only once, or a chunk has the wrong type.
        ValueError
            The stream is empty; a chunk has another number of columns, another dtype, NaN or
            infinity, which the message names with the chunk and the rows; a later pass gives
            another number of rows; or as in `fit`. The model is unchanged then.

        Notes
        -----
        From the same start, the result is identical, bit for bit, to that of `fit` on the
        concatenated rows, however these are divided into chunks (for a `BayesianGaussianMixture`
        with sample weights, to rounding). The rows are read once to count and to sample them,
        unless they are an array, and once in each iteration.

        Examples
        --------
        >>> import numpy as np
        >>> from fusedgmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> chunks = [rng.normal(size=(1000, 2)) + 1 + 6 * (i % 2) for i in range(10)]
        >>> model = GaussianMixture(2, random_state=0).fit_chunks(chunks)
        >>> sorted(model.means_[:, 0].round().tolist())
        [1.0, 7.0]
        """
        self._check_options()
        if start_rows is not None:
            start_rows = as_integer(start_rows, "start_rows", max(2, int(self.n_components)))
        checkpoint = None if resume is None else read_checkpoint(resume)
        seed = as_seed(self.random_state) if checkpoint is None else int(checkpoint[1]["seed"])
        known = survey(stream.chunks(chunks), start_rows or 256, seed)
        if known.n_rows < 2:
            raise ValueError(f"the stream has {known.n_rows} row(s), but a fit needs at least 2")
        sample = None if start_rows is None else (known.sample, known.sample_weight)
        if sample is not None and len(sample[0]) < self.n_components:
            sample = None

        self._fit_rows(
            cast("Reals", known.stream()),
            None,
            known.names,
            known.chunks.explain,
            seed=seed,
            sample=sample,
            data=lambda: fingerprint(known.first_row, known.sample, known.sample_weight),
            callback=callback,
            progress=progress,
            checkpoint=checkpoint,
            options={"start_rows": start_rows},
        )
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Labels:
        """Fit the mixture and return the labels that `predict` gives for the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None
            As in `fit`; errors and warnings are also the same.

        Returns
        -------
        labels : array of shape (n_samples,), int64
        """
        return self._run(self._fit(X, sample_weight), "labels")

    def _check_options(self) -> None:
        as_option(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        as_option(self.init_params, "init_params", INIT_PARAMS)
        for name, minimum in (
            ("n_components", 1),
            ("max_iter", 0),
            ("verbose_interval", 1),
        ):
            as_integer(getattr(self, name), name, minimum)
        self._check_n_init()
        as_nonnegative(self.tol, "tol")
        as_nonnegative(self.reg_covar, "reg_covar")
        if not isinstance(self.verbose, (bool, np.bool_)):  # True is 1, as in scikit-learn
            as_integer(self.verbose, "verbose", 0)
        if not isinstance(self.warm_start, (bool, np.bool_)):
            raise ValueError(f"warm_start must be True or False, got {self.warm_start!r}")
        if self.n_threads is not None:
            as_integer(self.n_threads, "n_threads", 1)

    def _check_n_init(self) -> None:
        as_integer(self.n_init, "n_init", 1)

    def _fit(
        self,
        X: ArrayLike,
        sample_weight: ArrayLike | None,
        callback: Callback | None = None,
        progress: bool = False,
        resume: Checkpoint | str | Path | None = None,
    ) -> Reals:
        """Fit, set the attributes, and return the converted rows."""
        self._check_options()
        original, rows = X, as_data(X, min_samples=2)
        weight = as_sample_weight(sample_weight, len(rows))
        checkpoint = None if resume is None else read_checkpoint(resume)

        def explain(failed: bool) -> None:
            check_finite(rows)  # which names the row
            if failed:
                check_range(rows)

        def data() -> int:
            some = np.linspace(0, len(rows) - 1, 256).astype(int)
            return fingerprint(rows[some], None if weight is None else weight[some])

        self._fit_rows(
            rows,
            weight,
            feature_names(original),
            explain,
            seed=as_seed(self.random_state) if checkpoint is None else int(checkpoint[1]["seed"]),
            sample=None,
            data=data,
            callback=callback,
            progress=progress,
            checkpoint=checkpoint,
            options={},
        )
        return rows

    def _fit_rows(
        self,
        X: Reals,
        weight: Floats | None,
        names: NDArray[np.object_] | None,
        explain: Callable[[bool], None],
        *,
        seed: int,
        sample: tuple[Reals, Floats | None] | None,
        data: Callable[[], int],
        callback: Callback | None,
        progress: bool,
        checkpoint: tuple[Path, dict[str, Any], dict[str, Any]] | None,
        options: dict[str, object],
    ) -> None:
        """Fit converted rows or a RowStream and set the attributes.

        `explain` raises an error that names the first row that is not finite or, if the fit has
        failed, says that the rows are out of range; `data` returns a checksum of some rows.
        """
        if len(X) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {len(X)}"
            )
        n_threads = _threads.for_passes(
            self.n_threads,
            self.covariance_type,
            len(X),
            self.n_components,
            X.shape[1],
            n_passes=_threads.PASSES,
        )
        identity = {}
        if callback is not None or checkpoint is not None:
            identity = identity_of(
                self.covariance_type, self.n_components, X, self._identity() | options, data()
            )
            identity["seed"] = seed
        if checkpoint is not None:
            check_identity(checkpoint[0], checkpoint[1], identity)
        state = None if checkpoint is None else checkpoint[2]
        verbose = None
        if self.verbose:
            verbose = Progress(int(self.verbose), int(self.verbose_interval), float(self.tol))
        try:
            # data or weights near the ends of the range: the result shows a loss of precision
            with (
                np.errstate(over="ignore", divide="ignore", invalid="ignore"),
                progress_callback(progress, int(self.max_iter)) as shown,
            ):
                callbacks = [each for each in (callback, shown) if each is not None]
                watch = None
                if callbacks:
                    if not self._can_be_watched:
                        raise TypeError(f"{type(self).__name__} takes no callback yet")
                    watch = Watch(callbacks, len(X), self.tol, int(self.max_iter), identity)
                control = Control(seed, sample, watch, state)
                found = self._estimate(X, weight, n_threads, verbose, control)
        except _core.NotFiniteError:
            explain(True)
            raise
        except ValueError:
            if isinstance(X, np.ndarray):
                check_range(X)
            raise
        if verbose is not None and found.lower_bounds:
            verbose.end()
        if self.max_iter == 0:
            explain(False)  # perhaps no pass has read the rows
        self._keep(found, X.dtype, names)

    def _keep(self, found: Estimate, dtype: DTypeLike, names: NDArray[np.object_] | None) -> None:
        """Warn of what is wrong with an estimate, and set the attributes."""
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is an error in in_dtype
            fitted = self._converted(found.parameters, dtype)
            fitted |= {name: in_dtype(value, dtype, name) for name, value in found.others.items()}
            self._warn(found.parameters, found.converged, dtype, names)
        self._set_made(fitted)
        self.converged_ = found.converged
        self.n_iter_ = len(found.lower_bounds)
        self.lower_bound_ = found.lower_bounds[-1] if found.lower_bounds else -math.inf
        self.lower_bounds_ = found.lower_bounds
        self.n_features_in_ = found.parameters[1].shape[1]
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # a fit without names removes the old ones

    def _resumes(self, n_features: int) -> bool:
        """Return whether a fit continues from the last one. If that has another shape, warn and
        return False."""
        if not (self.warm_start and hasattr(self, "converged_")):
            return False
        shape = layout_of(self.covariance_type).shape(self.n_components, n_features)
        if np.shape(self.means_) == (self.n_components, n_features) and (
            np.shape(self.covariances_) == shape
        ):
            return True
        warn_caller(
            "warm_start: n_components, covariance_type or the number of features has changed since "
            "the last fit; this fit starts from scratch"
        )
        return False

    def _warn(
        self,
        parameters: Parameters,
        converged: bool,
        dtype: DTypeLike,
        names: NDArray[np.object_] | None,
    ) -> None:
        """Warn of a reg_covar that exceeds variances of the data, an empty component, or no
        convergence."""
        dominated = self._dominated(parameters, dtype, names)
        if dominated:
            warn_caller(
                f"reg_covar={float(self.reg_covar):g} is more than {dominated} and dominates the "
                "covariances; scale the data or lower reg_covar"
            )
        empty = np.flatnonzero(np.asarray(parameters[0]) == 0.0)
        if len(empty):
            numbers = ", ".join(map(str, empty))
            warn_caller(
                f"component(s) {numbers} of the mixture have weight 0: they lost all their rows. "
                "Use fewer components or another start."
            )
        if not converged and self.max_iter > 0:
            warn_caller(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                sklearn_counterpart(ConvergenceWarning),
            )

    def _dominated(
        self, parameters: Parameters, dtype: DTypeLike, names: NDArray[np.object_] | None
    ) -> str:
        """Return, in words, the variances of the data that are less than `reg_covar`; "" if there
        is none.

        Variances that are zero except for rounding, or for a trace of a row, do not count:
        `reg_covar` is meant for features that are constant, everywhere or in a component. Beside a
        prior, such a variance is that of the prior."""
        weights, means, covariances, _ = parameters
        layout = layout_of(self.covariance_type)
        variances = layout.variances(covariances, *means.shape)
        if not (variances < 2 * self.reg_covar).any():
            return ""
        variances = variances - self.reg_covar
        eps = float(np.finfo(dtype).eps)
        rounding = np.maximum(1e-12 * self.reg_covar, (4 * eps * means) ** 2)
        if layout.shared:  # a difference of sums about one point, see src/arithmetic.c
            bearable = (300 if dtype == np.float32 else 1e6) * self.reg_covar
            between = weights @ (means - weights @ means) ** 2
            rounding = np.maximum(rounding, 16 * eps * np.minimum(between, bearable))
        has_rows = weights[:, None] > 0.0
        dominated: NDArray[np.bool_] = (variances < self.reg_covar) & (variances > rounding)
        dominated &= has_rows
        if (dominated | ~has_rows).all():
            most = variances[weights > 0.0].max()
            return f"every variance of the components (at most {most:.3g})"
        if self._has_prior:
            return ""
        dominated &= variances > 1e-4 * self.reg_covar
        if layout.shared:
            dominated = np.asarray(dominated.any(axis=0, keepdims=True))
        one_for_all = not layout.prior_shape(means.shape[1])  # features
        if one_for_all:
            dominated = np.asarray(dominated.any(axis=1, keepdims=True))
        found = []
        for k, i in np.argwhere(dominated)[:3]:
            feature = [] if one_for_all else [f"feature {i if names is None else repr(names[i])}"]
            component = [] if layout.shared else [f"component {k}"]
            found.append(f"{' of '.join(feature + component)} ({variances[k, i]:.3g})")
        more = np.count_nonzero(dominated) - len(found)
        if more:
            found.append(f"{more} more")
        return f"the variance of {', '.join(found)}" if found else ""
