"""What a mixture does once it is fitted: predict, sample, save, and convert to other forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core, _threads, stream
from ._chunks import Chunk, Chunks
from ._covariance import layout_of
from ._estimator import as_random, check_feature_names, check_fitted
from ._parameters import MixtureParameters
from ._scoring import FACTORS, Scored
from ._sklearn import HOMES, original
from ._typing import Floats, Labels, Output, RandomState, Reals
from ._validation import (
    as_data,
    as_integer,
    as_option,
    as_sample_weight,
    check_finite,
    check_n_features,
    check_shape,
)
from .stream import Source

# weights, means, covariances and the factors of the precisions
Parameters: TypeAlias = tuple[Floats, Floats, Floats, Floats]
_PART = 1 << 20  # responsibilities that are in memory at a time


_OUTPUTS: dict[str, Output] = {
    "predict": "labels",
    "predict_proba": "responsibilities",
    "score_samples": "log_likelihood",
}


def _fitted_attributes(model: object) -> dict[str, Any]:
    """Return a deep copy of the fitted attributes, by name."""
    public = (item for item in vars(model).items() if item[0].endswith("_"))
    return {name: deepcopy(value) for name, value in public if not name.startswith("_")}


def _plain(array: NDArray[Any]) -> Any:
    return array if array.ndim else array.item()


class SavedAttribute(NamedTuple):
    """A fitted attribute in a file: its shape (None: any length), and the allowed values."""

    shape: tuple[int | None, ...]
    kind: Literal["f", "i", "b"] = "f"  # real numbers, ints, or bools
    required: bool = True
    above: float = -math.inf  # a strict lower limit of all values
    decode: Callable[[NDArray[Any]], Any] = _plain  # converts the array to the attribute


def in_dtype(value: object, dtype: DTypeLike, name: str) -> object:
    """Convert an array, or a tuple of arrays, to the data's dtype; return other objects
    unchanged."""
    if isinstance(value, tuple):
        return tuple(in_dtype(part, dtype, name) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    array = np.array(value, dtype=dtype)  # a copy: the model must not keep a user's array
    if not np.isfinite(array).all():
        raise ValueError(
            f"{np.dtype(dtype)} cannot hold the {name} of this mixture; scale the data"
            + (", or convert them to float64" if dtype == np.float32 else "")
        )
    return array


class FittedMixture(Scored):
    """A mixture with given parameters, whatever fitted them."""

    random_state: RandomState
    n_threads: int | None

    precisions_: Reals
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def _check_options(self) -> None:
        """Check every option that does not depend on data; ValueError names the invalid one."""
        raise NotImplementedError

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

    def uncertainty(self, X: ArrayLike) -> Reals:
        """Return how uncertain the component of each row is: one minus its largest responsibility.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        uncertainty : array of shape (n_samples,)
            In the dtype of `X`, between 0 and 1 - 1 / n_components; the probability that `predict`
            is wrong, if the model is right. Computed as the sum of the other responsibilities, so
            that small values keep their precision. NaN for rows too far from every component, see
            `predict_proba`.
        """
        rows = self._checked(X)
        uncertainty = np.empty(len(rows), dtype=rows.dtype)
        for part, responsibilities in self._responsibilities(rows):
            best = responsibilities.argmax(axis=1)[:, None]
            nowhere = np.take_along_axis(responsibilities, best, axis=1)[:, 0] == 0.0
            np.put_along_axis(responsibilities, best, 0.0, axis=1)
            uncertainty[part] = np.where(nowhere, np.nan, responsibilities.sum(axis=1))
        return uncertainty

    def entropy(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the entropy of the responsibilities, summed over the rows, in nats.

        It measures how much the components overlap: 0 if every row belongs to one component with
        certainty, at most n_samples log(n_components).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        float
            The sum over rows and components of -r log r, with responsibilities r (Celeux &
            Soromenho, 1996, "An entropy criterion for assessing the number of clusters in a mixture
            model", J. Classification 13, 195-212).
        """
        rows = self._checked(X)
        weight = as_sample_weight(sample_weight, len(rows))
        total = 0.0
        for part, responsibilities in self._responsibilities(rows):
            r = responsibilities.astype(np.float64, copy=False)
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = np.where(r > 0.0, -r * np.log(r), 0.0).sum(axis=1)
            total += float(terms.sum() if weight is None else weight[part] @ terms)
        return total

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
        self, X: ArrayLike | Source, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the (weighted) mean log-likelihood of the rows, in nats.

        Without weights it is identical, bit for bit, to `score_samples(X).mean()`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or a stream
            For rows that come in chunks, a source of `fusedgmm.stream`, with their weights.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        float
        """
        if isinstance(X, Source):
            total, weight_sum = self._totals(X)
            return total / weight_sum
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

    def predict_chunks(
        self,
        chunks: Any,
        method: Literal["predict", "predict_proba", "score_samples"] = "predict",
    ) -> Iterator[Labels | Reals]:
        """Predict for rows that come in chunks, one chunk at a time.

        Parameters
        ----------
        chunks : stream
            As in `fit_chunks`, or an iterator, since it is read only once. Sample weights are
            ignored.
        method : {"predict", "predict_proba", "score_samples"}, default="predict"
            What to return.

        Returns
        -------
        iterator of arrays
            For each chunk, what the method returns for its rows.

        Examples
        --------
        >>> from fusedgmm import GaussianMixture
        >>> model = GaussianMixture(2, random_state=0).fit([[0.0], [1.0], [8.0], [9.0]])
        >>> labels = list(model.predict_chunks([[[0.5]], [[8.5], [0.5]]]))
        >>> [len(part) for part in labels], bool(labels[0][0] == labels[1][1])
        ([1, 2], True)
        """
        check_fitted(self, FACTORS)
        as_option(method, "method", tuple(_OUTPUTS))
        source = stream.chunks(chunks, once=True)
        return (found for _, found in self._outputs(source, _OUTPUTS[method]))

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
        check_fitted(self, "weights_", "means_", "covariances_")
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
        check_fitted(self, FACTORS)
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
        vars(own).update(_fitted_attributes(model))
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
        vars(model).update(_fitted_attributes(self))
        return model

    def _checked(self, X: ArrayLike) -> Reals:
        """Check and convert `X` for the fitted model."""
        check_fitted(self, FACTORS)
        rows = as_data(X)  # first: for invalid data, the errors about names are less specific
        check_feature_names(self, X)
        shape = np.shape(self.means_)
        if len(shape) == 2:  # others are refused when the attributes are checked
            check_n_features(rows, shape[1], type(self).__name__)
        return rows

    def _outputs(self, source: Source, output: Output) -> Iterator[tuple[Chunk, Any]]:
        """Yield the chunks of a stream with the output for their rows."""
        d = int(np.shape(self.means_)[1])
        for chunk in Chunks(source, d, type(self).__name__):
            if chunk.number == 0:
                check_feature_names(self, chunk.original)
            try:
                yield chunk, self._run(chunk.X, output)
            except ValueError as error:
                raise ValueError(f"{chunk.where()}: {error}{chunk.first_bad_row()}") from None

    def _totals(self, source: Source) -> tuple[float, float]:
        """Return the log-likelihood summed over the weighted rows of a stream, and the sum of the
        weights."""
        check_fitted(self, FACTORS)
        totals, weights = [], []
        for chunk, values in self._outputs(source, "log_likelihood"):
            if chunk.weight is None:
                totals.append(float(values.sum(dtype=np.float64)))
                weights.append(float(len(values)))
            else:
                used = chunk.weight > 0  # rows of weight 0 are excluded, even if -inf
                totals.append(float(chunk.weight[used] @ values[used].astype(np.float64)))
                weights.append(float(chunk.weight.sum()))
        if not sum(weights) > 0:
            raise ValueError("the stream has no rows of positive weight")
        return math.fsum(totals), math.fsum(weights)

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
        prepared = self._as_prepared()
        scorer = prepared.scorer(X.dtype)
        if self.n_threads is None:
            n_threads = _threads.of_worth(scorer.worth_threads(len(X)))
        else:
            n_threads = _threads.resolve(self.n_threads)
        try:
            answer = scorer.score(X, n_threads, output)
        except _core.NotFiniteError:
            check_finite(X)  # which names the row
            raise
        scale = prepared.density.log_scale
        if output == "log_likelihood" and scale != 0.0:
            answer += answer.dtype.type(scale)
        return answer

    def _responsibilities(self, X: Reals) -> Iterator[tuple[slice, Reals]]:
        """Yield the responsibilities of converted rows in parts of bounded size, with their
        place."""
        size = max(1, _PART // len(self.weights_))
        for begin in range(0, len(X), size):
            part = slice(begin, begin + size)
            try:
                yield part, self._run(X[part], "responsibilities")
            except ValueError:
                check_finite(X)  # which counts the rows from the beginning
                raise

    def _mean_log_likelihood(self, X: Reals, weight: Floats | None = None) -> float:
        values = self._run(X, "log_likelihood")
        if weight is not None:
            values, weight = values[weight > 0], weight[weight > 0]  # excluded, even if -inf
            # scaling by a power of two is exact, and keeps the sum in range
            weight = np.ldexp(weight, -np.frexp(weight.max())[1])
        return float(np.average(values.astype(np.float64, copy=False), weights=weight))

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
        return {name: in_dtype(array, dtype, name) for name, array in arrays.items()}

    def _assign(self, parameters: Parameters, dtype: DTypeLike) -> None:
        """Set the parameter attributes in the data's dtype."""
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is an error in in_dtype
            self._set_made(self._converted(parameters, dtype))
