"""Gaussian mixtures of data that are spread over a Dask cluster. Needs dask: see the extra "dask".

The rows stay on the workers, in groups of consecutive partitions. In every iteration each group is
one task, which gets the parameters and returns statistics; the client merges them in a fixed order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

try:
    import dask
    import dask.array as da
    from dask.delayed import Delayed, delayed
except ImportError as error:
    raise ImportError('fusedgmm.dask needs Dask: pip install "fusedgmm[dask]"') from error

from . import _mixture, _partitions
from ._callbacks import Callback, Checkpoint, progress_callback
from ._estimator import as_seed, check_feature_names, check_fitted
from ._fitted import _fitted_attributes
from ._fitting import Control, Estimate, Progress
from ._parameters import MixtureParameters
from ._scoring import FACTORS
from ._steps import take_steps
from ._typing import Reals
from ._validation import as_integer, check_n_features

__all__ = ["GaussianMixture"]

_GROUPS_OF_A_THREAD = 4  # at most; more than half as many if there are enough partitions


class _Local:
    """Runs tasks with Dask's scheduler in this process, or what `dask.config` names."""

    is_cluster = False

    def __init__(self) -> None:
        self.n_slots = int(dask.config.get("num_workers", None) or os.cpu_count() or 1)
        self.n_threads: int | None = 1  # of a pass: the groups run at the same time

    def compute(self, tasks: list[Delayed]) -> list[Any]:
        return list(dask.compute(*tasks))

    def run(self, function: Callable[..., Any], groups: list[Any], *rest: Any) -> list[Any]:
        # the arguments are hidden from Dask, which would search and hash them
        tasks = [partial(function, group, *rest) for group in groups]
        return self.compute([delayed(task, pure=False, traverse=False)() for task in tasks])

    keep = compute

    def release(self, groups: list[Any]) -> None:
        """Nothing: the groups are in this process."""


class _Cluster:
    """Runs tasks on the workers of a client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        threads = list(client.nthreads().values())
        self.n_slots = max(1, sum(threads))
        self.n_threads = None if max(threads, default=1) == 1 else 1

    def keep(self, tasks: list[Delayed]) -> list[Any]:
        """Start the tasks; their results stay on the workers. If a worker is lost, the scheduler
        computes them again."""
        return list(self._client.compute(tasks))

    def compute(self, tasks: list[Delayed]) -> list[Any]:
        return self._gathered(self.keep(tasks))

    def run(self, function: Callable[..., Any], groups: list[Any], *rest: Any) -> list[Any]:
        submit = self._client.submit
        return self._gathered([submit(function, group, *rest, pure=False) for group in groups])

    def _gathered(self, futures: list[Any]) -> list[Any]:
        try:
            return list(self._client.gather(futures))
        finally:
            self.release(futures)

    def release(self, futures: list[Any]) -> None:
        """Free the results on the workers. Without this, the error of a failed task, which the
        client keeps, would keep them alive."""
        for future in futures:
            future.release()


def _runner(client: Any) -> _Local | _Cluster:
    """Return what runs the tasks: the given client, or the current one, or the local scheduler."""
    if client is None and dask.config.get("scheduler", None) in (
        None,
        "distributed",
        "dask.distributed",
    ):
        try:
            from distributed import default_client

            client = default_client()
        except (ImportError, ValueError):  # there is none
            return _Local()
    return _Local() if client is None else _Cluster(client)


def _is_array(X: object) -> bool:
    return isinstance(X, da.Array)


def _is_list(X: object) -> bool:
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(isinstance(x, Delayed) for x in X)


def _is_frame(X: object) -> bool:
    return hasattr(X, "to_delayed") and hasattr(X, "npartitions") and not _is_array(X)


def _is_lazy(X: object) -> bool:
    return _is_array(X) or _is_list(X) or _is_frame(X)


def _whole_rows(X: Any) -> Any:
    """Return a 2-D array whose blocks have all columns."""
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D array instead (shape {X.shape}).")
    return X.rechunk({1: -1}) if X.numblocks[1] > 1 else X


def _as_parts(X: Any) -> list[Delayed]:
    """Return the partitions of a Dask array or frame, or a list of delayed objects."""
    if _is_array(X):
        return list(_whole_rows(X).to_delayed().ravel())
    if _is_frame(X):
        return list(X.to_delayed())
    if _is_list(X):
        return list(X)
    raise TypeError(
        f"X is a {type(X).__module__}.{type(X).__qualname__}, but fusedgmm.dask takes a Dask "
        "array, a Dask frame, or a list of delayed objects; fusedgmm.GaussianMixture takes arrays "
        "in memory"
    )


def _as_weights(sample_weight: Any, X: Any, n_partitions: int) -> list[Delayed] | None:
    """Return the weights of each partition."""
    if sample_weight is None:
        return None
    weights = sample_weight
    if _is_array(X) and not _is_lazy(weights):
        weights = da.from_array(np.asarray(weights))
    if _is_array(weights):
        if weights.ndim != 1:
            raise ValueError(f"sample_weight has shape {weights.shape}, but it must be 1-D")
        if _is_array(X) and not np.isnan(X.shape[0] + weights.shape[0]):
            if weights.shape[0] != X.shape[0]:
                raise ValueError(f"sample_weight has {weights.shape[0]} rows, X has {X.shape[0]}")
            weights = weights.rechunk((X.chunks[0],))
    if not _is_lazy(weights):
        raise TypeError(
            f"sample_weight is a {type(weights).__qualname__}, but for this X it must be a Dask "
            "array, a Dask series, or a list of delayed objects, partitioned as X"
        )
    parts = list(weights.to_delayed().ravel()) if _is_array(weights) else _as_parts(weights)
    if len(parts) != n_partitions:
        raise ValueError(f"sample_weight has {len(parts)} partitions, but X has {n_partitions}")
    return parts


def _grouped(
    task: Callable[..., Any], X: Any, sample_weight: Any, n_slots: int, *rest: Any
) -> list[Delayed]:
    """Return the tasks over groups of consecutive partitions."""
    parts = _as_parts(X)
    weights = _as_weights(sample_weight, X, len(parts))
    size = _partitions.group_size(len(parts), _GROUPS_OF_A_THREAD * n_slots)
    tasks = []
    for first in range(0, len(parts), size):
        own = slice(first, first + size)
        run = delayed(partial(_grouped_task, task, first, rest), pure=False, traverse=False)
        tasks.append(run(parts[own], None if weights is None else weights[own]))
    return tasks


def _grouped_task(
    task: Callable[..., Any], first: int, rest: tuple[Any, ...], parts: Any, weights: Any
) -> Any:
    return task(first, parts, weights, *rest)


def _check_shapes(shapes: list[_partitions.Shape]) -> None:
    """Raise ValueError unless all partitions have the columns of the first that has rows."""
    for shape in shapes:
        if shape.n_features != shapes[0].n_features:
            raise ValueError(
                f"partition {shape.number} has {shape.n_features} columns, but partition "
                f"{shapes[0].number} has {shapes[0].n_features}"
            )
        if shape.names != shapes[0].names:
            raise ValueError(
                f"partition {shape.number} has the columns {shape.names}, but partition "
                f"{shapes[0].number} has {shapes[0].names}"
            )


class GaussianMixture(_mixture.GaussianMixture):
    """Gaussian mixture of the rows of a Dask array, a Dask frame, or a list of delayed objects.

    The parameters and attributes are those of `fusedgmm.GaussianMixture`. ``degenerate="repair"``
    is not possible. `n_init` counts the starts on a sample, see `fit`.

    Notes
    -----
    The bits of a fit do not depend on the workers, on their number or on failures, but they do
    depend on the partitions. From the same start the result is that of `fusedgmm.GaussianMixture`
    except for rounding.

    Examples
    --------
    >>> import dask.array as da
    >>> from fusedgmm.dask import GaussianMixture
    >>> X = da.random.default_rng(0).normal(size=(20_000, 2), chunks=(5_000, 2))
    >>> model = GaussianMixture(random_state=0).fit(X)
    >>> bool((abs(model.means_) < 0.1).all()), model.predict(X).chunks
    (True, ((5000, 5000, 5000, 5000),))
    """

    def fit(
        self,
        X: Any,
        y: object = None,
        sample_weight: Any = None,
        *,
        callback: Callback | None = None,
        progress: bool = False,
        resume: Checkpoint | str | Path | None = None,
        start_rows: int = 16_384,
        client: Any = None,
    ) -> Self:
        """Fit the mixture, with the rows on the workers.

        Parameters
        ----------
        X : Dask array or frame of shape (n_samples, n_features), or list of delayed objects
            Each partition has the rows of an array or frame, also none, or it is None. The lengths
            need not be known.
        y : ignored
        sample_weight : Dask array or series, list of delayed objects, or array, default=None
            Of shape (n_samples,), partitioned as `X`; arrays of known lengths are rechunked.
        callback, progress
            As in `fusedgmm.GaussianMixture.fit`.
        resume : None
            Checkpoints are not possible; `warm_start` is.
        start_rows : int, default=16384
            The start is a fit, by the client, of so many rows, drawn at random; it makes `n_init`
            starts ("auto": 2 K - 1, at most 11).
        client : distributed.Client or None, default=None
            None: the current client; without one, the local scheduler of Dask.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            `X` is not a Dask collection.
        ValueError
            A partition has NaN, infinity, an invalid weight, or other columns than the first, which
            the message names; or as in `fusedgmm.GaussianMixture.fit`. The model is unchanged then.

        Notes
        -----
        The rows are computed once and kept in the memory of the workers for the time of the fit;
        those of a lost worker are computed again.
        """
        self._check_options()
        if resume is not None:
            raise TypeError("resume: a Dask fit has no checkpoints; use warm_start")
        if self.degenerate == "repair":
            raise ValueError('degenerate="repair" is not possible with Dask; use "raise"')
        size = as_integer(start_rows, "start_rows", max(2, int(self.n_components)))
        runner, seed = _runner(client), as_seed(self.random_state)
        groups = runner.keep(_grouped(_partitions.convert, X, sample_weight, runner.n_slots))
        try:
            found, dtype, names = self._fit_groups(runner, groups, size, seed, callback, progress)
        finally:
            runner.release(groups)
        self._keep(found, dtype, None if names is None else np.asarray(names, dtype=object))
        return self

    def _fit_groups(
        self,
        runner: _Local | _Cluster,
        groups: list[Any],
        size: int,
        seed: int,
        callback: Callback | None,
        progress: bool,
    ) -> tuple[Estimate, np.dtype[Any], list[str] | None]:
        """Return the estimate, and the dtype and the names of the columns."""
        shapes, sample = [], None
        for some, part in runner.run(_partitions.look_at, groups, size, seed):
            shapes += some
            if sample is None:
                sample = part
            else:
                sample.merge(part)
        n_rows = sum(shape.n_rows for shape in shapes)
        if n_rows < max(2, int(self.n_components)):
            raise ValueError(
                f"X has {n_rows} row(s) in all partitions, but a fit needs at least "
                f"{max(2, int(self.n_components))}"
            )
        assert sample is not None
        _check_shapes(shapes)
        d, dtype = shapes[0].n_features, np.result_type(*{shape.dtype for shape in shapes})
        rows, weight, is_all = sample.result(d, dtype)
        start = self._start(rows, weight if is_all else None, seed, d)
        n_threads = runner.n_threads if self.n_threads is None else int(self.n_threads)

        def step(parameters: MixtureParameters) -> Any:
            found = runner.run(_partitions.run_pass, groups, parameters, n_threads)
            return _partitions.merge_in_tree(found)

        verbose = None
        if self.verbose:
            verbose = Progress(int(self.verbose), int(self.verbose_interval), float(self.tol))
        with progress_callback(progress, int(self.max_iter)) as shown:
            callbacks = [each for each in (callback, shown) if each is not None]
            found = take_steps(self, step, start, callbacks, verbose)
        return found, dtype, shapes[0].names

    def _start(self, rows: Reals, weight: Any, seed: int, d: int) -> MixtureParameters:
        """Return the parameters of the last fit for a warm start, else those given, completed by a
        fit of a sample."""
        if self._resumes(d):
            return self.parameters
        start = self._starting_values(d)
        if any(value is None for value in start):
            start = self._start_from_sample((rows, weight), start, Control(seed))
        weights, means, covariances, factors = start
        if weights is None or means is None or covariances is None or factors is None:
            raise ValueError(
                f"no start was found on a sample of {len(rows)} rows with positive weight: take "
                "more start_rows, or give weights_init, means_init and covariances_init"
            )
        return MixtureParameters(weights, means, covariances, factors, self.covariance_type)

    def fit_predict(self, X: Any, y: object = None, sample_weight: Any = None) -> Any:
        """Fit the mixture and return `predict` of the rows: a Dask array, or a list of delayed
        arrays."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def to_local(self) -> _mixture.GaussianMixture:
        """Return a copy as a `fusedgmm.GaussianMixture`, which does not need Dask.

        Returns
        -------
        fusedgmm.GaussianMixture
        """
        model = _mixture.GaussianMixture(**self.get_params(deep=False))
        vars(model).update(_fitted_attributes(self))
        return model

    def predict(self, X: Any) -> Any:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : Dask array or frame, list of delayed objects, or array-like

        Returns
        -------
        labels : Dask array of shape (n_samples,), int64
            Not computed yet. For a list, a list of delayed arrays; for an array in memory, a NumPy
            array. The same holds for `predict_proba`, `score_samples` and `uncertainty`.
        """
        return self._lazy(X, "predict") if _is_lazy(X) else super().predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Return the responsibilities, of shape (n_samples, n_components); see `predict`."""
        return self._lazy(X, "predict_proba") if _is_lazy(X) else super().predict_proba(X)

    def score_samples(self, X: Any) -> Any:
        """Return the log-likelihood of each row, in nats; see `predict`."""
        return self._lazy(X, "score_samples") if _is_lazy(X) else super().score_samples(X)

    def uncertainty(self, X: Any) -> Any:
        """Return the probability that the predicted component of each row is wrong; see
        `predict`."""
        return self._lazy(X, "uncertainty") if _is_lazy(X) else super().uncertainty(X)

    def _lazy(self, X: Any, method: str) -> Any:
        """Return the result of a method, partition by partition, not computed yet."""
        check_fitted(self, FACTORS)
        # not self.to_local() in the tasks: later changes of the model must not change the result
        model, K = self.to_local(), len(self.weights_)
        if hasattr(model, "feature_names_in_"):
            del model.feature_names_in_  # compared here, not in the tasks
        tail = (K,) if method == "predict_proba" else ()
        if _is_array(X):
            X = _whole_rows(X)
            is_float32 = X.dtype.kind == "f" and X.dtype.itemsize <= 4
        else:
            is_float32 = False
            parts = _as_parts(X)
        if not _is_list(X):
            check_feature_names(self, X)
            if not np.isnan(X.shape[1]):
                check_n_features(X, self.n_features_in_, "GaussianMixture")
        dtype = np.int64 if method == "predict" else np.float32 if is_float32 else np.float64
        empty: NDArray[Any] = np.empty((0, *tail), dtype)
        if _is_array(X):
            return X.map_blocks(
                _partitions.predict_block,
                model=model,
                method=method,
                empty=empty,
                dtype=dtype,
                meta=empty,
                **({"chunks": (X.chunks[0], tail)} if tail else {"drop_axis": 1}),
            )
        found = []
        for i, part in enumerate(parts):
            task = partial(_predicted, model, method, empty, i)
            found.append(delayed(task, pure=False, traverse=False)(part))
        if _is_list(X):
            return found
        arrays = [da.from_delayed(each, (math.nan, *tail), meta=empty) for each in found]
        return da.concatenate(arrays, allow_unknown_chunksizes=True)

    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:
        """Return the (weighted) mean log-likelihood of the rows, in nats; computed at once.

        Parameters
        ----------
        X, sample_weight
            As in `fit`; or as in `fusedgmm.GaussianMixture.score`.
        y : ignored

        Returns
        -------
        float
        """
        if not _is_lazy(X):
            return super().score(X, sample_weight=sample_weight)
        log_likelihood, weight_sum, _ = self._total(X, sample_weight)
        return log_likelihood / weight_sum

    def aic(self, X: Any) -> float:
        """Return Akaike's information criterion, 2 p - 2 log L; computed at once."""
        if not _is_lazy(X):
            return super().aic(X)
        return -2 * self._total(X, None)[0] + 2 * self._n_parameters()

    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion, p log N - 2 log L; computed at once."""
        if not _is_lazy(X):
            return super().bic(X)
        log_likelihood, _, n_rows = self._total(X, None)
        return -2 * log_likelihood + self._n_parameters() * math.log(n_rows)

    def _total(self, X: Any, sample_weight: Any) -> tuple[float, float, int]:
        """Return the sums of the log-likelihood, of the weights, and of the rows."""
        check_fitted(self, FACTORS)
        if not _is_list(X):
            check_feature_names(self, X)
        model = self.to_local()
        if hasattr(model, "feature_names_in_"):
            del model.feature_names_in_
        runner = _runner(None)
        tasks = _grouped(_partitions.total, X, sample_weight, runner.n_slots, model)
        found = list(zip(*runner.compute(tasks), strict=True))
        sums = math.fsum(found[0]), math.fsum(found[1]), sum(found[2])
        if not sums[1] > 0:
            raise ValueError("X has no rows of positive weight")
        return sums


def _predicted(model: Any, method: str, empty: NDArray[Any], number: int, part: Any) -> Any:
    return _partitions.predict(part, model, method, empty, number)
