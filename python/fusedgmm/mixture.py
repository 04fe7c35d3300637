"""GaussianMixture: scikit-learn's class over the compiled core."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Literal, Self, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core, threads
from ._estimator import (
    BaseEstimator,
    ConvergenceWarning,
    DensityMixin,
    as_random,
    check_feature_names,
    check_fitted,
    draw_seed,
    feature_attributes,
)
from ._typing import CovarianceType, Floats, InitParams, Labels, Random, RandomState, Reals
from ._validation import (
    COVARIANCE_TYPES,
    INIT_PARAMS,
    as_data,
    as_integer,
    as_means,
    as_nonnegative,
    as_option,
    as_precisions,
    as_sample_weight,
    as_weights,
    check_n_features,
    check_shape,
    covariance_shape,
)
from .parameters import covariances_of, factor_precisions, precisions_of

# weights, means, covariances and the precisions' factors
_Parameters: TypeAlias = tuple[Floats, Floats, Floats, Floats]
# the same of weights, means and precisions; None where the user gave none
_Given: TypeAlias = tuple[Floats | None, Floats | None, Floats | None]


class _Progress:
    """scikit-learn's verbose output: level 1 names the steps, level 2 times them."""

    def __init__(self, verbose: int, interval: int) -> None:
        self._verbose, self._interval = int(verbose), interval
        self._begin = self._last = 0.0

    def begin(self, init: int) -> None:
        if self._verbose:
            print(f"Initialization {init}")
        self._begin = self._last = perf_counter()

    def iteration(self, iteration: int, lower_bound: float, change: float) -> None:
        if iteration % self._interval:
            return
        if self._verbose == 1:
            print(f"  Iteration {iteration}")
        else:
            now = perf_counter()
            lapse, self._last = now - self._last, now
            print(f"  Iteration {iteration}\t time lapse {lapse:.5f}s\t ll change {change:.5f}")

    def end(self, lower_bound: float, converged: bool) -> None:
        outcome = "converged" if converged else "did not converge"
        if self._verbose == 1:
            print(f"Initialization {outcome}.")
        elif self._verbose:
            lapse = perf_counter() - self._begin
            print(
                f"Initialization {outcome}. time lapse {lapse:.5f}s\t lower bound"
                f" {lower_bound:.5f}."
            )

    @property
    def report(self) -> Callable[[int, float, float], None] | None:
        """What the core calls after each iteration; None spares it the calls."""
        return self.iteration if self._verbose else None


class GaussianMixture(DensityMixin, BaseEstimator):
    """Gaussian mixture fitted by EM, one pass over memory per iteration.

    Parameters, methods and attributes are those of `sklearn.mixture.GaussianMixture`, plus:

    Parameters
    ----------
    n_threads : int or None, default=None
        None: what OMP_NUM_THREADS, threadpoolctl, CPU affinity and cgroup quota allow.

    Attributes
    ----------
    weights_ : array of shape (n_components,)
    means_ : array of shape (n_components, n_features)
    covariances_, precisions_, precisions_cholesky_ : array
        (n_components, n_features, n_features) for "full", (n_features, n_features) for "tied",
        (n_components, n_features) for "diag", (n_components,) for "spherical".
    converged_ : bool
    n_iter_ : int
    lower_bound_ : float
    lower_bounds_ : list of float
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features,), where `X` has names
    """

    weights_: Reals
    means_: Reals
    covariances_: Reals
    precisions_: Reals
    precisions_cholesky_: Reals
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: InitParams = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
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
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture; the best of `n_init` starts is kept.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            Data, weights or a parameter is not what it should be; a covariance is singular. The
            model is then as it was before.
        """
        self._fit(X, sample_weight)
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Labels:
        """Fit the mixture and return the labels (n_samples,), int64, as `predict` gives them."""
        return self._run(self._fit(X, sample_weight), "labels")

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable component of each row, (n_samples,) int64."""
        return self._run(self._checked(X), "labels")

    def predict_proba(self, X: ArrayLike) -> Reals:
        """Return the responsibilities, (n_samples, n_components)."""
        return self._run(self._checked(X), "responsibilities")

    def score_samples(self, X: ArrayLike) -> Reals:
        """Return the log-likelihood of each row, (n_samples,)."""
        return self._run(self._checked(X), "log_likelihood")

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the (weighted) mean log-likelihood of the rows."""
        X = self._checked(X)
        weight = as_sample_weight(sample_weight, len(X))
        return self._mean_log_likelihood(X, weight)

    def aic(self, X: ArrayLike) -> float:
        """Return Akaike's information criterion; lower is better."""
        X = self._checked(X)
        return -2 * self._mean_log_likelihood(X) * len(X) + 2 * self._n_parameters()

    def bic(self, X: ArrayLike) -> float:
        """Return the Bayesian information criterion; lower is better."""
        X = self._checked(X)
        penalty = self._n_parameters() * math.log(len(X))
        return -2 * self._mean_log_likelihood(X) * len(X) + penalty

    def sample(self, n_samples: int = 1) -> tuple[Floats, Labels]:
        """Draw rows from the fitted mixture.

        Returns
        -------
        X : array of shape (n_samples, n_features)
        y : array of shape (n_samples,)
            The component each row was drawn from.
        """
        check_fitted(self)
        if n_samples < 1:  # in scikit-learn's words
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        n_samples = as_integer(n_samples, "n_samples", 1)
        random = as_random(self.random_state)
        weights = np.asarray(self.weights_, dtype=np.float64)
        if np.asarray(self.weights_).dtype != np.float64:  # float32 rounding may sum above one
            weights = weights / weights.sum()
        means = np.asarray(self.means_, dtype=np.float64)
        covariances = np.asarray(self.covariances_, dtype=np.float64)
        if self.covariance_type == "tied":
            covariances = np.broadcast_to(covariances, (len(means), *covariances.shape))
        counts = random.multinomial(n_samples, weights)
        rows = []
        for mean, covariance, count in zip(means, covariances, counts, strict=True):
            if self.covariance_type in ("full", "tied"):
                rows.append(random.multivariate_normal(mean, covariance, int(count)))
            else:
                noise = random.standard_normal(size=(int(count), len(mean)))
                rows.append(mean + noise * np.sqrt(covariance))
        return np.vstack(rows), np.repeat(np.arange(len(means), dtype=np.int64), counts)

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        n_components, n_features = np.shape(self.means_)
        triangle = n_features * (n_features + 1) // 2
        covariance = {
            "full": n_components * triangle,
            "tied": triangle,
            "diag": n_components * n_features,
            "spherical": n_components,
        }[self.covariance_type]
        return int(covariance + n_features * n_components + n_components - 1)

    def _checked(self, X: ArrayLike) -> Reals:
        """Return `X` as the fitted model takes it."""
        check_fitted(self)
        rows = as_data(X)  # first: the checks of names say less about rows that are no rows
        check_feature_names(self, X)
        check_n_features(rows, np.shape(self.means_)[1], type(self).__name__)
        return rows

    def _public(self, name: str, shape: tuple[int, ...] | None = None) -> Floats:
        """Return a public attribute as the core takes it: users may have set it."""
        array: Floats = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
        if shape is not None:
            check_shape(array, shape, name)
        return array

    @overload
    def _run(self, X: Reals, want: Literal["labels"]) -> Labels: ...
    @overload
    def _run(self, X: Reals, want: Literal["responsibilities", "log_likelihood"]) -> Reals: ...
    def _run(
        self, X: Reals, want: Literal["labels", "responsibilities", "log_likelihood"]
    ) -> Labels | Reals:
        """Make one pass over converted rows with the public attributes."""
        return _core.score(
            X,
            self.covariance_type,
            self._public("weights_"),
            self._public("means_"),
            self._public("precisions_cholesky_"),
            threads.resolve(self.n_threads),
            want,
        )

    def _mean_log_likelihood(self, X: Reals, weight: Floats | None = None) -> float:
        values = self._run(X, "log_likelihood")
        return float(np.average(values.astype(np.float64, copy=False), weights=weight))

    def _options(self) -> None:
        """Check every option that needs no data; ValueError names the one at fault."""
        as_option(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        as_option(self.init_params, "init_params", INIT_PARAMS)
        for name, minimum in (
            ("n_components", 1),
            ("max_iter", 0),
            ("n_init", 1),
            ("verbose_interval", 1),
        ):
            as_integer(getattr(self, name), name, minimum)
        as_nonnegative(self.tol, "tol")
        as_nonnegative(self.reg_covar, "reg_covar")
        as_integer(int(self.verbose), "verbose", 0)  # True is 1 here, as in scikit-learn

    def _given(self, n_features: int) -> _Given:
        """Return the user's starting weights, means and precisions, checked; None where unset."""
        K, kind = self.n_components, self.covariance_type
        weights, means, precisions = self.weights_init, self.means_init, self.precisions_init
        return (
            None if weights is None else as_weights(weights, K),
            None if means is None else as_means(means, K, n_features),
            None if precisions is None else as_precisions(precisions, kind, K, n_features),
        )

    def _start(
        self, X: Reals, weight: Floats | None, given: _Given, random: Random, n_threads: int
    ) -> _Parameters:
        """Return starting parameters: the core's, overridden by what the user gave."""
        weights, means, precisions = given
        seed = draw_seed(random)  # drawn even if unused: a start never depends on the others
        if weights is None or means is None or precisions is None:
            start = _core.start(
                X,
                weight,
                self.covariance_type,
                self.n_components,
                self.init_params,
                seed,
                float(self.reg_covar),
                n_threads,
            )
            weights = start[0] if weights is None else weights
            means = start[1] if means is None else means
            if precisions is None:
                return weights, means, *start[2:]
        factors = factor_precisions(precisions, self.covariance_type)
        return weights, means, covariances_of(factors, self.covariance_type), factors

    def _resumed(self, n_features: int) -> _Parameters:
        """Return the fitted parameters a warm start goes on from."""
        K = self.n_components
        square = covariance_shape(self.covariance_type, K, n_features)
        return (
            self._public("weights_", (K,)),
            self._public("means_", (K, n_features)),
            self._public("covariances_", square),
            self._public("precisions_cholesky_", square),
        )

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> Reals:
        """Fit, set the attributes, and return the converted rows."""
        self._options()
        n_threads = threads.resolve(self.n_threads)
        original, X = X, as_data(X, min_samples=2)
        features = feature_attributes(original, X.shape[1])
        if len(X) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {len(X)}"
            )
        weight = as_sample_weight(sample_weight, len(X))
        given = self._given(X.shape[1])
        resume = self.warm_start and hasattr(self, "converged_")
        random = as_random(self.random_state)
        progress = _Progress(self.verbose, self.verbose_interval)

        best: _Parameters | None = None
        best_bound, best_bounds, best_converged = -math.inf, list[float](), False
        for init in range(1 if resume else self.n_init):
            progress.begin(init)
            if resume:
                parameters, bound = self._resumed(X.shape[1]), float(self.lower_bound_)
            else:
                parameters = self._start(X, weight, given, random, n_threads)
                bound = -math.inf
            if self.max_iter == 0:
                best = parameters
                continue
            result = _core.em(
                X,
                weight,
                self.covariance_type,
                *parameters,
                float(self.tol),
                float(self.reg_covar),
                int(self.max_iter),
                bound,
                n_threads,
                progress.report,
            )
            parameters, (bounds, converged) = result[:4], result[4:]
            progress.end(bounds[-1], converged)
            if best is None or bounds[-1] > best_bound:
                best, best_bound = parameters, bounds[-1]
                best_bounds, best_converged = bounds, converged

        assert best is not None  # n_init is at least 1
        self._check_result(best, best_converged)
        self._assign(best, X.dtype)
        self.converged_ = bool(best_converged)
        self.n_iter_ = len(best_bounds)
        self.lower_bound_ = best_bound
        self.lower_bounds_ = best_bounds
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # a fit on nameless rows forgets the old names
        vars(self).update(features)
        return X

    def _check_result(self, parameters: _Parameters, converged: bool) -> None:
        """Refuse a fit that is not finite; warn of a dead component or an unfinished fit."""
        for name, array in zip(("weights", "means", "covariances"), parameters, strict=False):
            if not np.isfinite(array).all():
                raise ValueError(
                    f"the fit gave {name} that are not finite; scale the data or raise reg_covar"
                )
        dead = np.flatnonzero(np.asarray(parameters[0]) == 0.0)
        if len(dead):
            names = ", ".join(map(str, dead))
            warnings.warn(
                f"component(s) {names} of the mixture have weight 0: no row belongs to them. "
                "Use fewer components or another start.",
                stacklevel=4,
            )
        if not converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _assign(self, parameters: _Parameters, dtype: DTypeLike) -> None:
        """Set the parameter attributes in the data's own dtype."""
        weights, means, covariances, factors = parameters
        # copies: a user's *_init array must not become the model's own
        self.weights_ = np.array(weights, dtype=dtype)
        self.means_ = np.array(means, dtype=dtype)
        self.covariances_ = np.array(covariances, dtype=dtype)
        self.precisions_cholesky_ = np.array(factors, dtype=dtype)
        self.precisions_ = precisions_of(factors, self.covariance_type).astype(dtype, copy=False)
