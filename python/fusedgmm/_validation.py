"""Checks and conversions of what users pass in; every message says what was found and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._typing import Floats, Reals

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data")

_CHUNK_ELEMENTS = 1 << 18
_LARGEST_LAZY = 1e9  # bytes
# What to do about an array that holds no numbers, by the kind of its dtype.
_REMEDIES = {
    "S": "where all are numbers, convert them, for example with numpy.asarray({}, dtype=float)",
    "U": "where all are numbers, convert them, for example with numpy.asarray({}, dtype=float)",
    "M": "subtract a date and divide by a unit first, for example numpy.timedelta64(1, 'D')",
    "m": "divide it by a unit first, for example numpy.timedelta64(1, 'D')",
    "V": "make its fields columns, with numpy.lib.recfunctions.structured_to_unstructured",
}
_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def as_option(value: object, name: str, known: tuple[str, ...]) -> str:
    """Return `value` when it is one of `known`; ValueError listing them otherwise."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
    return value


def as_integer(value: object, name: str, minimum: int) -> int:
    """Return `value` as an int not below `minimum`; bool and non-integers are a ValueError."""
    if type(value) is int and minimum <= value < 2**63:  # quickly, what most are
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{name} must be an int >= {minimum}, got {value!r}")
    if int(value) >= 2**63:
        raise ValueError(f"{name} must be less than 2**63, got {value!r}")
    return int(value)


def _as_float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:  # an int of 400 digits, of either sign
        return np.inf


def as_candidates(n_components: int | Sequence[int]) -> tuple[int, ...]:
    """Return one number of components, or several different ones, as a tuple."""
    if np.ndim(n_components) == 0:
        return (as_integer(n_components, "n_components", 1),)
    several = cast(Sequence[int], n_components)
    candidates = tuple(as_integer(k, "n_components", 1) for k in several)
    if not candidates or len(set(candidates)) < len(candidates):
        raise ValueError(f"n_components must be different numbers, got {n_components!r}")
    return candidates


def as_nonnegative(value: object, name: str) -> float:
    """Return `value` as a finite float >= 0; anything else is a ValueError."""
    if type(value) is float and 0.0 <= value < np.inf:  # quickly, what most are
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number >= 0, got {value!r}")
    number = _as_float(value)
    if not 0.0 <= number < np.inf:
        raise ValueError(f"{name} must be finite and >= 0, got {value!r}")
    return number


def as_finite(value: object, name: str) -> float:
    """Return `value` as a finite float; anything else is a ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {value!r}")
    number = _as_float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def as_positive(value: object, name: str, above: float = 0.0) -> float:
    """Return `value` as a finite float greater than `above`; anything else is a ValueError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number > {above:g}, got {value!r}")
    number = _as_float(value)
    if not above < number < np.inf:
        raise ValueError(
            f"The parameter '{name}' should be greater than {above:g}, but got {number:.3f}."
        )
    return number


def check_shape(array: Reals, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}"
        )


def _from_objects(array: NDArray[np.object_], name: str) -> Floats:
    """Return float64 from an array of Python objects; None and pandas' NA and NaT, as in a data
    frame, become NaN."""
    if array.ndim == 0 and array[()] is not None and not isinstance(array[()], Real):
        raise _no_array(array[()], name)
    result = np.empty(array.shape)
    for index, value in np.ndenumerate(array):
        try:
            if isinstance(value, (str, bytes)):  # float("7") would work, and hide a text column
                raise ValueError(
                    f"it is of type {type(value).__name__!r}; where all are numbers, convert them, "
                    f"for example with numpy.asarray({name}, dtype=float)"
                )
            result[index] = np.nan if value is None else _as_float(value)
        except (TypeError, ValueError) as error:
            if type(value).__name__ in ("NAType", "NaTType"):
                result[index] = np.nan
                continue
            axes = zip(("row", "column"), index, strict=False)
            where = "".join(f", {axis} {i}" for axis, i in axes)
            kind = TypeError if isinstance(error, TypeError) else ValueError
            found = repr(value)
            found = found if len(found) <= 100 else f"{found[:97]}..."
            raise kind(f"{name} holds {found}, no real number{where}: {error}") from None
    return result


def _no_array(value: object, name: str) -> TypeError:
    """Return the error for an object that NumPy does not read as an array, with what to call."""
    if callable(getattr(value, "collect", None)):  # a lazy frame
        remedy = "; call its .collect() first"
    elif isinstance(value, Mapping):
        remedy = f"; pass its columns, for example numpy.column_stack(list({name}.values()))"
    elif isinstance(value, Iterable):  # a generator, a set, a view of a dict
        remedy = f"; make a list of it first: list({name})"
    else:
        remedy = ""
    kind = type(value).__name__
    return TypeError(f"{name} is a {kind}, which NumPy reads as no array of real numbers{remedy}")


def _warn_caller(message: str) -> None:
    """Warn, and show the line outside this package from which it was called."""
    import sys
    import warnings

    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(f"{__package__}."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _check_lazy(X: object, name: str) -> None:
    """Refuse a Dask array or frame that is large, and warn of one whose size nobody knows.

    Reading it gathers all of it in memory. Duck-typed: also xarray's, whose data are Dask's.

    Raises
    ------
    ValueError
        It has more than 1 GB.
    """
    if not (hasattr(X, "__dask_graph__") and hasattr(X, "compute")):
        return
    if getattr(X, "chunks", X) is None:  # xarray's, of an array in memory
        return
    size = np.nan
    with suppress(NotImplementedError):  # of Dask's frames
        nbytes = getattr(X, "nbytes", None)
        size = _as_float(nbytes) if isinstance(nbytes, Real) else np.nan
    kind = f"{name} is a {type(X).__module__.partition('.')[0]} {type(X).__name__}"
    if np.isnan(size):  # as where Dask's chunks are unknown
        _warn_caller(
            f"{kind} of unknown size: all of it is gathered in memory; {name}.compute() does so "
            "without this warning"
        )
    elif size > _LARGEST_LAZY:
        raise ValueError(
            f"{kind} of {size / 1e9:.3g} GB, and all of it would be gathered in memory: "
            f"call {name}.compute() if that is what you want, or take a chunk at a time "
            "(accumulate, then sum and maximize, is a step of EM)"
        )


def as_floating(X: object, name: str = "X") -> Reals:
    """Convert to a native, aligned float32 or float64 array of any shape and strides.

    float32 and float64 are kept (without a copy where possible), float16 becomes float32, and
    bool, integers, long double and objects that are numbers become float64.

    Raises
    ------
    TypeError
        Sparse input; an object that is no number (naming the first).
    ValueError
        String, complex or other non-real dtype, a string among objects; masked values; a Dask
        array of more than 1 GB.
    """
    if type(X) is np.ndarray and (X.dtype is _FLOAT64 or X.dtype is _FLOAT32) and X.flags.aligned:
        return X  # the usual case, and the one where microseconds count
    # duck-typed, so that SciPy need not be installed
    if hasattr(X, "tocsr") or hasattr(X, "tocoo"):
        raise TypeError(
            f"Sparse data was passed for {name}, but dense data is required. "
            "Use '.toarray()' to convert to a dense numpy array."
        )
    _check_lazy(X, name)
    if np.ma.isMaskedArray(X) and np.ma.getmaskarray(X).any():
        raise ValueError(f"Input {name} has masked values; fill or drop them first")
    array = np.asarray(X)
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}")
    if kind not in "biuf":
        raise ValueError(
            f"{name} has dtype {array.dtype}, which holds no plain numbers; "
            + _REMEDIES.get(kind, "convert it to numbers first").format(name)
        )
    target = _FLOAT32 if kind == "f" and itemsize <= 4 else _FLOAT64
    # a long double beyond float64 becomes infinity here, and the finiteness check names it
    with np.errstate(over="ignore"):
        array = array.astype(target, copy=False)
    if array.dtype is not target:
        # the same numbers, whose dtype spells its byte order or carries metadata, fields, a name
        array = array.view(target)
    return array if array.flags.aligned else array.copy()


def check_finite(array: Reals, name: str = "X") -> None:
    """Raise ValueError naming the first NaN or infinity; memory stays at one chunk of rows."""
    if array.size == 0:
        return
    rows = max(1, _CHUNK_ELEMENTS // max(1, array.size // array.shape[0]))
    for begin in range(0, array.shape[0], rows):
        chunk = array[begin : begin + rows]
        # a sum needs no temporary, and no NaN or infinity leaves it finite
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(chunk.sum()):
                continue
        bad = np.argwhere(~np.isfinite(chunk))
        if len(bad) == 0:  # the sum overflowed, the data did not
            continue
        where = tuple(int(i) for i in bad[0])
        found = (
            "NaN or a missing value (null, None)."
            if np.isnan(chunk[where])
            else f"infinity or a value too large for {array.dtype!r}."
        )
        column = "".join(f", column {i}" for i in where[1:])
        # from None: a fit that fails for this row has an error of its own, which says less
        raise ValueError(
            f"Input {name} contains {found} First at row {begin + where[0]}{column}"
        ) from None


def check_weight_sum(weight: Floats) -> None:
    """Raise ValueError where weights whose sum counts, not their ratios alone, leave float64's
    range."""
    with np.errstate(over="ignore"):
        total = float(weight.sum())
    if not 1e-300 < total < 1e305:
        raise ValueError(
            f"sample_weight sums to {total:.3g}, too near the ends of float64's range: scale the "
            "weights"
        )


def check_range(X: Reals) -> None:
    """Raise ValueError where the squares of the data's differences leave their dtype's range; for a
    fit that has failed, whose own message would blame the components."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = float((X.max(axis=0).astype(np.float64) - X.min(axis=0)).max())
        square = np.float64(difference) ** 2
        total, limits = square * X.size, np.finfo(X.dtype)
    if not total < limits.max:
        if not np.isfinite(X).all():
            return
        what = "are too large"
    elif difference > 0.0 and square < 1e6 * limits.tiny:
        what = "vanish"
    else:
        return
    wider = ", or convert them to float64" if X.dtype == np.float32 else ""
    raise ValueError(
        f"the squares of the data's differences (up to {difference:.3g}) {what} in {X.dtype}: "
        f"scale the data{wider}"
    )


def check_n_features(X: Reals, n_features: int, estimator: str) -> None:
    """Raise ValueError unless the rows of `X` have the columns that `estimator` expects."""
    if X.shape[1] != n_features:
        raise ValueError(
            f"X has {X.shape[1]} features, but {estimator} is expecting {n_features} features "
            "as input"
        )


def as_data(
    X: ArrayLike,
    *,
    min_samples: int = 1,
    n_features: int | None = None,
    estimator: str = "GaussianMixture",
) -> Reals:
    """Convert `X` to a (n_samples, n_features) float32 or float64 array.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    min_samples : int
        The fewest rows accepted.
    n_features : int or None
        The number of columns a fitted model expects.
    estimator : str
        Who expects them, for the message.

    Raises
    ------
    TypeError, ValueError
        As `as_floating`; also not 2-D, too few rows, no or other columns.

    Notes
    -----
    NaN and infinity are found by the core as it reads the rows; `check_finite` then names them.
    """
    X = as_floating(X)
    if X.ndim != 2:
        found = {0: "scalar array", 1: "1D array"}.get(X.ndim, f"{X.ndim}D array")
        message = f"Expected 2D array, got {found} instead (shape {X.shape})."
        if X.ndim < 2:
            message += (
                " Reshape your data either using array.reshape(-1, 1) if your data has a single "
                "feature or array.reshape(1, -1) if it contains a single sample."
            )
        else:
            message += (
                f" Reshape your data using array.reshape(-1, {X.shape[-1]}) if the last axis holds "
                f"the features, as the colours of an image, or array.reshape({X.shape[0]}, -1) if "
                "the first axis holds the samples."
            )
        raise ValueError(message)
    if X.shape[0] < min_samples:
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) (shape={X.shape}) while a minimum of "
            f"{min_samples} is required."
        )
    if X.shape[1] < 1:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is required."
        )
    if n_features is not None:
        check_n_features(X, n_features, estimator)
    return X


def as_sample_weight(
    sample_weight: ArrayLike | None, n_samples: int, *, may_be_zero: bool = False
) -> Floats | None:
    """Convert weights to a contiguous float64 (n_samples,) array; None stays None.

    Raises
    ------
    ValueError
        Another shape, NaN or infinity, a negative weight (naming its row), or all zero unless that
        `may_be_zero`.
    """
    if sample_weight is None:
        return None
    given = as_floating(sample_weight, "sample_weight")
    if given.shape != (n_samples,):
        raise ValueError(f"sample_weight.shape == {given.shape}, expected {(n_samples,)}!")
    weight = np.ascontiguousarray(given, dtype=np.float64)
    check_finite(weight, "sample_weight")
    negative = weight < 0
    if negative.any():
        row = int(negative.argmax())
        raise ValueError(f"sample_weight has a negative value at row {row}: {weight[row]}")
    if not (may_be_zero or weight.any()):
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    return weight


def as_parameter(value: ArrayLike, shape: tuple[int, ...], name: str) -> tuple[Floats, float]:
    """Return a finite float64 copy-if-needed of `value`, and the tolerance its own dtype earns."""
    array = as_floating(value, name)
    check_shape(array, shape, name)
    check_finite(array, name)
    tolerance = 1e-6 if array.dtype == np.float32 else 1e-8
    return np.ascontiguousarray(array, dtype=np.float64), tolerance


def as_weights(
    weights: ArrayLike, shape: tuple[int, ...], tolerance: float | None = None
) -> Floats:
    """Return mixture weights as float64, in [0, 1] and summing to one over the last axis.

    The sum may be off by `tolerance`; None: by what the given dtype explains.
    """
    weights, rounding = as_parameter(weights, shape, "weights")
    tolerance = rounding if tolerance is None else tolerance
    if weights.size == 0:
        return weights
    outside = np.argwhere((weights < 0.0) | (weights > 1.0 + tolerance))
    if len(outside):
        *problem, component = map(int, outside[0])
        where = f"component {component}" + "".join(f" of problem {i}" for i in problem)
        # scikit-learn's sentence to the letter, which has the two the wrong way round; then where
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{weights.min():.5f}, min value {weights.max():.5f}; the first outside is "
            f"{weights[tuple(outside[0])]:.5g}, of {where}"
        )
    sums = np.atleast_1d(weights.sum(axis=-1))
    worst = int(np.abs(sums - 1.0).argmax())
    if abs(sums[worst] - 1.0) > tolerance:
        raise ValueError(
            "The parameter 'weights' should be normalized, but got sum(weights) = "
            f"{sums[worst]:.5f}" + (f" in problem {worst}" if weights.ndim > 1 else "")
        )
    return weights


def as_means(means: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Return starting means as float64."""
    return as_parameter(means, shape, "means")[0]
