"""GaussianMixture: scikit-learn's class over the compiled core."""

from __future__ import annotations

import math
import warnings
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
    as_seed,
    check_feature_names,
    check_fitted,
    feature_attributes,
)
from ._typing import CovarianceType, Floats, InitParams, Labels, RandomState, Reals
from ._validation import (
    COVARIANCE_TYPES,
    INIT_PARAMS,
    as_data,
    as_integer,
    as_nonnegative,
    as_option,
    as_sample_weight,
    check_finite,
    check_n_features,
    check_shape,
    covariance_shape,
)
from .parameters import Given, as_given, precisions_of

# weights, means, covariances and the precisions' factors
_Parameters: TypeAlias = tuple[Floats, Floats, Floats, Floats]


class _Progress:
    """scikit-learn's verbose output: level 1 names the steps, level 2 times them."""

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


class GaussianMixture(DensityMixin, BaseEstimator):
    """Gaussian mixture fitted by EM, one pass over memory per iteration.

    Takes the place of `sklearn.mixture.GaussianMixture`; `sample_weight` and `n_threads` are added.

    Parameters
    ----------
    n_components : int, default=1
        Number of Gaussians K.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        "full": each component has its own covariance matrix; "tied": all share one; "diag": each
        has its own variances, features are uncorrelated within it; "spherical": each has a single
        variance.
    tol : float, default=1e-3
        A fit has converged when an iteration changes the mean log-likelihood per row by less than
        this, in nats.
    reg_covar : float, default=1e-6
        Added to every variance (the diagonal of every covariance), in squared units of the data.
    max_iter : int, default=100
        Most iterations of one start; 0 keeps the starting parameters.
    n_init : int, default=1
        Number of starts; the one with the highest `lower_bound_` is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        How to start: from the clusters of k-means; from centres spread by k-means++; from random
        responsibilities; from rows drawn at random as means.
    weights_init : array-like of shape (n_components,), default=None
        Starting weights, summing to one. None: from `init_params`.
    means_init : array-like of shape (n_components, n_features), default=None
        Starting means. None: from `init_params`.
    precisions_init : array-like in the shape of `precisions_`, default=None
        Starting precisions, the inverses of covariances. None: from `init_params`.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
        Seeds the starts and `sample`. An int gives the same fit, and the same sample, every time;
        None draws from NumPy's global state.
    warm_start : bool, default=False
        Go on from the parameters of the last fit, when there was one; `n_init` is then ignored.
    verbose : int, default=0
        1 prints the starts and iterations, 2 also times (s) and changes of the mean
        log-likelihood (nats).
    verbose_interval : int, default=10
        Iterations between two printed lines.
    n_threads : int or None, default=None
        Most threads to use, never more than the CPUs this process may run on. None: as many as
        OMP_NUM_THREADS, an active threadpoolctl limit, the CPU affinity and the container's CPU
        quota allow, asked at every call.

    Attributes
    ----------
    weights_ : array of shape (n_components,)
        Weights, summing to one. This and the next four arrays are float32 when the data of the
        fit were float32 or float16, float64 otherwise. Prediction uses `weights_`, `means_` and
        `precisions_cholesky_`, `sample` the first two and `covariances_`; they may be set.
    means_ : array of shape (n_components, n_features)
    covariances_ : array
        (n_components, n_features, n_features) for "full", (n_features, n_features) for "tied",
        (n_components, n_features) for "diag", (n_components,) for "spherical".
    precisions_ : array in the shape of `covariances_`
        The inverses of the covariances.
    precisions_cholesky_ : array in the shape of `covariances_`
        Upper triangular U with precision = U U^T; for "diag" and "spherical", 1 / standard
        deviation.
    converged_ : bool
        Whether the kept start met `tol` within `max_iter`.
    n_iter_ : int
        Iterations of the kept start.
    lower_bound_ : float
        The last of `lower_bounds_`; -inf when `max_iter` is 0.
    lower_bounds_ : list of float
        Mean log-likelihood per row (nats) that each iteration found, before its M-step.
    n_features_in_ : int
        Number of columns of the data of the fit.
    feature_names_in_ : array of str of shape (n_features,)
        Names of the columns; only where the data had names and scikit-learn is installed.

    See Also
    --------
    fusedgmm.accumulate : One pass, for data that come in parts.
    fusedgmm.reference : The same algorithm in plain NumPy, with its formulas.

    Notes
    -----
    The algorithm is EM [1]_ with the updates of [2]_, equations 9.23 to 9.27; `reg_covar` is added
    after each M-step. A row of `sample_weight` w counts as w equal rows, in the likelihood and in
    its mean. Sums are kept in float64 and about a point near each mean, so that data far from zero
    keep their digits, also in float32.

    Rows are cut into blocks by their number alone and sums merge in the order of the rows, so a fit
    has the same bits with any number of threads.

    References
    ----------
    .. [1] Dempster, Laird & Rubin (1977), "Maximum likelihood from incomplete data via the EM
       algorithm", J. R. Statist. Soc. B 39, 1-38.
    .. [2] Bishop (2006), "Pattern Recognition and Machine Learning", section 9.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = GaussianMixture(n_components=2, random_state=1).fit(X)
    >>> print(np.sort(model.means_, axis=0).round(6))
    [[ 1.  2.]
     [10.  2.]]
    >>> left, right = model.predict([[0, 0], [12, 3]])
    >>> bool(left == right)
    False
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
            Finite real numbers, at least two rows and `n_components`; not copied when float32 or
            float64, in any layout.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Finite and not negative, not all zero. None: every row counts once.

        Returns
        -------
        self : GaussianMixture

        Raises
        ------
        TypeError, ValueError
            Data, weights or a parameter is not what it should be; a covariance is singular. The
            model is then as it was before.

        Warns
        -----
        ConvergenceWarning
            No convergence within `max_iter`.
        UserWarning
            A component has lost all its rows.
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
        """Return the responsibilities, (n_samples, n_components), in the dtype of `X`."""
        return self._run(self._checked(X), "responsibilities")

    def score_samples(self, X: ArrayLike) -> Reals:
        """Return the log-likelihood of each row in nats, (n_samples,), in the dtype of `X`."""
        return self._run(self._checked(X), "log_likelihood")

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the (weighted) mean log-likelihood of the rows, in nats."""
        X = self._checked(X)
        weight = as_sample_weight(sample_weight, len(X))
        return self._mean_log_likelihood(X, weight)

    def aic(self, X: ArrayLike) -> float:
        """Return Akaike's criterion, 2 p - 2 log L with p parameters; lower is better."""
        X = self._checked(X)
        return -2 * self._mean_log_likelihood(X) * len(X) + 2 * self._n_parameters()

    def bic(self, X: ArrayLike) -> float:
        """Return the Bayesian criterion, p log N - 2 log L with p parameters; lower is better."""
        X = self._checked(X)
        penalty = self._n_parameters() * math.log(len(X))
        return -2 * self._mean_log_likelihood(X) * len(X) + penalty

    def sample(self, n_samples: int = 1) -> tuple[Floats, Labels]:
        """Draw rows from the fitted mixture, by `random_state`.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : array of shape (n_samples, n_features), float64
        y : array of shape (n_samples,), int64
            The component each row was drawn from, in rising order.

        Raises
        ------
        ValueError
            `n_samples` is not an int of at least 1.
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
            threads.for_pass(self.n_threads, self.covariance_type, len(X), *np.shape(self.means_)),
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

    def _given(self, n_features: int) -> Given:
        """Return the starting values that the user gave, checked; None where he gave none."""
        return as_given(
            self.weights_init,
            self.means_init,
            self.precisions_init,
            self.covariance_type,
            self.n_components,
            n_features,
        )

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
        original, X = X, as_data(X, min_samples=2)
        features = feature_attributes(original, X.shape[1])
        if len(X) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {len(X)}"
            )
        n_threads = threads.for_pass(
            self.n_threads, self.covariance_type, len(X), self.n_components, X.shape[1]
        )
        weight = as_sample_weight(sample_weight, len(X))
        resume = self.warm_start and hasattr(self, "converged_")
        progress = None
        if self.verbose:
            progress = _Progress(int(self.verbose), self.verbose_interval, float(self.tol))
        best, bounds, converged = _core.fit(
            X,
            weight,
            self.covariance_type,
            self.n_components,
            self.init_params,
            1 if resume else int(self.n_init),
            as_seed(self.random_state),
            self._resumed(X.shape[1]) if resume else self._given(X.shape[1]),
            float(self.tol),
            float(self.reg_covar),
            int(self.max_iter),
            float(self.lower_bound_) if resume else -math.inf,
            n_threads,
            progress,
        )
        if progress is not None and bounds:
            progress.end()
        if self.max_iter == 0:
            check_finite(X)  # no pass may have read it
        self._check_result(best, converged)
        self._assign(best, X.dtype)
        self.converged_ = converged
        self.n_iter_ = len(bounds)
        self.lower_bound_ = bounds[-1] if bounds else -math.inf
        self.lower_bounds_ = bounds
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
