"""GaussianMixture: scikit-learn's interface to the compiled core."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core, _threads
from ._covariance import layout_of
from ._fitted import Parameters, SavedAttribute
from ._fitting import BaseMixture, Control, Estimate, Progress
from ._parameters import MixtureParameters, StartingValues, as_starting_values
from ._typing import CovarianceType, Floats, InitParams, RandomState, Reals
from ._validation import as_option, warn_caller
from .stream import Source

# Maximum number of starts of a quick fit: with more components, more of them can be misplaced.
MAX_STARTS = 11
QUICK_WORK = 4_000_000  # N K d, or N K d^2


class Repair(NamedTuple):
    """One repair made by ``degenerate="repair"``."""

    iteration: int  # 0: during the start
    component: int  # -1: the tied covariance
    row: int  # row at which it was re-seeded; -1: its covariance was floored

    def __str__(self) -> str:
        name = "the tied covariance" if self.component < 0 else f"component {self.component}"
        what = "floored" if self.row < 0 else f"re-seeded at row {self.row}"
        return f"{name} {what} in iteration {self.iteration}"


class GaussianMixture(BaseMixture):
    """Gaussian mixture fitted by EM, with one pass over the data per iteration.

    A drop-in replacement for `sklearn.mixture.GaussianMixture`, which adds `sample_weight`,
    `n_threads` and more.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        "full": each component has its own covariance matrix; "tied": all components share one
        matrix; "diag": each component has one variance per feature; "spherical": each component
        has a single variance.
    tol : float, default=1e-3
        A fit has converged when an iteration changes the mean log-likelihood per row by less than
        this, in nats.
    reg_covar : float, default=1e-6
        Value added to every variance (the diagonal of every covariance), in squared units of the
        data. A fit warns, once, if it exceeds what the rows alone gave, and names the components
        and features; features that are constant, also within a component, do not count.
    max_iter : int, default=100
        Maximum number of iterations per start; 0 keeps the starting parameters.
    n_init : int or "auto", default="auto"
        Number of starts; the fit with the highest `lower_bound_` is kept. "auto": 2 K - 1, at most
        11, if they are quick (N K d is at most 4 million, for "full" and "tied" N K d^2), unless
        `means_init` is given or `max_iter` is 0; otherwise 1.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default="kmeans"
        How to start: "kmeans", from clusters of k-means; "k-means++", from centres chosen by
        k-means++; "random", from random responsibilities; "random_from_data", from randomly drawn
        rows as means.
    weights_init : array-like of shape (n_components,), default=None
        Starting weights, with sum 1. None: from `init_params`.
    means_init : array-like of shape (n_components, n_features), default=None
        Starting means. None: from `init_params`.
    precisions_init : array-like of the shape of `precisions_`, default=None
        Starting precisions, the inverses of covariances. None: from `init_params`.
    covariances_init : array-like of the shape of `covariances_`, default=None
        Starting covariances, an alternative to `precisions_init`. None: from `init_params`.
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None, default=None
        Seed of the starts and of `sample`. With an int, every fit and every sample is the same;
        None uses NumPy's global state.
    warm_start : bool, default=False
        If True, continue from the parameters of the last fit, if any; `n_init` is then ignored.
        Several fits give the bits of one longer fit, but not for "tied" and not for float32 data
        (whose parameters are rounded): there they differ by rounding errors.
    verbose : int, default=0
        1 prints starts and iterations; 2 also prints times (s) and changes of the mean
        log-likelihood (nats).
    verbose_interval : int, default=10
        Number of iterations between two printed lines.
    degenerate : {"raise", "repair"}, default="raise"
        What to do when a covariance becomes singular or a component loses all its rows. "raise":
        raise ValueError for a singular covariance, warn about an empty component. "repair": if a
        component is narrower, in some direction, than a thousandth of the data's standard
        deviation, add that much to it; move an empty component to the row that the mixture
        explains worst, up to three times. `repairs_` lists the repairs, and a warning reports them.
    acceleration : {"squarem"} or None, default=None
        "squarem": extrapolate from every two EM steps [3]_, and keep the extrapolation if the
        likelihood is no lower there. This needs far fewer passes over the data where EM is slow,
        i.e. where components overlap, and leads to a maximum of the same likelihood, but not always
        to the same one. None: plain EM, whose iterates are scikit-learn's.
    stopping : {"change", "aitken"}, default="change"
        What `tol` is compared with. "change": the change of the mean log-likelihood in one
        iteration, which is also small where EM is only slow. "aitken": both this change and what is
        still to be gained by an estimate of the limit from three iterations [4]_.
    n_threads : int or None, default=None
        Maximum number of threads, never more than the CPUs available to this process. None: the
        minimum of the CPU affinity, the container's CPU quota, and OMP_NUM_THREADS or an active
        threadpoolctl limit; determined at every call. Concurrent calls share the threads.

    Attributes
    ----------
    weights_ : array of shape (n_components,)
        Weights, with sum 1. This and the next four arrays are float32 if the data of the fit were
        float32 or float16, otherwise float64. Prediction uses `weights_`, `means_` and
        `precisions_cholesky_`; `sample` uses `weights_`, `means_` and `covariances_`. These
        attributes may be set, or changed in place; the next call checks them.
    means_ : array of shape (n_components, n_features)
    covariances_ : array
        (n_components, n_features, n_features) for "full", (n_features, n_features) for "tied",
        (n_components, n_features) for "diag", (n_components,) for "spherical"; in squared units
        of the data.
    precisions_ : array of the shape of `covariances_`
        The inverses of the covariances.
    precisions_cholesky_ : array of the shape of `covariances_`
        Upper triangular U with precision = U U^T; for "diag" and "spherical", one over the
        standard deviation. If set by hand, lower triangular L with precision = L L^T, too.
    converged_ : bool
        Whether the best start converged within `max_iter`.
    n_iter_ : int
        Number of iterations of the best start.
    n_passes_ : int
        Number of EM steps computed for the best start: `n_iter_`, plus the rejected extrapolations
        if `acceleration` is used.
    lower_bound_ : float
        The last of `lower_bounds_`; -inf if `max_iter` is 0.
    lower_bounds_ : list of float
        Mean log-likelihood per row (nats) in each iteration, before its M step. With
        `acceleration`, those of the accepted iterates.
    repairs_ : list of Repair
        The repairs, as tuples (iteration, component, row); see `degenerate`.
    n_features_in_ : int
        Number of features of the data of the fit.
    feature_names_in_ : array of str of shape (n_features,)
        Names of the features; only if the data have names and scikit-learn is installed.

    See Also
    --------
    fusedgmm.accumulate : One pass, for data that come in parts.
    fusedgmm.reference : The same algorithm in plain NumPy, with formulas.

    Notes
    -----
    The algorithm is EM [1]_ with the updates of [2]_, equations 9.23 to 9.27; `reg_covar` is added
    after each M step. A row of `sample_weight` w counts as w equal rows, in the likelihood and in
    its mean. Sums are accumulated in float64 and about a point near each mean, so data far from
    zero lose no precision, even in float32.

    The division of the rows into blocks depends only on their number, and sums are merged in the
    order of the rows, so results are identical bit for bit for any number of threads.

    References
    ----------
    .. [1] Dempster, Laird & Rubin (1977), "Maximum likelihood from incomplete data via the EM
       algorithm", J. R. Statist. Soc. B 39, 1-38.
    .. [2] Bishop (2006), "Pattern Recognition and Machine Learning", section 9.2.
    .. [3] Varadhan & Roland (2008), "Simple and globally convergent methods for accelerating the
       convergence of any EM algorithm", Scand. J. Statist. 35, 335-353: SQUAREM, scheme S3. See
       docs/acceleration.md.
    .. [4] McLachlan & Krishnan (2008), "The EM Algorithm and Extensions", section 4.9.

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

    repairs_: list[Repair]
    _can_be_watched = True
    n_passes_: int

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int | Literal["auto"] = "auto",
        init_params: InitParams = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        covariances_init: ArrayLike | None = None,
        degenerate: Literal["raise", "repair"] = "raise",
        acceleration: Literal["squarem"] | None = None,
        stopping: Literal["change", "aitken"] = "change",
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
        self.covariances_init = covariances_init
        self.degenerate = degenerate
        self.acceleration = acceleration
        self.stopping = stopping

    @classmethod
    def from_parameters(cls, parameters: MixtureParameters, **options: Any) -> Self:
        """Create a fitted model from known parameters, without data.

        Parameters
        ----------
        parameters : MixtureParameters
            From `SufficientStatistics.maximize`, from `parameters` of another model, or created by
            `MixtureParameters.from_covariances` or `MixtureParameters.from_precisions`.
        **options
            Constructor parameters other than `n_components` and `covariance_type`.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        TypeError
            `parameters` is not MixtureParameters.
        ValueError
            An option has an invalid value.

        Examples
        --------
        >>> from fusedgmm import GaussianMixture, MixtureParameters
        >>> parameters = MixtureParameters.from_covariances(
        ...     [0.3, 0.7], [[0.0], [5.0]], [1.0, 2.0], "spherical"
        ... )
        >>> model = GaussianMixture.from_parameters(parameters)
        >>> model.predict([[0.5], [4.0]]).tolist()
        [0, 1]
        """
        if not isinstance(parameters, MixtureParameters):
            raise TypeError(
                f"expected MixtureParameters, got a {type(parameters).__name__}; "
                "MixtureParameters.from_covariances and .from_precisions create them from arrays"
            )
        p = parameters
        model = cls(p.n_components, covariance_type=p.covariance_type, **options)
        model._check_options()
        model._assign((p.weights, p.means, p.covariances, p.precisions_cholesky), np.float64)
        model.n_features_in_ = p.n_features
        model.converged_, model.n_iter_, model.n_passes_ = True, 0, 0
        model.lower_bound_, model.lower_bounds_ = -math.inf, []
        model.repairs_ = []
        return model

    def _saved_attributes(self, n_components: int, n_features: int) -> dict[str, SavedAttribute]:
        repairs = SavedAttribute(
            (None, 3),
            "i",
            required=False,
            above=-2,
            decode=lambda array: [Repair(*row) for row in array.tolist()],
        )
        return super()._saved_attributes(n_components, n_features) | {
            "repairs_": repairs,
            "n_passes_": SavedAttribute((), "i", required=False, above=-1),
        }

    def aic(self, X: ArrayLike | Source) -> float:
        """Return Akaike's information criterion, 2 p - 2 log L with p parameters; lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a stream
            As in `score`; rows are counted by their weights.

        Returns
        -------
        float
        """
        if isinstance(X, Source):
            return -2 * self._totals(X)[0] + 2 * self._n_parameters()
        X = self._checked(X)
        return -2 * self._mean_log_likelihood(X) * len(X) + 2 * self._n_parameters()

    def bic(self, X: ArrayLike | Source) -> float:
        """Return the Bayesian information criterion, p log N - 2 log L with p parameters.

        Lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a stream
            As in `score`; rows are counted by their weights.

        Returns
        -------
        float
        """
        if isinstance(X, Source):
            total, n = self._totals(X)
            return -2 * total + self._n_parameters() * math.log(n)
        X = self._checked(X)
        penalty = self._n_parameters() * math.log(len(X))
        return -2 * self._mean_log_likelihood(X) * len(X) + penalty

    def icl(self, X: ArrayLike) -> float:
        """Return the integrated completed likelihood criterion, BIC - 2 sum_n log max_k r_nk with
        responsibilities r; lower is better.

        It prefers components that are well separated, as clusters, where BIC prefers a good
        density.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float

        Notes
        -----
        Biernacki, Celeux & Govaert (2000), "Assessing a mixture model for clustering with the
        integrated completed likelihood", IEEE Trans. Pattern Anal. Mach. Intell. 22, 719-725. R's
        mclust has the opposite sign. Some authors take `entropy`, the expected value, instead of
        -sum_n log max_k r_nk.
        """
        certain = np.log1p(-self.uncertainty(X).astype(np.float64, copy=False))
        return self.bic(X) - 2.0 * float(certain.sum())

    def _n_parameters(self) -> int:
        """Return the number of free parameters."""
        n_components, n_features = np.shape(self.means_)
        covariances = layout_of(self.covariance_type).n_parameters(n_components, n_features)
        return covariances + int(n_features) * int(n_components) + int(n_components) - 1

    def _starting_values(self, n_features: int) -> StartingValues:
        """Return the user's starting values, checked; None for those not given."""
        return as_starting_values(
            self.weights_init,
            self.means_init,
            self.precisions_init,
            self.covariances_init,
            self.covariance_type,
            (self.n_components, n_features),
        )

    def _resumed(self) -> Parameters:
        """Return the fitted parameters from which a warm start continues."""
        weights, means, factors, _ = self._as_prepared().density
        return weights, means, self._public("covariances_", factors.shape), factors

    def _check_options(self) -> None:
        super()._check_options()
        as_option(self.degenerate, "degenerate", ("raise", "repair"))
        as_option(self.stopping, "stopping", ("change", "aitken"))
        if self.acceleration is not None:
            as_option(self.acceleration, "acceleration", ("squarem",))

    def _check_n_init(self) -> None:
        if isinstance(self.n_init, str) and self.n_init == "auto":
            return
        if isinstance(self.n_init, str):
            raise ValueError(f'n_init must be "auto" or an int >= 1, got {self.n_init!r}')
        super()._check_n_init()

    def _count_starts(self, n_rows: int, n_features: int) -> int:
        """Return the number of starts of a fit of this size."""
        if self.n_init != "auto":
            return int(self.n_init)
        if self.max_iter == 0 or self.means_init is not None:
            return 1
        K = int(self.n_components)  # a NumPy int of few bits would overflow
        matrices = layout_of(self.covariance_type).has_matrices
        work = n_rows * K * n_features * (n_features if matrices else 1)
        return min(2 * K - 1, MAX_STARTS) if work <= QUICK_WORK else 1

    def _identity(self) -> dict[str, object]:
        return super()._identity() | {"n_init": self.n_init}

    def _start_from_sample(
        self, sample: tuple[Reals, Floats | None], given: StartingValues, control: Control
    ) -> StartingValues:
        """Return the parameters of the best fit of a sample; the given values if none succeeds, so
        that the start is made on all rows."""
        starts = self.n_init
        if starts == "auto":
            is_one = self.max_iter == 0 or self.means_init is not None
            starts = 1 if is_one else min(2 * int(self.n_components) - 1, MAX_STARTS)
        X, weight = sample
        try:
            parameters, *_ = _core.fit(
                X,
                sample_weight=weight,
                covariance_type=self.covariance_type,
                n_components=self.n_components,
                init_params=self.init_params,
                n_init=int(starts),
                seed=control.seed,
                given=given,
                tol=float(self.tol),
                reg_covar=float(self.reg_covar),
                max_iter=int(self.max_iter),
                n_threads=_threads.for_passes(
                    self.n_threads,
                    self.covariance_type,
                    len(X),
                    self.n_components,
                    X.shape[1],
                    n_passes=_threads.PASSES,
                ),
                repair=self.degenerate == "repair",
                accelerate=self.acceleration is not None,
                stopping=self.stopping,
            )
        except ValueError:
            return given
        return parameters

    def _estimate(
        self,
        X: Reals,
        weight: Floats | None,
        n_threads: int,
        progress: Progress | None,
        control: Control,
    ) -> Estimate:
        resume = self._resumes(X.shape[1]) and control.resume is None
        given = self._resumed() if resume else self._starting_values(X.shape[1])
        n_init = 1 if resume else self._count_starts(*X.shape)
        is_complete = given[0] is not None and given[1] is not None and given[3] is not None
        if control.sample is not None and not is_complete:
            n_init = 1
            if control.resume is None:
                given = self._start_from_sample(control.sample, given, control)
        parameters, bounds, converged, found, n_passes = _core.fit(
            X,
            sample_weight=weight,
            covariance_type=self.covariance_type,
            n_components=self.n_components,
            init_params=self.init_params,
            n_init=n_init,
            seed=control.seed,
            given=given,
            tol=float(self.tol),
            reg_covar=float(self.reg_covar),
            max_iter=int(self.max_iter),
            lower_bound=float(self.lower_bound_) if resume else -math.inf,
            n_threads=n_threads,
            report=progress,
            repair=self.degenerate == "repair",
            watch=control.watch,
            resume=control.resume,
            accelerate=self.acceleration is not None,
            stopping=self.stopping,
        )
        repairs = [Repair(*repair) for repair in found]
        if repairs:
            listed = "; ".join(map(str, repairs[:3])) + ("; ..." if len(repairs) > 3 else "")
            warn_caller(
                f"degenerate components were repaired: {listed}; all {len(repairs)} repair(s) are "
                "in repairs_"
            )
        others = {"repairs_": repairs, "n_passes_": n_passes}
        return Estimate(parameters, bounds, converged, others)
