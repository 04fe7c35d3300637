"""Fitted models in files: options as JSON, arrays in their own dtype. Reading a file never runs
code.

A file contains the constructor parameters (arrays as "option_<name>") and the fitted attributes by
name. Reading checks the contents like user input. Writing does the same, so that every file written
can be read."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._estimator import as_random, check_fitted
from ._files import load_object, save_arrays
from ._scoring import FACTORS
from ._validation import as_floating, as_positive, check_finite

if TYPE_CHECKING:
    from ._fitted import FittedMixture, SavedAttribute

FORMAT = 1
OPTION = "option_"  # prefix of constructor parameters that are arrays

Model = TypeVar("Model", bound="FittedMixture")
_DTYPES = {"f": (np.float32, np.float64), "i": (np.int64,), "b": (np.bool_,)}


def save_model(model: FittedMixture, path: str | Path) -> None:
    """Write a fitted model; ValueError if the file could not be read again."""
    check_fitted(model, "means_", FACTORS)
    options, arrays = _options_of(model)
    attributes = model._saved_attributes(*np.shape(model.means_))
    fitted = {
        name: _encoded(getattr(model, name), attribute, name)
        for name, attribute in attributes.items()
        if hasattr(model, name)
    }
    meta: dict[str, object] = {"options": options}
    if hasattr(model, "feature_names_in_"):
        meta["feature_names_in_"] = list(model.feature_names_in_)
    _check(model, meta, fitted)
    _ = model.parameters  # checks the values
    save_arrays(path, kind_of_class(type(model)), FORMAT, meta, arrays | fitted)


def load_model(cls: type[Model], path: str | Path) -> Model:
    """Read a model of this class or a subclass, written by `save_model`; ValueError for any other
    file."""

    def build(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Model:
        names = [name for name in arrays if name.startswith(OPTION)]
        given = {name.removeprefix(OPTION): arrays.pop(name) for name in names}
        model = cls(**meta["options"], **given)
        missing = model.get_params(deep=False).keys() - meta["options"].keys() - given.keys()
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} missing among its options")
        model._check_options()
        _check_for_fit(model)
        _check(model, meta, arrays)
        attributes = model._saved_attributes(*arrays["means_"].shape)
        model._set_made({name: attributes[name].decode(array) for name, array in arrays.items()})
        if "feature_names_in_" in meta:
            model.feature_names_in_ = np.array(meta["feature_names_in_"], dtype=object)
        _ = model.parameters  # checks the values
        return model

    return load_object(path, kind_of_class(cls), FORMAT, build)


def kind_of_class(cls: type[FittedMixture]) -> str:
    """Return the kind of a file: the fusedgmm class that `cls` is or extends."""
    own = next(base for base in cls.__mro__ if base.__module__.startswith(f"{__package__}._"))
    return f"fusedgmm.{own.__name__}"


def _check_for_fit(model: FittedMixture) -> None:
    """Raise an error for invalid constructor parameters that only the next fit would check. For
    starting values and priors, whose shapes depend on the data of that fit, check only the
    numbers."""
    as_random(model.random_state)
    for name, value in model.get_params(deep=False).items():
        starting = name.endswith("_init") and name != "n_init"
        if value is not None and (starting or name in ("mean_prior", "covariance_prior")):
            check_finite(np.atleast_1d(as_floating(value, name)), name)
        if value is not None and name == "degrees_of_freedom_prior":
            as_positive(value, name)


def _options_of(model: FittedMixture) -> tuple[dict[str, object], dict[str, NDArray[Any]]]:
    """Return the constructor parameters: those that JSON can hold, and arrays."""
    plain: dict[str, object] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in model.get_params(deep=False).items():
        if isinstance(value, (np.random.RandomState, np.random.Generator)):
            plain[name] = None
        elif value is None or isinstance(value, (bool, str)):
            plain[name] = value
        elif isinstance(value, np.bool_):
            plain[name] = bool(value)
        elif isinstance(value, Integral):
            plain[name] = int(value)
        elif isinstance(value, Real):
            plain[name] = float(value)
        else:
            try:
                arrays[OPTION + name] = as_floating(value, name)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{name}={value!r} cannot be saved") from error
    return plain, arrays


def _encoded(value: object, attribute: SavedAttribute, name: str) -> NDArray[Any]:
    """Return a fitted attribute as an array; users may have replaced it by a list."""
    array: NDArray[Any]
    if attribute.kind == "f":
        array = as_floating(value, name)
    else:
        array = np.asarray(value, dtype=_DTYPES[attribute.kind][0])
    if array.size == 0:  # an empty list has one axis
        return array.reshape([n or 0 for n in attribute.shape])
    # lower bounds of scikit-learn's tied Bayesian models are arrays of size 1
    if attribute.shape == () and array.size == 1:
        return array.reshape(())
    return array.reshape(-1) if attribute.shape == (None,) else array


def _check(model: FittedMixture, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Raise ValueError unless the fitted attributes are complete and consistent."""
    means = arrays.get("means_")
    if means is None or means.ndim != 2 or 0 in means.shape:
        raise ValueError("there is no means_ of shape (n_components, n_features)")
    attributes = model._saved_attributes(*means.shape)
    for name in arrays:
        if name not in attributes:
            raise ValueError(f"{name} is not an attribute of {type(model).__name__}")
    for name, attribute in attributes.items():
        if name in arrays:
            _check_array(arrays[name], attribute, name)
        elif attribute.required:
            raise ValueError(f"{name} is missing")
    if arrays["n_features_in_"] != means.shape[1]:
        raise ValueError(f"n_features_in_ must be {means.shape[1]}")
    names = meta.get("feature_names_in_")
    if names is not None and not (
        isinstance(names, list)
        and len(names) == means.shape[1]
        and all(isinstance(name, str) for name in names)
    ):
        raise ValueError(f"feature_names_in_ must be {means.shape[1]} strings")


def _check_array(array: NDArray[Any], attribute: SavedAttribute, name: str) -> None:
    expected = tuple("n" if n is None else n for n in attribute.shape)
    fits = len(expected) == array.ndim and all(
        n in ("n", found) for n, found in zip(expected, array.shape, strict=True)
    )
    if not fits or array.dtype not in _DTYPES[attribute.kind]:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}, expected {expected} of "
            f"{' or '.join(np.dtype(dtype).name for dtype in _DTYPES[attribute.kind])}"
        )
    if name == "lower_bound_" and array == -np.inf:  # before the first iteration
        return
    check_finite(np.atleast_1d(array), name)
    if not (array > attribute.above).all():
        raise ValueError(f"{name} must be greater than {attribute.above}, got {array.min()}")
