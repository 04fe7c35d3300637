"""BayesianGaussianMixture: scikit-learn's interface to the compiled core."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core
from ._chunks import RowStream
from ._covariance import Layout, layout_of, moments_layout
from ._em import best_of
from ._fitted import SavedAttribute
from ._fitting import BaseMixture, Control, Estimate, Progress
from ._scoring import FACTORS, Density, as_density, plain
from ._statistics import SufficientStatistics, of_pass
from ._typing import CovarianceType, Floats, InitParams, RandomState, Reals
from ._validation import (
    as_integer,
    as_option,
    as_parameter,
    as_positive,
    check_shape,
    check_weight_sum,
)
from ._variational import CentredSums, ConcentrationType, Posterior, Prior


class BayesianGaussianMixture(BaseMixture):
    """Gaussian mixture fitted by variational inference, with one pass over the data per iteration.

    A drop-in replacement for `sklearn.mixture.BayesianGaussianMixture`, which adds `sample_weight`
    and `n_threads`. Components that the data do not need get weights near zero.

    Parameters
    ----------
    n_components : int, default=1
        Maximum number of components K.
    covariance_type, tol, reg_covar, max_iter, n_init, init_params
        As in `GaussianMixture`, but `tol` refers to the lower bound summed over all rows (nats),
        and `n_init` is an int, 1 by default.
    weight_concentration_prior_type : {"dirichlet_process", "dirichlet_distribution"}
        Prior of the weights: a truncated stick-breaking process (the default), which favours few
        components, or a symmetric Dirichlet distribution.
    weight_concentration_prior : float or None, default=None
        Concentration of this prior; small values give fewer components. None: 1 / K.
    mean_precision_prior : float or None, default=None
        The number of rows that the prior mean is worth. None: 1.
    mean_prior : array-like of shape (n_features,), default=None
        Prior mean. None: the mean of the rows.
    degrees_of_freedom_prior : float or None, default=None
        Degrees of freedom of the Wishart prior of the precisions, greater than n_features - 1.
        None: n_features.
    covariance_prior : float or array-like, default=None
        Prior covariance, (n_features, n_features) for "full" and "tied", (n_features,) for "diag",
        a float for "spherical". None: the covariance, the variances or the mean variance of the
        rows; if these are singular, and not for "tied", plus `reg_covar` times the degrees of
        freedom.
    random_state, warm_start, verbose, verbose_interval, n_threads
        As in `GaussianMixture`.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : array
        Expected values under the posterior; shapes and dtypes as in `GaussianMixture`.
    weight_concentration_ : tuple of two arrays (K,), or array (K,)
        For the Dirichlet process, the two parameters of each stick's beta distribution; for the
        Dirichlet distribution, its concentrations.
    mean_precision_, degrees_of_freedom_ : array of shape (K,)
        Posterior values; `degrees_of_freedom_` is a float for "tied".
    weight_concentration_prior_, mean_precision_prior_, mean_prior_, degrees_of_freedom_prior_,
    covariance_prior_
        The priors that were used.
    converged_, n_iter_, n_features_in_, feature_names_in_
        As in `GaussianMixture`.
    lower_bound_, lower_bounds_ : float, list of float
        The variational lower bound of the log-likelihood summed over all rows (nats), up to a
        constant: the last one, and the one after each iteration.

    See Also
    --------
    GaussianMixture : Maximum-likelihood fit.

    Notes
    -----
    The algorithm is variational inference with conjugate priors [1]_, section 10.2; for the
    Dirichlet process see [2]_. A pass costs the same as for maximum likelihood: with expected
    logarithms instead of logarithms, the responsibilities are those of a Gaussian mixture, and
    their entropy follows from the sums.

    References
    ----------
    .. [1] Bishop (2006), "Pattern Recognition and Machine Learning".
    .. [2] Blei & Jordan (2006), "Variational inference for Dirichlet process mixtures", Bayesian
       Analysis 1, 121-144.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import BayesianGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + 6])
    >>> model = BayesianGaussianMixture(n_components=6, random_state=0, max_iter=500).fit(X)
    >>> int((model.weights_ > 0.02).sum())
    2
    """

    _has_prior = True

    weight_concentration_: tuple[Reals, Reals] | Reals
    weight_concentration_prior_: float
    mean_precision_: Reals
    mean_precision_prior_: float
    mean_prior_: Reals
    degrees_of_freedom_: Reals | float
    degrees_of_freedom_prior_: float
    covariance_prior_: Reals | float

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: CovarianceType = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        weight_concentration_prior_type: ConcentrationType = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: ArrayLike | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads

    def _check_options(self) -> None:
        super()._check_options()
        as_option(
            self.weight_concentration_prior_type,
            "weight_concentration_prior_type",
            ("dirichlet_process", "dirichlet_distribution"),
        )
        for name in ("weight_concentration_prior", "mean_precision_prior"):
            if getattr(self, name) is not None:
                as_positive(getattr(self, name), name)

    def _saved_attributes(self, n_components: int, n_features: int) -> dict[str, SavedAttribute]:
        layout = layout_of(self.covariance_type)
        each, number = (n_components,), ()
        process = self.weight_concentration_prior_type == "dirichlet_process"
        return super()._saved_attributes(n_components, n_features) | {
            "weight_concentration_": SavedAttribute((2, n_components), above=0, decode=tuple)
            if process
            else SavedAttribute(each, above=0),
            "mean_precision_": SavedAttribute(each, above=0),
            "degrees_of_freedom_": SavedAttribute(
                number if layout.shared else each, above=n_features - 1
            ),
            "weight_concentration_prior_": SavedAttribute(number, above=0),
            "mean_precision_prior_": SavedAttribute(number, above=0),
            "mean_prior_": SavedAttribute((n_features,)),
            "degrees_of_freedom_prior_": SavedAttribute(number, above=n_features - 1),
            "covariance_prior_": SavedAttribute(layout.prior_shape(n_features)),
        }

    def _prior(self, X: Reals, weight: Floats | None, n_threads: int) -> Prior:
        """Return the user's prior; parts that are not given come from the moments of the rows."""
        d, kind = X.shape[1], self.covariance_type
        layout, freedom = layout_of(kind), float(d)
        if self.degrees_of_freedom_prior is not None:
            freedom = as_positive(self.degrees_of_freedom_prior, "degrees_of_freedom_prior", d - 1)
        mean, covariance = self.mean_prior, self.covariance_prior
        if mean is None or covariance is None:
            sums = _moments(X, weight, moments_layout(kind), n_threads)
            mean = sums.means[0] if mean is None else mean
            if covariance is None:
                covariance = _sample_covariance(sums, kind)
                if _is_singular(covariance, sums.means[0], kind, X.dtype):
                    # components without rows have only the prior; they become as wide as others
                    covariance = covariance + freedom * float(self.reg_covar) * layout.identity(d)
        concentration, precision = self.weight_concentration_prior, self.mean_precision_prior
        return Prior(
            self.weight_concentration_prior_type,
            1 / self.n_components if concentration is None else float(concentration),
            1.0 if precision is None else float(precision),
            as_parameter(mean, (d,), "means")[0],
            freedom,
            _as_prior_covariance(covariance, kind, d, given=self.covariance_prior is not None),
        )

    def _sources(self) -> tuple[object, ...]:
        concentration = self.weight_concentration_
        both = concentration if isinstance(concentration, tuple) else (concentration,)
        others = self.mean_precision_, self.degrees_of_freedom_, self.means_
        return *both, *others, self.precisions_cholesky_

    def _source_names(self) -> tuple[str, ...]:
        name = "weight_concentration_"
        both = [name] * (len(self._sources()) - 4)
        return *both, "mean_precision_", "degrees_of_freedom_", "means_", FACTORS

    def _density(self, *sources: Reals) -> Density:
        posterior = self._posterior_of(*sources)
        with np.errstate(over="ignore"):  # for an empty component with a very weak prior
            return Density(*posterior.density())

    def _posterior(self) -> Posterior:
        """Return the posterior of the last fit, from the public attributes."""
        posterior = self._posterior_of(*map(plain, self._sources(), self._source_names()))
        covariances = self._public("covariances_", posterior.precisions_cholesky.shape)
        return replace(posterior, covariances=covariances)

    def _posterior_of(self, *sources: Reals) -> Posterior:
        """Return the posterior, without covariances, from `_sources`."""
        *concentration, precision, freedom, means, factors = sources
        if not 1 <= len(concentration) <= 2:
            raise ValueError(
                "weight_concentration_ must be an array, or a tuple of two, but has "
                f"{len(concentration)}"
            )
        K = len(means)
        _, means, factors, _ = as_density(np.ones(K), means, factors, self.covariance_type)
        shared = layout_of(self.covariance_type).shared
        for name, array, shape, above in (
            *(("weight_concentration_", array, (K,), 0) for array in concentration),
            ("mean_precision_", precision, (K,), 0),
            ("degrees_of_freedom_", freedom, () if shared else (K,), means.shape[1] - 1),
        ):
            check_shape(array, shape, name)
            if not ((array > above) & (array < np.inf)).all():
                raise ValueError(f"{name} must be finite and greater than {above}")
        a, *b = (np.asarray(array, dtype=np.float64) for array in concentration)
        return Posterior(
            self.covariance_type,
            (a, b[0]) if b else a,
            np.asarray(precision, dtype=np.float64),
            means,
            np.asarray(freedom, dtype=np.float64),
            np.empty(0),
            factors,
        )

    def _start(
        self,
        X: Reals,
        weight: Floats | None,
        prior: Prior,
        seed: int,
        n_threads: int,
        sample: tuple[Reals, Floats | None] | None,
    ) -> Posterior:
        """Return the posterior of the sums that correspond to the start's parameters. If there is a
        sample, the start is found on it."""
        total = len(X) if weight is None else weight.sum()
        if isinstance(X, RowStream):
            total = X.survey.weight_sum
        if sample is not None:
            X, weight = sample
        reg_covar = float(self.reg_covar)
        # A cluster of one point is allowed here, because the prior keeps covariances positive.
        floor = reg_covar
        if floor == 0.0:
            sums = _moments(X, weight, moments_layout("spherical"), n_threads)
            floor = 1e-9 * float(np.mean(sums.scatter[0] / sums.nk[0])) or 1.0
        (weights, means, covariances, _), *_ = _core.fit(
            X,
            sample_weight=weight,
            covariance_type=self.covariance_type,
            n_components=self.n_components,
            init_params=self.init_params,
            seed=seed,
            tol=float(self.tol),
            reg_covar=floor,
            max_iter=0,
            n_threads=n_threads,
        )
        nk, layout = weights * total, layout_of(self.covariance_type)
        scatter = covariances * (total if layout.shared else layout.per_component(nk))
        return Posterior.update(prior, CentredSums(nk, means, scatter), self.covariance_type, 0.0)

    def _estimate(
        self,
        X: Reals,
        weight: Floats | None,
        n_threads: int,
        progress: Progress | None,
        control: Control,
    ) -> Estimate:
        if weight is not None:
            check_weight_sum(weight)  # with a prior, weights are absolute numbers of rows
        prior = self._prior(X, weight, n_threads)
        seed = control.seed
        resume = self._resumes(X.shape[1])

        def start(init: int) -> tuple[Posterior, float]:
            if resume:
                # an array of size 1 in scikit-learn's tied models
                return self._posterior(), np.asarray(self.lower_bound_).item()
            start_seed = _core.start_seed(seed, init=init)
            return self._start(X, weight, prior, start_seed, n_threads, control.sample), -math.inf

        def updated(posterior: Posterior, in_double: bool) -> tuple[Posterior, float]:
            """Return the next posterior and its lower bound."""
            weights, means, factors, _ = posterior.density()
            sums = _core.accumulate(
                X,
                sample_weight=weight,
                covariance_type=self.covariance_type,
                weights=weights,
                means=means,
                covariances=posterior.covariances,
                precisions_cholesky=factors,
                n_threads=n_threads,
                in_double=in_double,
            )
            statistics = of_pass(sums, self.covariance_type)
            centred = _centred(statistics)
            entropy = statistics.log_likelihood - posterior.expected_log_density(centred, weights)
            posterior = Posterior.update(
                prior, centred, self.covariance_type, float(self.reg_covar)
            )
            return posterior, posterior.lower_bound(entropy)

        def step(posterior: Posterior) -> tuple[Posterior, float]:
            if X.dtype == np.float32 and not posterior.needs_double():
                with suppress(ValueError):  # singular in float32
                    following, bound = updated(posterior, in_double=False)
                    if not following.needs_double():
                        return following, bound
            return updated(posterior, in_double=True)

        run = best_of(
            1 if resume else as_integer(self.n_init, "n_init", 1),
            start,
            step,
            tol=float(self.tol),
            max_iter=int(self.max_iter),
            report=progress,
        )
        posterior, bounds = run.state, run.lower_bounds
        if not np.isfinite(bounds).all():
            raise ValueError(
                "the fit gave lower bounds that are not finite; scale the data or the weights"
            )
        freedom = posterior.degrees_of_freedom
        return Estimate(
            (
                posterior.weights(),
                posterior.means,
                posterior.covariances,
                posterior.precisions_cholesky,
            ),
            bounds,
            run.converged,
            {
                "weight_concentration_": posterior.concentration,
                "mean_precision_": posterior.mean_precision,
                "degrees_of_freedom_": freedom if freedom.ndim else float(freedom),
                "weight_concentration_prior_": prior.concentration,
                "mean_precision_prior_": prior.mean_precision,
                "mean_prior_": prior.mean,
                "degrees_of_freedom_prior_": prior.degrees_of_freedom,
                "covariance_prior_": prior.covariance
                if prior.covariance.ndim
                else float(prior.covariance),
            },
        )


def _as_prior_covariance(
    covariance: ArrayLike, covariance_type: str, n_features: int, given: bool
) -> Floats:
    """Return a prior covariance as float64: a matrix, variances, or one variance.

    Only a `given` one must be positive: the covariance of the rows may have a constant column.
    """
    layout, name = layout_of(covariance_type), f"{covariance_type} covariance_prior"
    shape = layout.prior_shape(n_features)
    array, _ = as_parameter(np.atleast_1d(covariance), shape or (1,), name)
    if given and not layout.is_positive(array).all():
        if layout.has_matrices:
            raise ValueError(f"'{name}' should be {layout.positive}")
        raise ValueError(
            f"The parameter '{name}' should be greater than 0.0, but got {array.min():.3f}."
        )
    return array.reshape(shape)


def _centred(statistics: SufficientStatistics) -> CentredSums:
    return CentredSums(statistics.nk, *statistics._centred())


def _moments(X: Reals, weight: Floats | None, layout: Layout, n_threads: int) -> CentredSums:
    """Return the sums of the rows for a single component."""
    d = X.shape[1]
    # A density so wide that no row is too far from it: only the sums are used.
    narrow = float(np.finfo(X.dtype).max ** -0.5 / d)
    unit = layout.identity(d)[None] * narrow
    if isinstance(X, RowStream):
        first_row = X.survey.first_row
    else:
        first = 0 if weight is None else int(np.argmax(weight > 0.0))  # others may be anywhere
        first_row = X[first : first + 1]
    shift = np.array(first_row, dtype=np.float64)
    statistics = _core.accumulate(
        X,
        sample_weight=weight,
        covariance_type=layout.name,
        weights=np.ones(1),
        means=shift,
        covariances=np.ones_like(unit),
        precisions_cholesky=unit,
        n_threads=n_threads,
        in_double=True,  # the covariance may be far narrower in some direction
    )
    sums = _centred(of_pass(statistics, layout.name))
    if not (np.isfinite(sums.means).all() and np.isfinite(sums.scatter).all()):
        raise ValueError("the sums are not finite: scale the rows or their weights")
    return sums


def _sample_covariance(sums: CentredSums, covariance_type: CovarianceType) -> Floats:
    """Return the covariance of the rows in the shape of a prior: divided by N - 1, or by N / 2 if
    the weights sum to less than 2."""
    total = float(sums.nk[0])
    covariance: Floats = sums.scatter[0] / max(total - 1, total / 2)
    shape = layout_of(covariance_type).prior_shape(sums.means.shape[1])
    return covariance if shape else np.asarray(covariance.mean())


def _is_singular(
    covariance: Floats, mean: Floats, covariance_type: CovarianceType, dtype: DTypeLike
) -> bool:
    """Return whether the covariance of the rows, in the layout of a prior, is singular except for
    rounding: of the rows in their dtype, and of the sums in float64. False for a shared one: there
    every component has rows."""
    layout, eps = layout_of(covariance_type), 4 * float(np.finfo(dtype).eps)
    if layout.shared:
        return False
    variances = layout.diagonals(covariance)
    deviations = np.sqrt(np.maximum(variances, 0.0))
    rounding = eps * (np.abs(mean) if variances.ndim else np.abs(mean).min())
    if np.any(deviations <= rounding):
        return True
    if not layout.has_matrices:
        return False
    correlation = covariance / np.outer(deviations, deviations)
    of_rows, of_sums = np.max(eps + rounding / deviations) ** 2, 4 * np.finfo(np.float64).eps
    return bool(np.linalg.eigvalsh(correlation)[0] <= max(of_rows, of_sums) * len(correlation))
