"""scikit-learn's estimator conventions, without importing it."""

from __future__ import annotations

import inspect
import sys
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._typing import Random
from ._validation import warn_caller

_lock = Lock()


class ConvergenceWarning(UserWarning):
    """A fit stopped before it converged. Replaced by scikit-learn's own class once that is
    loaded."""


class NotFittedError(ValueError, AttributeError):
    """The model is not fitted. Replaced by scikit-learn's own class once that is loaded."""


def sklearn_counterpart(kind: type) -> type:
    """Return scikit-learn's class of the same name if it is loaded, so that users can catch that
    one."""
    theirs = sys.modules.get("sklearn.exceptions")
    return kind if theirs is None else getattr(theirs, kind.__name__)


class _SklearnAttribute:
    """An attribute that scikit-learn's base class provides; without it, it does not exist."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, model: object, kind: type) -> Any:
        if model is not None and _join_sklearn():
            return getattr(model, self._name)
        raise AttributeError(f"{kind.__name__!r} object has no attribute {self._name!r}")


class _WithoutSklearn:
    """get_params, set_params and repr from the constructor's signature."""

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the constructor.

        Parameters
        ----------
        deep : bool, default=True
            Ignored: no parameter is an estimator.

        Returns
        -------
        params : dict
            The values by name.
        """
        return {name: getattr(self, name) for name in sorted(self._parameters())}

    def set_params(self, **params: object) -> Self:
        """Set parameters of the constructor.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A name is unknown; nothing has been set.
        """
        known = self._parameters()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. "
                    f"Valid parameters are: {sorted(known)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name, parameter in self._parameters().items()
            if repr(getattr(self, name)) != repr(parameter.default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    # Attributes that scikit-learn's tools read, perhaps of a model created before they were loaded.
    # They are listed one by one, because __getattr__ would slow down every attribute of the class.
    __sklearn_clone__ = _SklearnAttribute()
    __sklearn_tags__ = _SklearnAttribute()
    _repr_html_ = _SklearnAttribute()
    _repr_mimebundle_ = _SklearnAttribute()
    get_metadata_routing = _SklearnAttribute()
    set_fit_request = _SklearnAttribute()
    set_score_request = _SklearnAttribute()


class Estimator(_WithoutSklearn):
    """An estimator that inherits from scikit-learn's base classes once scikit-learn is loaded.

    Importing scikit-learn takes a second and also imports SciPy. A program that passes a mixture to
    scikit-learn has loaded it already; the mixture then has tags, metadata routing, an HTML
    representation and isinstance like scikit-learn's own classes.
    """

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        _join_sklearn()
        return super().__new__(cls)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_format": 1}

    def __setstate__(self, state: dict[str, object]) -> None:
        state = dict(state)
        if state.pop("_format", None) != 1:
            raise ValueError(
                f"this {type(self).__name__} was pickled by another version of fusedgmm, in a "
                "format that this one does not know"
            )
        vars(self).update(state)


def _join_sklearn() -> bool:
    """Let `Estimator` inherit from scikit-learn's classes if they are loaded; return whether it
    does."""
    base = sys.modules.get("sklearn.base")
    if base is None or not hasattr(base, "DensityMixin"):  # not loaded, or not completely
        return False
    with _lock:
        if Estimator.__bases__ == (_WithoutSklearn,):
            Estimator.__bases__ = (base.DensityMixin, base.BaseEstimator)
            for cls in _subclasses(Estimator):  # adds set_fit_request and similar methods
                super(Estimator, cls).__init_subclass__()  # type: ignore[misc]
    return True


def _subclasses(cls: type) -> set[type]:
    below: set[type] = set(cls.__subclasses__())
    return below.union(*map(_subclasses, below))


def check_fitted(estimator: Estimator, *needed: str) -> None:
    """Raise unless the model has the attributes: NotFittedError if it has no parameters at all,
    AttributeError, as in scikit-learn, if only others have been set."""
    attributes = vars(estimator)
    for missing in needed:
        if missing not in attributes and not hasattr(estimator, missing):
            break
    else:
        return
    kind = type(estimator).__name__
    present = [name for name in _PARAMETERS if name in attributes]
    if not present:
        raise sklearn_counterpart(NotFittedError)(
            f"This {kind} instance is not fitted yet. Call 'fit' with appropriate arguments before "
            "using this estimator."
        )
    raise AttributeError(
        f"{kind!r} object has no attribute {missing!r}, only {', '.join(present)}; "
        "GaussianMixture.from_parameters makes a complete model from covariances or precisions"
    )


_PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


# ---- feature names ----


def feature_names(X: object) -> np.ndarray[Any, np.dtype[np.object_]] | None:
    """Return the column names of a data frame if all are strings, or None if none is."""
    if isinstance(X, np.ndarray):
        return None
    # the columns of an Arrow table are the data themselves
    columns = getattr(X, "column_names", None)
    columns = columns if isinstance(columns, list) else getattr(X, "columns", None)
    if columns is None:
        return None
    names = np.asarray(columns, dtype=object)
    if names.ndim != 1 or not len(names):
        return None
    kinds = sorted({type(name).__qualname__ for name in names})
    if len(kinds) > 1 and "str" in kinds:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your "
            f"input has {kinds} as feature name / column name types. If you want feature names to "
            "be stored and validated, you must convert them all to strings, by using X.columns = "
            "X.columns.astype(str) for example. Otherwise you can remove feature / column names "
            "from your input data, or convert them all to a non-string data type."
        )
    return names if kinds == ["str"] else None


def check_feature_names(estimator: Estimator, X: ArrayLike) -> None:
    """Raise or warn, with scikit-learn's messages, if the names differ from those of the fit."""
    fitted = getattr(estimator, "feature_names_in_", None)
    if type(X) is np.ndarray and fitted is None:
        return  # neither has names
    names, kind = feature_names(X), type(estimator).__name__
    if names is None and fitted is None:
        return
    if fitted is None:
        warn_caller(f"X has feature names, but {kind} was fitted without feature names")
    elif names is None:
        warn_caller(
            f"X does not have valid feature names, but {kind} was fitted with feature names"
        )
    elif list(names) != list(fitted):
        unseen, missing = sorted(set(names) - set(fitted)), sorted(set(fitted) - set(names))
        message = "The feature names should match those that were passed during fit.\n"
        if unseen:
            message += "Feature names unseen at fit time:\n" + _listed(unseen)
        if missing:
            message += "Feature names seen at fit time, yet now missing:\n" + _listed(missing)
        if not unseen and not missing:
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)


def _listed(names: list[str]) -> str:
    return "".join(f"- {name}\n" for name in names[:5]) + ("- ...\n" if len(names) > 5 else "")


# ---- random_state ----


def as_random(random_state: object) -> Random:
    """Return a RandomState or Generator, given None, an int or one of the two."""
    if random_state is None or random_state is np.random:
        return np.random.mtrand._rand  # NumPy's global state, as in scikit-learn
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return np.random.RandomState(random_state)
    raise ValueError(
        f"random_state must be None, an int, a RandomState or a Generator, got {random_state!r}"
    )


def as_seed(random_state: object) -> int:
    """Return the uint64 seed of a fit: an int itself, or a number drawn from the generator."""
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**32:
            raise ValueError(f"random_state must be between 0 and 2**32 - 1, got {random_state}")
        return int(random_state)
    random = as_random(random_state)
    draw = random.integers if isinstance(random, np.random.Generator) else random.randint
    return int(draw(0, 2**64, dtype=np.uint64))
