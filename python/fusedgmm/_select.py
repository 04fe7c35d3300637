"""select: mixtures of several sizes and covariance types, fitted in one call, and the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _core, _threads
from ._covariance import COVARIANCE_TYPES
from ._estimator import as_seed, feature_names
from ._fits import Fits, Tried, as_covariance_types, fit_candidates
from ._mixture import GaussianMixture
from ._progress import reports
from ._selection import CRITERIA, Criterion, Selection
from ._typing import CovarianceType, Floats, InitParams, RandomState, Reals
from ._validation import (
    as_candidates,
    as_data,
    as_integer,
    as_nonnegative,
    as_option,
    as_sample_weight,
    check_finite,
)

_CHUNK_ROWS = 1 << 16  # rows whose responsibilities are in memory at a time


def select(
    X: ArrayLike,
    n_components: int | Sequence[int] = range(1, 10),
    covariance_types: CovarianceType | Sequence[CovarianceType] = COVARIANCE_TYPES,
    *,
    criterion: Criterion = "bic",
    n_folds: int = 5,
    n_init: int | Literal["auto"] = "auto",
    init_params: InitParams = "kmeans",
    tol: float = 1e-4,
    reg_covar: float = 0.0,
    max_iter: int = 200,
    sample_weight: ArrayLike | None = None,
    random_state: RandomState = None,
    degenerate: Literal["raise", "repair"] = "raise",
    n_threads: int | None = None,
    progress: bool | Callable[[int, int], object] = False,
    acceleration: Literal["squarem"] | None = None,
    stopping: Literal["change", "aitken"] = "change",
) -> Selection:
    """Choose the number of components and the covariance type of a mixture.

    Fits every combination in one call, distributed over the threads. The model of each candidate is
    bit-for-bit identical to that of ``GaussianMixture(k, covariance_type=..., ...).fit(X,
    sample_weight=...)`` with the same options and the same int as `random_state`, for any number of
    threads.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite real numbers, at least two rows.
    n_components : int or sequence of int, default=range(1, 10)
        The numbers of components K to try.
    covariance_types : str or sequence of str, default=("full", "tied", "diag", "spherical")
        The covariance types to try.
    criterion : {"bic", "aic", "icl", "cv"}, default="bic"
        How to compare the candidates, with p free parameters and log-likelihood L of all rows at
        the final parameters. With sample weights, N is their sum.

        - "bic": p log N - 2 L [1]_; lower is better, as in scikit-learn. mclust has the other sign.
        - "aic": 2 p - 2 L [2]_; lower is better.
        - "icl": the BIC minus 2 sum_n log max_k r_nk, with responsibilities r [3]_; lower is
          better. It prefers components that do not overlap.
        - "cv": the mean log-likelihood per row (nats) of rows that the fit has not seen, by
          cross-validation [4]_; higher is better. This takes `n_folds` more fits per candidate.
    n_folds : int, default=5
        Number of folds of "cv", at most one per row. All candidates share the folds, which are
        drawn from `random_state`.
    n_init : int or "auto", default="auto"
        Number of starts of each candidate, as in `GaussianMixture`.
    tol, max_iter : float, int
        As in `GaussianMixture`, but by default stricter (1e-4 and 200), because fits that stop
        early at different distances from their optimum cannot be compared.
    reg_covar : float, default=0.0
        As in `GaussianMixture`, where the default is 1e-6. With 0, a component that collapses onto
        equal rows makes the candidate fail; with a positive value the candidate would have a very
        high likelihood, and often be the best. A constant feature needs a positive value.
    init_params, degenerate
        As in `GaussianMixture`, but without its errors and warnings: `Selection.table` has the
        outcome of each candidate.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        As in `GaussianMixture.fit`.
    random_state : int, RandomState, Generator or None, default=None
        One seed for all candidates, and for the folds.
    n_threads : int or None, default=None
        As in `GaussianMixture`. Small fits run side by side, one on each thread; large ones use all
        threads.
    progress : bool or callable, default=False
        True: show a progress bar on standard error (tqdm's, if it is installed). A callable is
        called several times per second with (number of finished fits, number of fits).
    acceleration : {"squarem"} or None, default=None
    stopping : {"change", "aitken"}, default="change"
        As in `GaussianMixture`.

    Returns
    -------
    Selection
        `best_` is the best mixture, `table` has all candidates.

    Raises
    ------
    TypeError, ValueError
        The data, the weights or an option are invalid. A candidate that cannot be fitted is no
        error: `Selection.table` says why.
    KeyboardInterrupt
        This error, and exceptions raised by `progress`, have an attribute `partial`: the
        `Selection` so far, in which unfinished candidates are `BatchStatus.NOT_RUN`.

    References
    ----------
    .. [1] Schwarz (1978), "Estimating the dimension of a model", Ann. Statist. 6, 461-464.
    .. [2] Akaike (1974), "A new look at the statistical model identification", IEEE Trans. Autom.
       Control 19, 716-723.
    .. [3] Biernacki, Celeux & Govaert (2000), "Assessing a mixture model for clustering with the
       integrated completed likelihood", IEEE Trans. Pattern Anal. Mach. Intell. 22, 719-725.
    .. [4] Smyth (2000), "Model selection for probabilistic clustering using cross-validated
       likelihood", Stat. Comput. 10, 63-72.

    Examples
    --------
    >>> from fusedgmm import select
    >>> from fusedgmm.datasets import load_faithful
    >>> selection = select(load_faithful(), random_state=0)
    >>> selection.best_.n_components, selection.best_.covariance_type
    (3, 'tied')
    >>> [(row.n_components, row.covariance_type) for row in selection.ranked[:2]]
    [(3, 'tied'), (2, 'full')]
    """
    numbers, types = as_candidates(n_components), as_covariance_types(covariance_types)
    as_option(criterion, "criterion", tuple(CRITERIA))
    n_folds = as_integer(n_folds, "n_folds", 2)
    template = GaussianMixture(
        max(numbers),
        covariance_type=types[0],
        tol=as_nonnegative(tol, "tol"),
        reg_covar=as_nonnegative(reg_covar, "reg_covar"),
        max_iter=as_integer(max_iter, "max_iter", 0),
        n_init=n_init,
        init_params=init_params,
        n_threads=n_threads,
        degenerate=degenerate,
        acceleration=acceleration,
        stopping=stopping,
    )
    template._check_options()
    names = feature_names(X)
    rows = as_data(X, min_samples=2)
    check_finite(rows)
    weight = as_sample_weight(sample_weight, len(rows))
    seed = as_seed(random_state)
    if seed >= 2**32:  # drawn from a generator
        seed = int(_core.seeds(seed, n=1)[0])
    tried = [Tried(k, kind, _starts(template, k, kind, rows)) for kind in types for k in numbers]
    tables = [_Table(rows, weight)]
    held_out = None
    if criterion == "cv":
        folds = _folds(rows, weight, min(n_folds, len(rows)), seed)
        tables += [training for training, _ in folds]
        held_out = [_Table(rows[:0], None if weight is None else weight[:0])]
        held_out += [other for _, other in folds]
    with reports(progress, len(tables) * len(tried)) as report:
        fits, error = fit_candidates(
            _problems(tables),
            rows.shape[1],
            tried,
            template,
            np.full(len(tables), seed, dtype=np.uint32),
            separate=True,
            held_out=None if held_out is None else _problems(held_out),
            report=report,
        )
    count = len(tried)
    own, others = fits[:count], fits[count:]
    statuses = own.status
    if criterion == "icl" and error is None:
        values = own.bic + 2 * _classification_entropies(own, rows, weight)
    elif criterion == "cv":
        assert held_out is not None
        values, statuses = _cross_validated(own, others, sum(t.weight_sum for t in held_out))
    else:
        values = own.aic if criterion == "aic" else own.bic
        if criterion == "icl":  # interrupted
            values = np.full(count, np.nan)
    selection = Selection(
        own,
        criterion,
        values,
        statuses=statuses,
        feature_names=names,
    )
    if error is None:
        return selection
    error.partial = selection  # type: ignore[attr-defined]
    try:
        raise error
    finally:
        del error  # avoids a reference cycle that would keep X alive


class _Table(NamedTuple):
    """Rows and their weights."""

    rows: Reals
    weight: Floats | None

    @property
    def weight_sum(self) -> float:
        return float(len(self.rows) if self.weight is None else self.weight.sum())


def _problems(tables: list[_Table]) -> _core.Problems:
    sizes = [len(table.rows) for table in tables]
    weights = [table.weight for table in tables if table.weight is not None]
    return _core.Problems(
        [table.rows for table in tables],
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        order=np.arange(len(tables)),
        sample_weight=weights or None,
        dtype=tables[0].rows.dtype,
        n_features=tables[0].rows.shape[1],
    )


def _starts(template: GaussianMixture, k: int, kind: CovarianceType, rows: Reals) -> int:
    if k == 1:
        return 1  # all starts are the same
    model = GaussianMixture(
        k, covariance_type=kind, n_init=template.n_init, max_iter=template.max_iter
    )
    return model._count_starts(*rows.shape)


def _folds(
    rows: Reals, weight: Floats | None, n_folds: int, seed: int
) -> list[tuple[_Table, _Table]]:
    """Return for each fold the rows to fit and the rows held out.

    The rows are shuffled and stored twice, one copy after the other: the rows to fit then begin
    after those held out and are contiguous, so that one copy of them serves all folds.
    """
    N = len(rows)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(N)
    twice = np.concatenate([order, order])
    rows = rows[twice]
    weight = None if weight is None else weight[twice]
    cuts = [N * fold // n_folds for fold in range(n_folds + 1)]

    def table(begin: int, end: int) -> _Table:
        return _Table(rows[begin:end], None if weight is None else weight[begin:end])

    return [
        (table(end, begin + N), table(begin, end))
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True)
    ]


def _cross_validated(own: Fits, others: Fits, weight_sum: float) -> tuple[Floats, Any]:
    """Return the mean log-likelihood of the held-out rows of each candidate, NaN if a fold has no
    mixture; and the statuses, of the first such fold if the candidate itself has a mixture."""
    by_fold = (-1, len(own))
    fitted = others.candidate.reshape(by_fold) >= 0
    values = others.held_out.reshape(by_fold).sum(axis=0) / weight_sum
    values[own.candidate < 0] = np.nan  # as where a fold has no mixture
    first = fitted.argmin(axis=0)
    failed = ~fitted.all(axis=0) & (own.candidate >= 0)
    of_fold = others.status.reshape(by_fold)[first, np.arange(len(own))]
    return values, np.where(failed, of_fold, own.status)


def _classification_entropies(fits: Fits, rows: Reals, weight: Floats | None) -> Floats:
    """Return -sum_n log max_k r_nk of each fit."""
    found = np.full(len(fits), np.nan)
    for i in np.flatnonzero(fits.candidate >= 0).tolist():
        kind = fits.tried[fits.candidate[i]].covariance_type
        weights, means, _, factors = fits.parameters(i)
        scorer = _core.Scorer(
            covariance_type=kind,
            weights=weights,
            means=means,
            precisions_cholesky=factors,
            dtype=rows.dtype,
        )
        total = 0.0
        for begin in range(0, len(rows), _CHUNK_ROWS):
            chunk = rows[begin : begin + _CHUNK_ROWS]
            n_threads = _threads.for_passes(fits.template.n_threads, kind, len(chunk), *means.shape)
            responsibilities = scorer.score(chunk, n_threads, "responsibilities")
            with np.errstate(divide="ignore"):
                each = np.log(responsibilities.max(axis=1).astype(np.float64, copy=False))
            if weight is None:
                total -= float(each.sum())
            else:
                w = weight[begin : begin + _CHUNK_ROWS]
                total -= float((w * each)[w > 0].sum())
        found[i] = total
    return found
