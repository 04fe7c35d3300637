"""EM with a step of the user's: rows that are elsewhere, on a cluster or in many files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._callbacks import Callback, Checkpoint, Watch
from ._em import run
from ._fitting import Estimate, Progress
from ._mixture import GaussianMixture
from ._parameters import MixtureParameters
from ._statistics import SufficientStatistics
from ._typing import Floats


class _Current:
    """The parameters of an iteration, for a FitState."""

    def __init__(self, parameters: MixtureParameters) -> None:
        self._parameters = parameters

    def parameters(self) -> dict[str, Floats]:
        names = ("weights", "means", "covariances", "precisions_cholesky")
        return {name: getattr(self._parameters, name) for name in names}

    def state(self) -> dict[str, Any]:
        raise TypeError(
            "a Checkpoint is for fit and fit_chunks: here, save state.parameters in a callback, "
            "and go on from them"
        )


def em(
    step: Callable[[MixtureParameters], SufficientStatistics],
    parameters: MixtureParameters,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    callback: Callback | None = None,
    reg_covar: float = 1e-6,
) -> GaussianMixture:
    """Fit a Gaussian mixture by EM, with a function that makes one pass over all rows.

    The rows may be anywhere: `step` sends the parameters there, lets `accumulate` run over each
    part of the rows, and returns the sum of the statistics. This function has the M step, the
    stopping rule, callbacks and the warnings of `GaussianMixture.fit`.

    Parameters
    ----------
    step : callable
        Maps MixtureParameters to the SufficientStatistics of all rows with these parameters.
    parameters : MixtureParameters
        The start, for example the `parameters` of a fit of a sample of the rows.
    tol : float, default=1e-3
        EM has converged when an iteration changes the mean log-likelihood per row by less than
        this, in nats.
    max_iter : int, default=100
        Maximum number of iterations; 0 keeps the start.
    callback : callable or None, default=None
        Called with a `FitState` after each iteration. If it returns a true value, the fit ends,
        keeps what it has, and `converged_` is False.
    reg_covar : float, default=1e-6
        Value added to every variance, in squared units of the data.

    Returns
    -------
    GaussianMixture
        The fitted model, with float64 attributes.

    Raises
    ------
    TypeError
        `step` is not callable or returns something else than SufficientStatistics; `parameters`
        are not MixtureParameters.
    ValueError
        The statistics are of another shape, of another covariance type, or of another number of
        rows than in the iteration before; the total weight is zero; a covariance is singular; or an
        option is invalid.

    Warns
    -----
    ConvergenceWarning
        EM did not converge within `max_iter`.
    UserWarning
        A component lost all its rows, or `reg_covar` dominates the covariances.

    Notes
    -----
    Bishop (2006), "Pattern Recognition and Machine Learning", section 9.2. From the same start the
    result is that of `GaussianMixture.fit` except for rounding: statistics of parts that are merged
    in another order differ in the last digits. If `step` merges the same parts in the same order,
    the result has the same bits every time.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import GaussianMixture, accumulate, em
    >>> rng = np.random.default_rng(0)
    >>> parts = [rng.normal(size=(1000, 2)) + 3 * (i % 2) for i in range(8)]
    >>> start = GaussianMixture(2, random_state=0).fit(np.concatenate(parts[:2])).parameters
    >>> model = em(lambda parameters: sum(accumulate(X, parameters) for X in parts), start)
    >>> sorted(model.means_[:, 0].round().tolist())
    [0.0, 3.0]
    """
    if not callable(step):
        raise TypeError(f"step must be a function of the parameters, got a {type(step).__name__}")
    if isinstance(callback, Checkpoint):
        _Current(parameters).state()  # raises
    model = GaussianMixture.from_parameters(
        parameters, tol=tol, max_iter=max_iter, reg_covar=reg_covar
    )
    found = take_steps(model, step, parameters, [] if callback is None else [callback])
    model._keep(found, np.float64, None)
    return model


def take_steps(
    options: GaussianMixture,
    step: Callable[[MixtureParameters], SufficientStatistics],
    parameters: MixtureParameters,
    callbacks: list[Callback],
    progress: Progress | None = None,
) -> Estimate:
    """Run EM with the tol, max_iter and reg_covar of a model; see `em`."""
    identity: dict[str, object] = {"covariance_type": parameters.covariance_type}
    tol, max_iter = float(options.tol), int(options.max_iter)
    watch = Watch(callbacks, 0, tol, max_iter, identity)
    n_samples: int | None = None

    def next_state(current: MixtureParameters) -> tuple[MixtureParameters, float]:
        nonlocal n_samples
        statistics = _checked(step(current), current)
        if n_samples is not None and statistics.n_samples != n_samples:
            raise ValueError(
                f"step returned the statistics of {statistics.n_samples} rows, but of {n_samples} "
                "in the iteration before: every pass must read the same rows"
            )
        watch.rows = n_samples = statistics.n_samples
        following = statistics.maximize(float(options.reg_covar))
        return following, statistics.log_likelihood / statistics.weight_sum

    def report(current: MixtureParameters, iteration: int, bound: float, change: float) -> bool:
        if progress is not None:
            progress(0, iteration, bound, change)
        return bool(callbacks) and watch(0, iteration, bound, change, _Current(current))

    if progress is not None:
        progress(0, 0, -math.inf, math.inf)
    found = run(parameters, next_state, tol=tol, max_iter=max_iter, report=report)
    if progress is not None and found.lower_bounds:
        progress.end()
    p = found.state
    arrays = (p.weights, p.means, p.covariances, p.precisions_cholesky)
    return Estimate(arrays, found.lower_bounds, found.converged, {"repairs_": []})


def _checked(statistics: object, parameters: MixtureParameters) -> SufficientStatistics:
    """Return what a step returned, if it is the statistics of such parameters."""
    if not isinstance(statistics, SufficientStatistics):
        what = type(statistics).__name__
        empty = isinstance(statistics, int)  # sum() of nothing
        remedy = "; without rows, return SufficientStatistics.zero" if empty else ""
        raise TypeError(f"step must return SufficientStatistics, but it returned a {what}{remedy}")
    if statistics.covariance_type != parameters.covariance_type:
        raise ValueError(
            f"step returned statistics of covariance type {statistics.covariance_type!r} for "
            f"parameters of type {parameters.covariance_type!r}"
        )
    shape = (len(statistics.nk), statistics._sx.shape[1])
    if shape != (parameters.n_components, parameters.n_features):
        raise ValueError(
            f"step returned statistics of shape (n_components, n_features) {shape} for parameters "
            f"of shape {(parameters.n_components, parameters.n_features)}"
        )
    return statistics
