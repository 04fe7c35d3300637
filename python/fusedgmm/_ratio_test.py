"""The test of the number of components: likelihood ratio, with its distribution by simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from ._batch import fit_batch
from ._batch_result import BatchResult
from ._estimator import as_seed
from ._mixture import GaussianMixture
from ._resampling import as_rows, as_tolerance, of_all, parts, sampler, usable
from ._typing import CovarianceType, Floats, InitParams, RandomState
from ._validation import as_data, as_integer


@dataclass(frozen=True, eq=False, repr=False)
class LikelihoodRatioTest:
    """The result of `likelihood_ratio_test`.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods of the two models.
    p_value : float
        (1 + number of simulated statistics of at least `statistic`) / (1 + number of simulated
        statistics). A small value speaks against the smaller number of components.
    null, alternative : GaussianMixture
        The models with the smaller and the larger number of components, fitted to the data.
    simulated : array of shape (R,), float64
        The statistics of data simulated from `null`.
    n_degenerate : int
        Number of simulated data sets for which one of the two fits has no mixture. They are left
        out.

    Examples
    --------
    >>> from fusedgmm import likelihood_ratio_test
    >>> from fusedgmm.datasets import load_iris
    >>> X, species = load_iris()
    >>> test = likelihood_ratio_test(X, 1, 2, n=19, random_state=0)
    >>> test.p_value, test.alternative.n_components, len(test.simulated)
    (0.05, 2, 19)
    """

    statistic: float
    p_value: float
    null: GaussianMixture
    alternative: GaussianMixture
    simulated: Floats
    n_degenerate: int

    def __repr__(self) -> str:
        few, many = self.null.n_components, self.alternative.n_components
        left_out = f", {self.n_degenerate} degenerate" * bool(self.n_degenerate)
        return (
            f"<LikelihoodRatioTest: {few} or {many} components: statistic {self.statistic:.2f}, "
            f"p-value {self.p_value:.3g} ({len(self.simulated)} simulations{left_out})>"
        )


def likelihood_ratio_test(
    X: ArrayLike,
    n_components: int,
    alternative: int,
    *,
    n: int = 199,
    covariance_type: CovarianceType = "full",
    reg_covar: float = 1e-6,
    n_init: int = 5,
    init_params: InitParams = "kmeans",
    tol: float | None = None,
    max_iter: int = 1000,
    random_state: RandomState = None,
    n_threads: int | None = None,
    progress: bool | Callable[[int, int], object] = False,
) -> LikelihoodRatioTest:
    """Test whether data need more components, by the likelihood ratio of two numbers of components.

    The ratio has no chi-squared distribution, because the smaller model is at the edge of the
    larger one. Its distribution is therefore simulated: data drawn from the smaller model are
    fitted with both numbers of components [1]_.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    n_components : int
        The number of components under the null hypothesis.
    alternative : int
        The larger number, usually `n_components` + 1.
    n : int, default=199
        Number of simulated data sets; the smallest possible p-value is 1 / (n + 1).
    covariance_type, reg_covar, init_params
        As in `GaussianMixture`.
    n_init : int, default=5
        Number of starts of every fit.
    tol : float or None, default=None
        As in `GaussianMixture`. None: the log-likelihood of all rows changes by less than 1e-5.
    max_iter : int, default=1000
        As in `GaussianMixture`.
    random_state : int, RandomState, Generator or None, default=None
        Source of the random numbers.
    n_threads : int or None, default=None
        As in `GaussianMixture`.
    progress : bool or callable, default=False
        As in `fit_batch`: called with (number of finished fits, number of all).

    Returns
    -------
    LikelihoodRatioTest

    Raises
    ------
    TypeError, ValueError
        The data or an option are invalid, or one of the models has no fit to the data or to any
        simulated data.

    Notes
    -----
    The data and the simulated data are fitted in the same way, from the same number of starts, so
    that the p-value is valid even if some fits end in a local maximum.

    References
    ----------
    .. [1] McLachlan (1987), "On bootstrapping the likelihood ratio test statistic for the number of
       components in a normal mixture", Appl. Statist. 36, 318-324.

    Examples
    --------
    >>> from fusedgmm import likelihood_ratio_test
    >>> from fusedgmm.datasets import load_faithful
    >>> X = load_faithful()
    >>> likelihood_ratio_test(X, 1, 2, n=99, random_state=0)
    <LikelihoodRatioTest: 1 or 2 components: statistic 319.07, p-value 0.01 (99 simulations)>
    """
    few = as_integer(n_components, "n_components", 1)
    many = as_integer(alternative, "alternative", 1)
    if many <= few:
        raise ValueError(f"alternative must be more than n_components={few}, got {many}")
    n = as_integer(n, "n", 1)
    rows = as_rows(as_data(X, min_samples=2))
    fit = partial(
        fit_batch,
        covariance_type=covariance_type,
        tol=as_tolerance(tol, len(rows)),
        reg_covar=reg_covar,
        max_iter=max_iter,
        n_init=n_init,
        init_params=init_params,
        n_threads=n_threads,
    )
    random = np.random.default_rng(as_seed(random_state))
    observed, seeds = random.integers(1 << 32, size=2), random.integers(1 << 32, size=(2, n))
    pair = [
        fit([rows], k, random_state=observed[i : i + 1], on_error="raise")
        for i, k in enumerate((few, many))
    ]
    models = [result[0] for result in pair]
    draw, simulated, done = sampler(models[0], len(rows), random), list[Floats](), 0
    for count in parts(n, rows.size):
        X_part, place = draw(count), slice(done, done + count)
        results = []
        for i, k in enumerate((few, many)):
            told = of_all(progress, 2 * done + i * count, 2 * n)
            results.append(fit(X_part, k, random_state=seeds[i, place], progress=told))
        simulated.append(_statistics(results, models))
        done += count
    statistics = np.concatenate(simulated)
    statistics = statistics[~np.isnan(statistics)]
    if not len(statistics):
        raise ValueError(
            f"none of the {n} simulated data sets has a fit with {few} and with {many} components; "
            "use a larger reg_covar or fewer components"
        )
    statistic = float(_statistics(pair, models)[0])
    exceeded = int((statistics >= statistic).sum())
    return LikelihoodRatioTest(
        statistic,
        (1 + exceeded) / (1 + len(statistics)),
        models[0],
        models[1],
        statistics,
        n - len(statistics),
    )


def _statistics(pair: Sequence[BatchResult], models: Sequence[GaussianMixture]) -> Floats:
    """Return the likelihood ratio statistics; NaN where one of the fits is degenerate."""
    null, alternative = (
        # minus twice the log-likelihood at the final parameters
        np.where(usable(result.status), result.aic - 2 * model._n_parameters(), np.nan)
        for result, model in zip(pair, models, strict=True)
    )
    return np.asarray(null - alternative)
