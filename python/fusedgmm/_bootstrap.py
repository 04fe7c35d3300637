"""The bootstrap: how much the parameters of a fit would vary from one sample to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._alignment import alignments
from ._batch import fit_batch
from ._batch_result import BatchResult
from ._covariance import layout_of
from ._estimator import ConvergenceWarning, as_seed, sklearn_counterpart
from ._fits import BatchStatus
from ._mixture import GaussianMixture
from ._report import table_lines, with_error
from ._resampling import as_rows, as_tolerance, of_all, parts, sampler, usable
from ._typing import Floats, RandomState
from ._validation import (
    as_fraction,
    as_integer,
    as_option,
    as_sample_weight,
    warn_caller,
)

Kind: TypeAlias = Literal["nonparametric", "weighted", "parametric"]
_KINDS = ("nonparametric", "weighted", "parametric")


class ParameterArrays(NamedTuple):
    """One number for each parameter of a mixture, in the shapes of a model's attributes."""

    weights: Floats
    means: Floats
    covariances: Floats


class Interval(NamedTuple):
    """The ends of an interval for each parameter of a mixture."""

    lower: ParameterArrays
    upper: ParameterArrays


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapResult:
    """The parameters of a mixture fitted to R replicates of its data, from `bootstrap`.

    Component k of every replicate corresponds to component k of `model`.

    Attributes
    ----------
    model : GaussianMixture
        The fit to the data themselves, from which the replicates started.
    kind : {"nonparametric", "weighted", "parametric"}
    weights : array of shape (R, K), float64
    means : array of shape (R, K, n_features), float64
    covariances : array of shape (R, ...), float64
        The last axes are those of the model's `covariances_`.
    status : array of shape (n,), int8
        The outcome of every replicate, as `BatchStatus`. The R replicates that are CONVERGED or
        NOT_CONVERGED are in the other arrays.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture, bootstrap
    >>> from fusedgmm.datasets import load_faithful
    >>> X = load_faithful()
    >>> model = GaussianMixture(2, random_state=0).fit(X)
    >>> result = bootstrap(model, X, random_state=0)
    >>> result
    <BootstrapResult: nonparametric, 999 replicates>
    component         weight         mean 0        mean 1
            0  0.356 ± 0.029  2.036 ± 0.029  54.48 ± 0.61
            1  0.644 ± 0.029  4.290 ± 0.032  79.97 ± 0.46
    (estimate ± standard error)
    """

    model: GaussianMixture
    kind: Kind
    weights: Floats
    means: Floats
    covariances: Floats
    status: NDArray[np.int8]

    @property
    def n_degenerate(self) -> int:
        """Number of replicates without a usable mixture: a covariance became singular, or a
        component lost all its rows. They are left out."""
        return len(self.status) - len(self.weights)

    @property
    def n_not_converged(self) -> int:
        """Number of replicates that stopped at `max_iter`. They are used."""
        return int((self.status == BatchStatus.NOT_CONVERGED).sum())

    @property
    def estimates(self) -> ParameterArrays:
        """The parameters of `model`, as float64."""
        parameters = self.model.parameters
        return ParameterArrays(parameters.weights, parameters.means, parameters.covariances)

    @property
    def standard_errors(self) -> ParameterArrays:
        """The standard deviation of each parameter over the replicates.

        Raises
        ------
        ValueError
            Fewer than two replicates have a mixture.
        """
        return ParameterArrays(*(array.std(axis=0, ddof=1) for array in self._replicates()))

    def interval(self, level: float = 0.95) -> Interval:
        """Return a confidence interval for each parameter, from the quantiles of the replicates.

        Parameters
        ----------
        level : float, default=0.95
            The probability that an interval covers its parameter, between 0 and 1.

        Returns
        -------
        interval : (lower, upper)
            Each has `weights`, `means` and `covariances`.

        Raises
        ------
        ValueError
            `level` is not between 0 and 1, or fewer than two replicates have a mixture.

        Notes
        -----
        The percentile interval of Efron & Tibshirani (1993), "An Introduction to the Bootstrap",
        section 13.3; the quantile at p of R replicates is the one of rank p (R + 1). Each interval
        holds for its parameter alone.
        """
        tail = 0.5 * (1.0 - as_fraction(level, "level"))
        lower, upper = (
            ParameterArrays(
                *(np.quantile(array, at, axis=0, method="weibull") for array in self._replicates())
            )
            for at in (tail, 1.0 - tail)
        )
        return Interval(lower, upper)

    def _replicates(self) -> tuple[Floats, Floats, Floats]:
        if len(self.weights) < 2:
            raise ValueError(
                f"{len(self.weights)} of {len(self.status)} replicates have a mixture, too few for "
                "errors and intervals; use fewer components, a larger reg_covar or more replicates"
            )
        return self.weights, self.means, self.covariances

    def __repr__(self) -> str:
        counts = [f"{len(self.status)} replicates"]
        counts += [f"{self.n_degenerate} degenerate"] * bool(self.n_degenerate)
        counts += [f"{self.n_not_converged} not converged"] * bool(self.n_not_converged)
        lines = [f"<BootstrapResult: {self.kind}, {', '.join(counts)}>"]
        if len(self.weights) >= 2:
            lines += self._table()
        return "\n".join(lines)

    def _table(self, shown: int = 6) -> list[str]:
        estimates, errors = self.estimates, self.standard_errors
        d = estimates.means.shape[1]
        names = getattr(self.model, "feature_names_in_", [f"mean {i}" for i in range(d)])
        head = ["component", "weight", *map(str, names[:shown])]
        head += [f"... {d - shown} more"] * (d > shown)
        rows = []
        for k, (weight, mean) in enumerate(zip(estimates.weights, estimates.means, strict=True)):
            cells = [f"{weight:.3f} ± {errors.weights[k]:.3f}"]
            cells += map(with_error, mean[:shown], errors.means[k, :shown])
            rows.append([str(k), *cells, *[""] * (d > shown)])
        return [*table_lines(head, rows), "(estimate ± standard error)"]


def bootstrap(
    model: GaussianMixture,
    X: ArrayLike,
    n: int = 999,
    kind: Kind = "nonparametric",
    *,
    sample_weight: ArrayLike | None = None,
    tol: float | None = None,
    max_iter: int = 1000,
    random_state: RandomState = None,
    n_threads: int | None = None,
    progress: bool | Callable[[int, int], object] = False,
) -> BootstrapResult:
    """Fit a mixture to many replicates of its data, for standard errors and confidence intervals.

    Parameters
    ----------
    model : GaussianMixture
        A fitted model. Its options and its parameters, as the start, are used.
    X : array-like of shape (n_samples, n_features)
        The rows to which it was fitted.
    n : int, default=999
        Number of replicates.
    kind : {"nonparametric", "weighted", "parametric"}, default="nonparametric"
        "nonparametric": rows drawn with replacement [1]_; "weighted": all rows, with random
        weights from an exponential distribution [2]_, which seldom loses a small component;
        "parametric": rows drawn from the model.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        The weights of the fit. Each row is drawn together with its weight.
    tol : float or None, default=None
        As in `GaussianMixture`, of all fits. None: the log-likelihood of all rows changes by less
        than 1e-5. A loose tolerance stops the replicates too near the start, and makes errors and
        intervals too small.
    max_iter : int, default=1000
        As in `GaussianMixture`, of all fits.
    random_state : int, RandomState, Generator or None, default=None
        Source of the random numbers.
    n_threads : int or None, default=None
        As in `GaussianMixture`.
    progress : bool or callable, default=False
        As in `fit_batch`: called with (number of finished replicates, n).

    Returns
    -------
    BootstrapResult

    Raises
    ------
    NotFittedError
        The model has not been fitted.
    TypeError
        The model is not a GaussianMixture, or the rows are not numeric.
    ValueError
        An option or the data are invalid, or the model's own fit to `X` is degenerate.

    Warns
    -----
    ConvergenceWarning
        The fit to the data themselves did not converge within `max_iter`.

    Notes
    -----
    The fit is first continued with `tol`, in float64; `BootstrapResult.model` is the result. All
    replicates are then fitted with `fit_batch`, from its parameters. "nonparametric" replicates
    are rows with random integer weights, which have the same likelihood as repeated rows. The
    components of each replicate are matched to those of the model by the smallest Kullback-Leibler
    divergence, so that no component changes its number.

    References
    ----------
    .. [1] Basford, Greenway, McLachlan & Peel (1997), "Standard errors of fitted component means of
       normal mixtures", Computational Statistics 12, 1-17.
    .. [2] O'Hagan, Murphy, Scrucca & Gormley (2019), "Investigation of parameter uncertainty in
       clustering using a Gaussian mixture model via jackknife, bootstrap and weighted likelihood
       bootstrap", Computational Statistics 34, 1779-1813.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture, bootstrap
    >>> from fusedgmm.datasets import load_heights
    >>> X, _ = load_heights()
    >>> model = GaussianMixture(1).fit(X)
    >>> result = bootstrap(model, X, kind="weighted", random_state=0)
    >>> lower, upper = result.interval(0.95)
    >>> print(f"{model.means_[0, 0]:.1f}: {lower.means[0, 0]:.1f} to {upper.means[0, 0]:.1f} cm")
    170.6: 169.4 to 171.7 cm
    """
    if not isinstance(model, GaussianMixture):
        raise TypeError(f"bootstrap fits a GaussianMixture, got a {type(model).__name__}")
    n = as_integer(n, "n", 1)
    as_option(kind, "kind", _KINDS)
    rows = as_rows(model._checked(X))
    weight = as_sample_weight(sample_weight, len(rows))
    if weight is not None and kind == "parametric":
        raise ValueError(
            "rows drawn from the model have no weights: pass sample_weight with kind="
            '"nonparametric" or "weighted"'
        )
    fit = partial(
        fit_batch,
        n_components=len(model.means_),
        covariance_type=model.covariance_type,
        tol=as_tolerance(tol, len(rows)),
        reg_covar=model.reg_covar,
        max_iter=max_iter,
        n_threads=n_threads,
        random_state=0,  # the start is given
    )
    estimate = _estimate(model, rows, weight, fit)
    start = _starting_values(estimate)
    random = np.random.default_rng(as_seed(random_state))
    draw = sampler(estimate, len(rows), random)
    found, done = [], 0
    for count in parts(n, rows.size if kind == "parametric" else len(rows)):
        X_part, weights = np.broadcast_to(rows, (count, *rows.shape)), None
        if kind == "parametric":
            X_part = draw(count)
        else:
            weights = _random_weights(kind, (count, len(rows)), random)
            weights *= 1.0 if weight is None else weight
        told = of_all(progress, done, n)
        found.append(fit(X_part, sample_weight=weights, progress=told, **start))
        done += count
    return _aligned(estimate, kind, found)


def _starting_values(model: GaussianMixture) -> dict[str, Any]:
    parameters = model.parameters
    return {
        "weights_init": parameters.weights / parameters.weights.sum(),  # of a float32 model
        "means_init": parameters.means,
        "covariances_init": parameters.covariances,
    }


def _estimate(
    model: GaussianMixture, X: Floats, weight: Floats | None, fit: Callable[..., BatchResult]
) -> GaussianMixture:
    """Return the fit to the rows themselves, continued from the model."""
    weights = None if weight is None else [weight]
    result = fit([X], sample_weight=weights, **_starting_values(model))
    if not usable(result.status)[0]:
        reason = BatchStatus(result.status[0]).meaning
        raise ValueError(f"the fit to X itself has no mixture to replicate: {reason}")
    estimate = result[0]
    if not estimate.converged_:
        warn_caller(
            f"the fit to X itself did not converge within max_iter={estimate.max_iter}; increase "
            "max_iter or tol, or use fewer components",
            sklearn_counterpart(ConvergenceWarning),
        )
    if hasattr(model, "feature_names_in_"):
        estimate.feature_names_in_ = model.feature_names_in_
    return estimate


def _random_weights(kind: str, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Return random weights for the rows of each replicate."""
    n_rows = shape[1]
    weights = np.empty(shape)
    for replicate in weights:
        if kind == "weighted":
            random.standard_exponential(out=replicate)
        else:
            replicate[:] = np.bincount(random.integers(n_rows, size=n_rows), minlength=n_rows)
    return weights


def _aligned(model: GaussianMixture, kind: Kind, found: list[BatchResult]) -> BootstrapResult:
    """Return the usable mixtures of all parts, with the components in the order of the model."""
    status = np.concatenate([result.status for result in found])
    kept = usable(status)
    weights, means, covariances, factors = (
        np.concatenate([getattr(result, name) for result in found])[kept]
        for name in ("weights", "means", "covariances", "precisions_cholesky")
    )
    own = model.parameters
    order = alignments(
        model.covariance_type,
        (own.weights, own.means, own.precisions_cholesky),
        (weights, means, factors),
    )
    at = (np.arange(len(weights))[:, None], order)
    shared = layout_of(model.covariance_type).shared
    return BootstrapResult(
        model, kind, weights[at], means[at], covariances if shared else covariances[at], status
    )
