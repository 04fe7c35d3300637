"""fit_batch: many independent mixtures in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._batch_result import BatchResult, arrays_of
from ._covariance import common_type, layout_of
from ._estimator import as_seed
from ._fits import Fits, Tried, as_covariance_types, best_of_each, fit_candidates
from ._mixture import GaussianMixture
from ._parameters import as_starting_values
from ._problems import arrange
from ._progress import reports
from ._typing import CovarianceType, InitParams, RandomState
from ._validation import as_candidates, as_integer, as_nonnegative, as_option


def fit_batch(
    X: ArrayLike | Sequence[ArrayLike],
    n_components: int | Sequence[int],
    *,
    offsets: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | Sequence[ArrayLike] | None = None,
    covariance_type: CovarianceType | Sequence[CovarianceType] = "full",
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    n_init: int = 1,
    init_params: InitParams = "kmeans",
    weights_init: ArrayLike | None = None,
    means_init: ArrayLike | None = None,
    precisions_init: ArrayLike | None = None,
    covariances_init: ArrayLike | None = None,
    random_state: RandomState | ArrayLike = None,
    criterion: Literal["bic", "aic"] = "bic",
    n_threads: int | None = None,
    on_error: Literal["mark", "raise"] = "mark",
    progress: bool | Callable[[int, int], object] = False,
    degenerate: Literal["raise", "repair"] = "raise",
    sort: Literal["means", "weights"] | None = None,
    keep_candidates: bool = False,
    acceleration: Literal["squarem"] | None = None,
    stopping: Literal["change", "aitken"] = "change",
) -> BatchResult:
    """Fit many independent Gaussian mixtures, distributed over the threads.

    Problem ``i`` is bit-for-bit identical to ``GaussianMixture(n_components, ..., n_init=1,
    random_state=result.seeds[i]).fit(X_i)``, independent of the other problems, their order and the
    number of threads. By default there is one start per problem, which is fast; `n_init` sets more.

    Parameters
    ----------
    X : list of array-likes, or array-like
        The rows of P problems, in one of four forms: a list of arrays (n_i, n_features), in which
        a 1-D array has one feature; an array (P, n, n_features); an array (N, n_features) or (N,)
        with `offsets`; the same with `groups`. float32 and float64 data are not copied, except to
        gather the rows of a group, or if a list contains both dtypes.
    n_components : int or list of int
        Number of components K. With several, each problem keeps the one with the smallest
        `criterion`.
    offsets : array-like of int of shape (P + 1,), default=None
        Problem i has the rows ``X[offsets[i]:offsets[i + 1]]``.
    groups : array-like of shape (N,) or (N, n_columns), default=None
        A label for each row; rows with the same label, in any order, form one problem. The problems
        are sorted by label, see `BatchResult.groups`. Several columns (a data frame, an array, a
        list of columns) form one label: `BatchResult.groups` then has a field for each, "group_0",
        "group_1", ... if they have no names.
    sample_weight : like X without its last axis, default=None
        As in `GaussianMixture.fit`, but checked problem by problem.
    covariance_type : str or sequence of str, default="full"
        As in `GaussianMixture`. With several, each problem keeps the best combination of type and
        number of components.
    tol, reg_covar, max_iter, init_params
        As in `GaussianMixture`, for every problem.
    n_init : int, default=1
        Number of starts for each problem and each number of components.
    weights_init, means_init, precisions_init, covariances_init : array-like, default=None
        As in `GaussianMixture`: the same for all problems, or with an additional leading axis one
        per problem. Only with a single `n_components` and `covariance_type`.
    random_state : int, RandomState, Generator, None, or array-like of int of shape (P,)
        Source of one seed per problem; or the seeds themselves.
    criterion : {"bic", "aic"}, default="bic"
        Criterion to choose among several `n_components` or covariance types.
    n_threads : int or None, default=None
        As in `GaussianMixture`.
    on_error : {"mark", "raise"}, default="mark"
        "mark": report the outcome of each problem in `BatchResult.status`. "raise": after all
        problems have run, raise ValueError for the first one without a mixture.
    progress : bool or callable, default=False
        True: show a progress bar on standard error (tqdm's, if it is installed). A callable is
        called several times per second with (number of finished problems, P), or, with
        `keep_candidates`, with (number of finished fits, number of fits).
    degenerate : {"raise", "repair"}, default="raise"
        As in `GaussianMixture`, but without its errors and warnings: `BatchResult.status` marks
        problems with singular covariances, empty components or repairs.
    sort : {"means", "weights"} or None, default=None
        The order of the components in every problem: "means" sorts by the mean of the first
        feature (then the next), smallest first; "weights" by weight, largest first. None keeps
        the order of the fit, which is arbitrary.
    keep_candidates : bool, default=False
        True: keep the mixtures of all candidates, and not only the best of each problem;
        `BatchResult.selection` returns them. They need memory for each candidate.
    acceleration : {"squarem"} or None, default=None
    stopping : {"change", "aitken"}, default="change"
        As in `GaussianMixture`.

    Returns
    -------
    BatchResult

    Raises
    ------
    TypeError, ValueError
        An option or the form of `X` is invalid; nothing has been fitted.
    ValueError
        With ``on_error="raise"``, a problem has no mixture. This error, a KeyboardInterrupt and
        exceptions raised by `progress` have an attribute `partial`: the `BatchResult` so far, in
        which unfinished problems are `BatchStatus.NOT_RUN`.

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
    numbers, types = as_candidates(n_components), as_covariance_types(covariance_type)
    as_option(criterion, "criterion", ("bic", "aic"))
    as_option(on_error, "on_error", ("mark", "raise"))
    if sort is not None:
        as_option(sort, "sort", ("means", "weights"))
    if isinstance(n_init, str):
        raise ValueError(f"fit_batch takes n_init as an int (default 1), got {n_init!r}")
    n_init = as_integer(n_init, "n_init", 1)
    template = GaussianMixture(
        max(numbers),
        covariance_type=common_type(types),
        tol=as_nonnegative(tol, "tol"),
        reg_covar=as_nonnegative(reg_covar, "reg_covar"),
        max_iter=as_integer(max_iter, "max_iter", 0),
        n_init=n_init,
        init_params=init_params,
        n_threads=None if n_threads is None else as_integer(n_threads, "n_threads", 1),
        degenerate=degenerate,
        acceleration=acceleration,
        stopping=stopping,
    )
    template._check_options()
    problems = arrange(X, offsets, groups, sample_weight)
    count, tried = len(problems.core), [Tried(k, kind, n_init) for kind in types for k in numbers]
    inits = (weights_init, means_init, precisions_init, covariances_init)
    if len(tried) > 1 and any(init is not None for init in inits):
        raise ValueError("starting values need a single n_components and covariance_type")
    each = _own_axes(inits, types[0])
    given = as_starting_values(
        *inits,
        types[0],
        (max(numbers), problems.n_features),
        problems=tuple(count if own else None for own in each),
    )
    with reports(progress, count * (len(tried) if keep_candidates else 1)) as report:
        fits, error = fit_candidates(
            problems.core,
            problems.n_features,
            tried,
            template,
            _as_seeds(random_state, count),
            separate=keep_candidates,
            by_aic=criterion == "aic",
            given=given,
            given_each=each,
            report=report,
        )
    if sort is not None:
        _sort(fits, sort)
    best = best_of_each(fits) if keep_candidates else fits
    result = BatchResult(
        **arrays_of(best, types, separate=keep_candidates),
        groups=problems.groups,
        n_components_tried=numbers,
        covariance_types_tried=types,
        criterion=criterion,
        dtype=problems.core.dtype,
        template=template,
        kept=fits if keep_candidates else None,
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
        del error  # avoids a reference cycle that would keep X alive


def _sort(fits: Fits, by: Literal["means", "weights"]) -> None:
    """Sort the components of every fit in place; those that do not exist, NaN, stay last."""
    if by == "means":
        # the last key counts most
        order = np.lexsort(np.moveaxis(fits.means, -1, 0)[::-1], axis=-1)
    else:
        order = np.argsort(-fits.weights, axis=-1, kind="stable")
    fits.weights[...] = np.take_along_axis(fits.weights, order, axis=1)
    fits.means[...] = np.take_along_axis(fits.means, order[..., None], axis=1)
    for kind in {candidate.covariance_type for candidate in fits.tried}:
        if layout_of(kind).shared:
            continue
        places = fits.places_of_type(kind)
        for name in ("covariances", "precisions_cholesky"):
            array = fits.of_type(name, places, kind)
            by_axes = order[places].reshape(*array.shape[:2], *(1,) * (array.ndim - 2))
            array = np.take_along_axis(array, by_axes, axis=1).reshape(len(places), -1)
            getattr(fits, name)[places, : array.shape[1]] = array


def _own_axes(inits: tuple[ArrayLike | None, ...], covariance_type: str) -> tuple[bool, bool, bool]:
    """Return which of weights, means, and precisions or covariances have an additional axis."""
    square = len(layout_of(covariance_type).shape(1, 1))
    weights, means, precisions, covariances = (
        init is not None and np.ndim(init) == axes + 1
        for init, axes in zip(inits, (1, 2, square, square), strict=True)
    )
    return weights, means, precisions or covariances


def _as_seeds(random_state: RandomState | ArrayLike, count: int) -> NDArray[np.uint32]:
    if np.ndim(cast(ArrayLike, random_state)) == 0:
        return _core.seeds(as_seed(random_state), n=count)
    seeds = np.asarray(random_state)
    if seeds.shape != (count,) or (seeds.dtype.kind not in "iu" and count):
        raise ValueError(
            f"as random_state, seeds must be {count} ints, one per problem; got shape "
            f"{seeds.shape}, dtype {seeds.dtype}"
        )
    if count and (seeds.min() < 0 or seeds.max() >= 2**32):
        raise ValueError("seeds must be between 0 and 2**32 - 1")
    return seeds.astype(np.uint32)
