"""Many fits in one call of the core: the candidates that are tried, and the arrays of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, _threads
from ._covariance import COVARIANCE_TYPES, layout_of
from ._mixture import GaussianMixture
from ._typing import CovarianceType, Floats, Labels
from ._validation import as_option

_STATUSES = _core.BATCH_STATUSES


class BatchStatus(IntEnum):
    """The outcome of a problem of a batch, or of a candidate of `select`.

    The first five may come with a mixture; of the others only REPAIRED has one.

    Examples
    --------
    >>> from fusedgmm import BatchStatus, fit_batch
    >>> result = fit_batch([[1.0, 2.0, 4.0], [1.0]], 1)
    >>> [BatchStatus(status).name for status in result.status]
    ['CONVERGED', 'TOO_FEW_ROWS']
    >>> BatchStatus.TOO_FEW_ROWS.meaning
    'fewer rows than components, or fewer than two'
    """

    CONVERGED = _STATUSES["CONVERGED"][0]
    NOT_CONVERGED = _STATUSES["NOT_CONVERGED"][0]
    EMPTY_COMPONENT = _STATUSES["EMPTY_COMPONENT"][0]
    CONSTANT_ROWS = _STATUSES["CONSTANT_ROWS"][0]
    TOO_FEW_DISTINCT_ROWS = _STATUSES["TOO_FEW_DISTINCT_ROWS"][0]
    TOO_FEW_ROWS = _STATUSES["TOO_FEW_ROWS"][0]
    ROWS_NOT_FINITE = _STATUSES["ROWS_NOT_FINITE"][0]
    BAD_SAMPLE_WEIGHT = _STATUSES["BAD_SAMPLE_WEIGHT"][0]
    SINGULAR_COVARIANCE = _STATUSES["SINGULAR_COVARIANCE"][0]
    ROWS_OUT_OF_REACH = _STATUSES["ROWS_OUT_OF_REACH"][0]
    OUT_OF_MEMORY = _STATUSES["OUT_OF_MEMORY"][0]
    NOT_RUN = _STATUSES["NOT_RUN"][0]
    REPAIRED = _STATUSES["REPAIRED"][0]

    @property
    def meaning(self) -> str:
        """The meaning of the status, in words."""
        return _STATUSES[self.name][1]


class Tried(NamedTuple):
    """A candidate for the core: a kind of mixture, and its number of starts."""

    n_components: int
    covariance_type: CovarianceType
    n_init: int


def as_covariance_types(covariance_types: str | Sequence[str]) -> tuple[CovarianceType, ...]:
    """Return one covariance type, or several different ones, as a tuple."""
    given = covariance_types
    types: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    for name in types:
        as_option(name, "covariance_type", COVARIANCE_TYPES)
    if not types or len(set(types)) < len(types):
        raise ValueError(f"covariance types must be different names, got {covariance_types!r}")
    return types


@dataclass(frozen=True, eq=False)
class Fits:
    """The results of R fits, each with one of the candidates. K is the largest number of
    components; the covariances of a fit fill its row from the beginning, and nothing reads the rest
    of it. Without a mixture, `candidate` is -1."""

    weights: Floats  # (R, K)
    means: Floats  # (R, K, n_features)
    covariances: Floats  # (R, room)
    precisions_cholesky: Floats  # (R, room)
    lower_bound: Floats  # (R,), as are the others
    log_likelihood: Floats
    held_out: Floats  # log-likelihood of the rows held out
    bic: Floats
    aic: Floats
    n_iter: Labels
    n_passes: Labels
    converged: NDArray[np.bool_]
    status: NDArray[np.int8]
    candidate: Labels
    seeds: NDArray[np.uint32]
    criteria: Floats  # of every candidate that was tried, (R, C) or (R, 1)
    tried: tuple[Tried, ...]
    template: GaussianMixture
    dtype: np.dtype[np.floating]

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, chosen: slice | NDArray[np.generic]) -> Self:
        """Return some of the fits."""
        parts: dict[str, Any] = {name: array[chosen] for name, array in self.arrays().items()}
        return replace(self, **parts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays, which have one entry per fit."""
        everything = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in everything if isinstance(value, np.ndarray)}

    def places_of_type(self, covariance_type: str) -> Labels:
        """Return which fits have a mixture of this covariance type."""
        kinds = np.array([kind.covariance_type == covariance_type for kind in self.tried])
        return np.flatnonzero((self.candidate >= 0) & kinds[self.candidate])

    def of_type(self, name: str, i: int | slice | NDArray[Any], covariance_type: str) -> Floats:
        """Return covariances or precisions_cholesky of fits of one covariance type, in its shape
        for K components."""
        flat: Floats = getattr(self, name)[i]
        shape = layout_of(covariance_type).shape(*self.means.shape[1:])
        return flat[..., : int(np.prod(shape))].reshape(*flat.shape[:-1], *shape)

    def parameters(self, i: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return weights, means, covariances and factors of a fit that has a mixture."""
        chosen = self.tried[self.candidate[i]]
        K = chosen.n_components
        shape = layout_of(chosen.covariance_type).shape(K, self.means.shape[2])
        size = int(np.prod(shape))
        return (
            self.weights[i, :K],
            self.means[i, :K],
            self.covariances[i, :size].reshape(shape),
            self.precisions_cholesky[i, :size].reshape(shape),
        )

    def model(self, i: int) -> GaussianMixture:
        """Return the mixture of a fit that has one."""
        return model_of(
            self.template,
            self.tried[self.candidate[i]].covariance_type,
            self.parameters(i),
            self.dtype,
            seed=int(self.seeds[i]),
            converged=bool(self.converged[i]),
            n_iter=int(self.n_iter[i]),
            n_passes=int(self.n_passes[i]),
            lower_bound=float(self.lower_bound[i]),
        )


def model_of(
    template: GaussianMixture,
    covariance_type: CovarianceType,
    parameters: tuple[Floats, Floats, Floats, Floats],
    dtype: np.dtype[np.floating],
    *,
    seed: int,
    converged: bool,
    n_iter: int,
    n_passes: int,
    lower_bound: float,
) -> GaussianMixture:
    """Return a fitted model with the options of the template."""
    model = copy(template)
    model.n_components, model.covariance_type = len(parameters[0]), covariance_type
    model.random_state = seed
    model._assign(parameters, dtype)
    model.n_features_in_ = parameters[1].shape[1]
    model.converged_, model.n_iter_, model.n_passes_ = converged, n_iter, n_passes
    model.lower_bound_ = lower_bound
    model.lower_bounds_ = [lower_bound] if n_iter else []
    return model


def fit_candidates(
    problems: _core.Problems,
    n_features: int,
    tried: Sequence[Tried],
    template: GaussianMixture,
    seeds: NDArray[np.uint32],
    *,
    separate: bool = False,
    by_aic: bool = False,
    given: Any = (None, None, None, None),
    given_each: tuple[bool, bool, bool] = (False, False, False),
    held_out: _core.Problems | None = None,
    report: Callable[[int], object] | None = None,
) -> tuple[Fits, BaseException | None]:
    """Fit every problem with the candidates; `separate` keeps all fits, those of a problem one
    after the other. Also returns the exception that stopped the fits, or None.

    Parameters
    ----------
    seeds : array of shape (P,)
        One for each problem.
    held_out : Problems, a list of P arrays
        The rows whose log-likelihood is computed for each fit of a problem.
    report : callable
        Called with the number of finished fits (problems, unless `separate`).
    """
    C, P = len(tried), len(problems)
    n_rows = np.diff(problems.offsets)
    costs = np.array([_cost(candidate, n_features) for candidate in tried])
    if separate:
        cost = np.multiply.outer(n_rows.astype(np.float64), costs).ravel()
        problems = _core.Problems(
            problems.rows,
            offsets=problems.offsets,
            order=np.argsort(-cost, kind="stable"),
            sample_weight=problems.sample_weight,
            dtype=problems.dtype,
            n_features=n_features,
            copies=C,
            cost=cost,
        )
    K = max(candidate.n_components for candidate in tried)
    R = P * C if separate else P
    room = max(_size(candidate, n_features) for candidate in tried)
    nan, none = np.float64(np.nan), np.int64(0)
    empty: dict[str, tuple[tuple[int, ...], np.generic]] = {
        "weights": ((R, K), nan),
        "means": ((R, K, n_features), nan),
        "lower_bound": ((R,), nan),
        "log_likelihood": ((R,), nan),
        "held_out": ((R,), nan),
        "bic": ((R,), nan),
        "aic": ((R,), nan),
        "n_iter": ((R,), none),
        "n_passes": ((R,), none),
        "converged": ((R,), np.bool_(False)),
        "status": ((R,), np.int8(BatchStatus.NOT_RUN)),
        "candidate": ((R,), np.int64(-1)),
        "criteria": ((R, 1 if separate else C), nan),
    }
    arrays: dict[str, Any] = {name: np.full(shape, fill) for name, (shape, fill) in empty.items()}
    for name in ("covariances", "precisions_cholesky"):
        # small candidates fill little of the room; zeros that nobody writes need no memory
        arrays[name] = np.zeros((R, room)) if separate else np.full((R, room), np.nan)
    arrays["seeds"] = np.repeat(seeds, C) if separate else seeds
    largest = max(tried, key=lambda candidate: _cost(candidate, n_features))
    error = _core.fit_batch(
        problems,
        candidates=tried,
        separate=separate,
        by_aic=by_aic,
        init_params=template.init_params,
        tol=float(template.tol),
        reg_covar=float(template.reg_covar),
        max_iter=int(template.max_iter),
        repair=template.degenerate == "repair",
        accelerate=template.acceleration is not None,
        stopping=template.stopping,
        given=given,
        given_each=given_each,
        held_out=held_out,
        n_threads=_threads.for_passes(
            template.n_threads,
            largest.covariance_type,
            int(problems.offsets[-1]),
            largest.n_components,
            n_features,
            n_passes=_threads.PASSES * C,
        ),
        progress=report,
        result={**arrays, "seeds": seeds},
    )
    return Fits(**arrays, tried=tuple(tried), template=template, dtype=problems.dtype), error


def _size(candidate: Tried, n_features: int) -> int:
    shape = layout_of(candidate.covariance_type).shape(candidate.n_components, n_features)
    return int(np.prod(shape))


def _cost(candidate: Tried, n_features: int) -> float:
    """Return the relative amount of work of a fit per row: of the distances, the sums and the
    start."""
    moments = float(np.prod(layout_of(candidate.covariance_type).moment_shape(1, n_features)))
    return candidate.n_init * candidate.n_components * (4.0 * n_features + moments)


def best_of_each(fits: Fits) -> Fits:
    """Return the best fit of each problem, with the criteria of all its candidates, given the fits
    of all candidates: what the core does without `separate`."""
    C = len(fits.tried)
    criteria, fitted = fits.criteria.reshape(-1, C), fits.candidate.reshape(-1, C) >= 0
    worst = np.finfo(np.float64).max
    value = np.where(np.isnan(criteria), worst, np.minimum(criteria, worst))
    place = np.where(fitted, value, np.inf).argmin(axis=1)
    for status in (BatchStatus.OUT_OF_MEMORY, BatchStatus.NOT_RUN):
        # such a candidate might have been the best: the problem has no mixture
        lost = fits.status.reshape(-1, C) == status
        place = np.where(lost.any(axis=1), lost.argmax(axis=1), place)
    return replace(fits[place + np.arange(len(place)) * C], criteria=criteria)


def best_of(criteria: ArrayLike, *, lower_is_better: bool = True) -> int | None:
    """Return the index of the best criterion; None if all are NaN.

    Of candidates that are equal up to rounding, such as "full" and "tied" with one component, the
    first is the best.
    """
    values = np.asarray(criteria, dtype=np.float64)
    values = values if lower_is_better else -values
    if np.isnan(values).all():
        return None
    least = np.nanmin(values)
    slack = 1e-10 * abs(least) if np.isfinite(least) else 0.0
    return int(np.flatnonzero(values <= least + slack)[0])
