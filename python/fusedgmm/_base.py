"""The common base of all mixtures: scikit-learn's methods, implemented by passes of the core."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple, Self, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core, _threads
from ._covariance import COVARIANCE_TYPES, layout_of
from ._estimator import (
    ConvergenceWarning,
    Estimator,
    as_random,
    check_feature_names,
    check_fitted,
    feature_names,
    sklearn_counterpart,
)
from ._parameters import MixtureParameters
from ._sklearn import HOMES, original
from ._typing import CovarianceType, Floats, InitParams, Labels, Output, RandomState, Reals
from ._validation import (
    INIT_PARAMS,
    as_data,
    as_integer,
    as_nonnegative,
    as_option,
    as_sample_weight,
    check_finite,
    check_n_features,
    check_range,
    check_shape,
)

# weights, means, covariances and the factors of the precisions
Parameters: TypeAlias = tuple[Floats, Floats, Floats, Floats]


PASSES = 20  # typical number of passes of a fit, which decides how many threads are worth using


class Progress:
    """scikit-learn's verbose output: level 1 prints the steps, level 2 also their times."""

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


def _fitted(model: object) -> dict[str, Any]:
    """Return a deep copy of the fitted attributes, by name."""
    public = (item for item in vars(model).items() if item[0].endswith("_"))
    return {name: deepcopy(value) for name, value in public if not name.startswith("_")}


@dataclass(frozen=True)
class Estimate:
    """The result of a fit: the parameters of the best start and its lower bounds, one per
    iteration."""

    parameters: Parameters
    lower_bounds: list[float]
    converged: bool
    others: dict[str, object] = field(default_factory=dict)  # attributes of one class of mixture


def _plain(array: NDArray[Any]) -> Any:
    return array if array.ndim else array.item()


class SavedAttribute(NamedTuple):
    """A fitted attribute in a file: its shape (None: any length), and the allowed values."""

    shape: tuple[int | None, ...]
    kind: Literal["f", "i", "b"] = "f"  # real numbers, ints, or bools
    required: bool = True
    above: float = -math.inf  # a strict lower limit of all values
    decode: Callable[[NDArray[Any]], Any] = _plain  # converts the array to the attribute


def _in_dtype(value: object, dtype: DTypeLike, name: str) -> object:
    """Convert an array, or a tuple of arrays, to the data's dtype; return other objects
    unchanged."""
    if isinstance(value, tuple):
        return tuple(_in_dtype(part, dtype, name) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    array = np.array(value, dtype=dtype)  # a copy: the model must not keep a user's array
    if not np.isfinite(array).all():
        raise ValueError(
            f"{np.dtype(dtype)} cannot hold the {name} of this mixture; scale the data"
            + (", or convert them to float64" if dtype == np.float32 else "")
        )
    return array


class BaseMixture(Estimator):
    """A Gaussian mixture; subclasses implement the fit."""

    n_components: int
    covariance_type: CovarianceType
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int | Literal["auto"]
    init_params: InitParams
    random_state: RandomState
    warm_start: bool
    verbose: int
    verbose_interval: int
    n_threads: int | None

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

    def _estimate(
        self, X: Reals, weight: Floats | None, n_threads: int, progress: Progress | None
    ) -> Estimate:
        """Fit converted rows without setting attributes, so that a failed fit leaves the last one
        unchanged."""
        raise NotImplementedError

    def _density(self) -> tuple[Reals, Reals, Reals, float]:
        """Return what scoring rows needs: weights that sum to one, means, factors of precisions,
        converted by the core if necessary; and the logarithm of the constant by which the weights
        were divided."""
        return self.weights_, self.means_, self.precisions_cholesky_, 0.0

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture and keep the best of `n_init` starts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite real numbers, at least two rows and at least `n_components`. float32 and float64
            data are not copied, whatever their memory layout.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative, finite weights, not all zero. None: every row has weight 1.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            The data, the weights or a parameter are invalid, or a covariance is singular. The
            model is unchanged then.

        Warns
        -----
        ConvergenceWarning
            The fit did not converge within `max_iter`.
        UserWarning
            A component lost all its rows or was repaired, or `reg_covar` dominates the covariances.
        """
        self._fit(X, sample_weight)
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Labels:
        """Fit the mixture and return the labels that `predict` gives for the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None
            As in `fit`; errors and warnings are also the same.

        Returns
        -------
        labels : array of shape (n_samples,), int64
        """
        return self._run(self._fit(X, sample_weight), "labels")

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : array of shape (n_samples,), int64
        """
        return self._run(self._checked(X), "labels")

    def predict_proba(self, X: ArrayLike) -> Reals:
        """Return the responsibilities: the probability of each component for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : array of shape (n_samples, n_components)
            In the dtype of `X`. Every row sums to one, or is zero if it is so far from every
            component (1e18 standard deviations in float32, 1e150 in float64) that its density is
            zero.
        """
        return self._run(self._checked(X), "responsibilities")

    def score_samples(self, X: ArrayLike) -> Reals:
        """Return the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_likelihood : array of shape (n_samples,)
            In the dtype of `X`; -inf for rows too far from every component, see `predict_proba`.
        """
        return self._run(self._checked(X), "log_likelihood")

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the (weighted) mean log-likelihood of the rows, in nats.

        Without weights it is identical, bit for bit, to `score_samples(X).mean()`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        float
        """
        X = self._checked(X)
        weight = as_sample_weight(sample_weight, len(X))
        if weight is None:
            # in float32, too: users compare the two, and float64 would differ in the last digit
            values = self._run(X, "log_likelihood")
            with np.errstate(over="ignore"):
                mean = float(values.mean())
            # the sum may exceed float32 although the mean does not
            return mean if mean > -math.inf else float(values.mean(dtype=np.float64))
        return self._mean_log_likelihood(X, weight)

    def sample(self, n_samples: int = 1) -> tuple[Floats, Labels]:
        """Draw random rows from the fitted mixture, using `random_state`.

        With an int as `random_state`, repeated calls return the same rows; with a RandomState or
        Generator they differ.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : array of shape (n_samples, n_features), float64
        y : array of shape (n_samples,), int64
            The component from which each row was drawn, in increasing order.

        Raises
        ------
        ValueError
            `n_samples` is not an int of at least 1.
        """
        check_fitted(self)
        if isinstance(n_samples, Integral) and n_samples < 1:  # scikit-learn's message
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one "
                "sample."
            )
        n_samples = as_integer(n_samples, "n_samples", 1)
        random = as_random(self.random_state)
        weights = np.asarray(self.weights_, dtype=np.float64)
        if np.asarray(self.weights_).dtype != np.float64:  # float32 sums may exceed one
            weights = weights / weights.sum()
        means = np.asarray(self.means_, dtype=np.float64)
        layout = layout_of(self.covariance_type)
        covariances = layout.each(np.asarray(self.covariances_, dtype=np.float64), len(means))
        counts = random.multinomial(n_samples, weights)
        rows = []
        for mean, covariance, count in zip(means, covariances, counts, strict=True):
            if layout.has_matrices:
                rows.append(random.multivariate_normal(mean, covariance, int(count)))
            else:
                noise = random.standard_normal(size=(int(count), len(mean)))
                rows.append(mean + noise * np.sqrt(covariance))
        return np.vstack(rows), np.repeat(np.arange(len(means), dtype=np.int64), counts)

    @property
    def parameters(self) -> MixtureParameters:
        """The fitted weights, means and covariances, as float64. For a Bayesian mixture these are
        expected values under the posterior.

        Raises
        ------
        NotFittedError
            The model has not been fitted.
        ValueError
            Attributes have been set to values that do not define a mixture.

        Examples
        --------
        >>> import numpy as np
        >>> from fusedgmm import GaussianMixture
        >>> model = GaussianMixture().fit([[1.0], [3.0]])
        >>> model.parameters.means.tolist()
        [[2.0]]
        >>> copy = GaussianMixture.from_parameters(model.parameters)
        >>> bool(copy.score([[1.0]]) == model.score([[1.0]]))
        True
        """
        check_fitted(self)
        return MixtureParameters(
            self._public("weights_"),
            self._public("means_"),
            self._public("covariances_"),
            self._public("precisions_cholesky_"),
            self.covariance_type,
        )

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a .npz file, atomically.

        Parameters
        ----------
        path : str or pathlib.Path
            File name ending in .npz. An existing file is replaced.

        Raises
        ------
        NotFittedError
            The model has not been fitted.
        TypeError
            A constructor parameter is neither a number, a string, None nor an array.
        ValueError
            The name does not end in .npz, or attributes have been set to values that do not define
            a mixture.
        OSError
            The file cannot be written.

        Notes
        -----
        The file contains the constructor parameters and the fitted attributes in their own dtype,
        so the results of the loaded model are identical bit for bit. A RandomState or Generator is
        saved as None. Unlike a pickle, the file cannot run code when it is loaded.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from fusedgmm import GaussianMixture
        >>> model = GaussianMixture(random_state=0).fit([[1.0], [3.0]])
        >>> with TemporaryDirectory() as folder:
        ...     model.save(Path(folder) / "model.npz")
        ...     loaded = GaussianMixture.load(Path(folder) / "model.npz")
        >>> loaded, loaded.means_.tolist()
        (GaussianMixture(random_state=0), [[2.0]])
        """
        from ._model_files import save_model  # imported here: zipfile and json take 6 ms

        save_model(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model written by `save`. Never runs code from the file.

        Parameters
        ----------
        path : str or pathlib.Path

        Returns
        -------
        model : fitted model of this class

        Raises
        ------
        ValueError
            The file is of another kind, of another class of model, of a newer format, or damaged;
            the message names the file and the fault.
        OSError
            The file cannot be read.
        """
        from ._model_files import load_model

        return load_model(cls, path)

    def _saved_attributes(self, n_components: int, n_features: int) -> dict[str, SavedAttribute]:
        """Return the attributes that a file has of a fitted model of this size, by name."""
        square = layout_of(self.covariance_type).shape(n_components, n_features)
        return {
            "weights_": SavedAttribute((n_components,)),
            "means_": SavedAttribute((n_components, n_features)),
            "covariances_": SavedAttribute(square),
            "precisions_": SavedAttribute(square),
            "precisions_cholesky_": SavedAttribute(square),
            "converged_": SavedAttribute((), "b"),
            "n_iter_": SavedAttribute((), "i", above=-1),
            "n_features_in_": SavedAttribute((), "i"),
            "lower_bound_": SavedAttribute(()),
            # models of old versions of scikit-learn have none
            "lower_bounds_": SavedAttribute((None,), required=False, decode=np.ndarray.tolist),
        }

    @classmethod
    def from_sklearn(cls, model: Any) -> Self:
        """Convert a model of scikit-learn's class of the same name, fitted or not.

        Parameters
        ----------
        model : sklearn.mixture.GaussianMixture or sklearn.mixture.BayesianGaussianMixture
            An instance of the class with the same name as this one, or of a subclass.

        Returns
        -------
        model : copy of this class

        Raises
        ------
        TypeError
            `model` is an instance of another class.
        """
        if not any(base.__name__ == cls.__name__ for base in type(model).__mro__):
            raise TypeError(f"expected a {cls.__name__}, got a {type(model).__name__}")
        known = cls().get_params(deep=False)
        # not get_params: a subclass may fix some parameters
        own = cls(**{name: getattr(model, name) for name in known if hasattr(model, name)})
        vars(own).update(_fitted(model))
        return own

    def to_sklearn(self) -> Any:
        """Convert this model, fitted or not, to scikit-learn's class of the same name.

        Returns
        -------
        model : copy of scikit-learn's class
            A Generator as `random_state` becomes None, and `n_init="auto"` becomes 1, because
            scikit-learn does not accept these values.

        Raises
        ------
        ImportError
            scikit-learn is not installed.
        """
        name = next(base.__name__ for base in type(self).__mro__ if base.__name__ in HOMES)
        model = original(name, "to_sklearn")()
        known = model.get_params(deep=False)
        # not get_params: a subclass may fix some parameters
        params = {name: getattr(self, name) for name in known if hasattr(self, name)}
        if isinstance(params["random_state"], np.random.Generator):  # not accepted there
            params["random_state"] = None
        if params["n_init"] == "auto":
            params["n_init"] = 1
        model.set_params(**params)
        vars(model).update(_fitted(self))
        return model

    def _checked(self, X: ArrayLike) -> Reals:
        """Check and convert `X` for the fitted model."""
        check_fitted(self)
        rows = as_data(X)  # first: for invalid data, the errors about names are less specific
        check_feature_names(self, X)
        check_n_features(rows, np.shape(self.means_)[1], type(self).__name__)
        return rows

    def _public(self, name: str, shape: tuple[int, ...] | None = None) -> Floats:
        """Return a public attribute for the core; users may have set it."""
        array: Floats = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
        if shape is not None:
            check_shape(array, shape, name)
        return array

    @overload
    def _run(self, X: Reals, output: Literal["labels"]) -> Labels: ...
    @overload
    def _run(self, X: Reals, output: Literal["responsibilities", "log_likelihood"]) -> Reals: ...
    def _run(self, X: Reals, output: Output) -> Labels | Reals:
        """Run one pass over converted rows with the public attributes."""
        weights, means, factors, scale = self._density()
        try:
            answer = _core.score(
                X,
                covariance_type=self.covariance_type,
                weights=weights,
                means=means,
                precisions_cholesky=factors,
                n_threads=_threads.for_passes(
                    self.n_threads, self.covariance_type, len(X), len(weights), X.shape[1]
                ),
                output=output,
            )
        except _core.NotFiniteError:
            check_finite(X)  # which names the row
            raise
        if output == "log_likelihood" and scale != 0.0:
            answer += answer.dtype.type(scale)
        return answer

    def _mean_log_likelihood(self, X: Reals, weight: Floats | None = None) -> float:
        values = self._run(X, "log_likelihood")
        if weight is not None:
            values, weight = values[weight > 0], weight[weight > 0]  # excluded, even if -inf
            # scaling by a power of two is exact, and keeps the sum in range
            weight = np.ldexp(weight, -np.frexp(weight.max())[1])
        return float(np.average(values.astype(np.float64, copy=False), weights=weight))

    def _options(self) -> None:
        """Check every option that does not depend on data; ValueError names the invalid one."""
        as_option(self.covariance_type, "covariance_type", COVARIANCE_TYPES)
        as_option(self.init_params, "init_params", INIT_PARAMS)
        for name, minimum in (
            ("n_components", 1),
            ("max_iter", 0),
            ("verbose_interval", 1),
        ):
            as_integer(getattr(self, name), name, minimum)
        self._check_n_init()
        as_nonnegative(self.tol, "tol")
        as_nonnegative(self.reg_covar, "reg_covar")
        if not isinstance(self.verbose, (bool, np.bool_)):  # True is 1, as in scikit-learn
            as_integer(self.verbose, "verbose", 0)
        if not isinstance(self.warm_start, (bool, np.bool_)):
            raise ValueError(f"warm_start must be True or False, got {self.warm_start!r}")
        if self.n_threads is not None:
            as_integer(self.n_threads, "n_threads", 1)

    def _check_n_init(self) -> None:
        as_integer(self.n_init, "n_init", 1)

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> Reals:
        """Fit, set the attributes, and return the converted rows."""
        self._options()
        original, X = X, as_data(X, min_samples=2)
        names = feature_names(original)
        if len(X) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {len(X)}"
            )
        n_threads = _threads.for_passes(
            self.n_threads,
            self.covariance_type,
            len(X),
            self.n_components,
            X.shape[1],
            n_passes=PASSES,
        )
        weight = as_sample_weight(sample_weight, len(X))
        progress = None
        if self.verbose:
            progress = Progress(int(self.verbose), int(self.verbose_interval), float(self.tol))
        try:
            # data or weights near the ends of the range: the result shows a loss of precision
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                found = self._estimate(X, weight, n_threads, progress)
        except _core.NotFiniteError:
            check_finite(X)  # which names the row
            check_range(X)
            raise
        except ValueError:
            check_range(X)
            raise
        if progress is not None and found.lower_bounds:
            progress.end()
        if self.max_iter == 0:
            check_finite(X)  # perhaps no pass has read it
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is an error in _in_dtype
            fitted = self._converted(found.parameters, X.dtype)
            fitted |= {
                name: _in_dtype(value, X.dtype, name) for name, value in found.others.items()
            }
            self._warn(found.parameters, found.converged)
        vars(self).update(fitted)
        self.converged_ = found.converged
        self.n_iter_ = len(found.lower_bounds)
        self.lower_bound_ = found.lower_bounds[-1] if found.lower_bounds else -math.inf
        self.lower_bounds_ = found.lower_bounds
        self.n_features_in_ = X.shape[1]
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # a fit without names removes the old ones
        return X

    def _resumes(self, n_features: int) -> bool:
        """Return whether a fit continues from the last one. If that has another shape, warn and
        return False."""
        if not (self.warm_start and hasattr(self, "converged_")):
            return False
        shape = layout_of(self.covariance_type).shape(self.n_components, n_features)
        if np.shape(self.means_) == (self.n_components, n_features) and (
            np.shape(self.covariances_) == shape
        ):
            return True
        warnings.warn(
            "warm_start: n_components, covariance_type or the number of features has changed since "
            "the last fit; this fit starts from scratch",
            stacklevel=5,
        )
        return False

    def _warn(self, parameters: Parameters, converged: bool) -> None:
        """Warn of a reg_covar that exceeds the data's variances, an empty component, or no
        convergence."""
        largest = self._largest_variance(parameters)
        if 1e-12 * self.reg_covar < largest < self.reg_covar:
            warnings.warn(
                f"reg_covar={float(self.reg_covar):g} is more than every variance of the data (at "
                f"most {largest:.3g}) and dominates the covariances; scale the data or lower "
                "reg_covar",
                stacklevel=4,
            )
        empty = np.flatnonzero(np.asarray(parameters[0]) == 0.0)
        if len(empty):
            names = ", ".join(map(str, empty))
            warnings.warn(
                f"component(s) {names} of the mixture have weight 0: they lost all their rows. "
                "Use fewer components or another start.",
                stacklevel=4,
            )
        if not converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                sklearn_counterpart(ConvergenceWarning),
                stacklevel=4,
            )

    def _largest_variance(self, parameters: Parameters) -> float:
        """Return the largest variance of a feature under the mixture, minus `reg_covar`."""
        weights, means, covariances, _ = parameters
        variances = layout_of(self.covariance_type).variances(covariances, *means.shape)
        between = weights @ (means - weights @ means) ** 2
        return float((weights @ variances + between).max()) - self.reg_covar

    def _converted(self, parameters: Parameters, dtype: DTypeLike) -> dict[str, object]:
        """Return the parameter attributes by name, in the data's dtype."""
        weights, means, covariances, factors = parameters
        arrays = {
            "weights_": weights,
            "means_": means,
            "covariances_": covariances,
            "precisions_cholesky_": factors,
            "precisions_": layout_of(self.covariance_type).precisions(factors),
        }
        return {name: _in_dtype(array, dtype, name) for name, array in arrays.items()}

    def _assign(self, parameters: Parameters, dtype: DTypeLike) -> None:
        """Set the parameter attributes in the data's dtype."""
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is an error in _in_dtype
            vars(self).update(self._converted(parameters, dtype))
