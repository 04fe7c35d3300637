"""Checks and conversions of user input; every message says what was found and where."""

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
# What to do about a non-numeric array, by the kind of its dtype.
_CONVERT = "if all are numbers, convert them, for example with numpy.asarray({}, dtype=float)"
_REMEDIES = {
    "S": _CONVERT,
    "U": _CONVERT,
    "M": "subtract a date and divide by a unit first, for example numpy.timedelta64(1, 'D')",
    "m": "divide it by a unit first, for example numpy.timedelta64(1, 'D')",
    "V": "convert its fields to columns with numpy.lib.recfunctions.structured_to_unstructured",
}
_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return the names separated by commas, for messages; of many, only the first."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def as_option(value: object, name: str, known: tuple[str, ...]) -> str:
    """Return `value` if it is one of `known`; otherwise raise a ValueError that lists them."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
    return value


def as_integer(value: object, name: str, minimum: int) -> int:
    """Return `value` as an int >= `minimum`; raise ValueError for bools and non-integers."""
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


def _as_number(value: object, name: str, condition: str = "") -> float:
    """Return a real number, which may be infinite or NaN, as a float."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number{condition}, got {value!r}")
    return _as_float(value)


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
    number = _as_number(value, name, " >= 0")
    if not 0.0 <= number < np.inf:
        raise ValueError(f"{name} must be finite and >= 0, got {value!r}")
    return number


def as_finite(value: object, name: str) -> float:
    """Return `value` as a finite float; anything else is a ValueError."""
    number = _as_number(value, name)
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def as_positive(value: object, name: str, above: float = 0.0) -> float:
    """Return `value` as a finite float greater than `above`; anything else is a ValueError."""
    number = _as_number(value, name, f" > {above:g}")
    if not above < number < np.inf:
        raise ValueError(
            f"The parameter '{name}' should be greater than {above:g}, but got {number:.3f}."
        )
    return number


def as_fraction(value: object, name: str) -> float:
    """Return `value` as a float between 0 and 1, both excluded; anything else is a ValueError."""
    number = _as_number(value, name)
    if not 0.0 < number < 1.0:
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
    return number


def check_shape(array: Reals, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}"
        )


def _from_objects(array: NDArray[np.object_], name: str) -> Floats:
    """Convert an array of Python objects to float64; None and pandas' NA and NaT, as in a data
    frame, become NaN."""
    if array.ndim == 0 and array[()] is not None and not isinstance(array[()], Real):
        raise _no_array(array[()], name)
    result = np.empty(array.shape)
    for index, value in np.ndenumerate(array):
        try:
            if isinstance(value, (str, bytes)):  # float("7") would work, and hide a text column
                raise ValueError(f"it is of type {type(value).__name__!r}; {_CONVERT.format(name)}")
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
            raise kind(f"{name} contains {found}, not a real number{where}: {error}") from None
    return result


def _no_array(value: object, name: str) -> TypeError:
    """Return the error for an object that NumPy does not convert to an array, with what to call."""
    if callable(getattr(value, "collect", None)):  # a lazy frame
        remedy = "; call its .collect() first"
    elif isinstance(value, Mapping):
        remedy = f"; pass its columns, for example numpy.column_stack(list({name}.values()))"
    elif isinstance(value, Iterable):  # a generator, a set, a view of a dict
        remedy = f"; convert it to a list first: list({name})"
    else:
        remedy = ""
    kind = type(value).__name__
    return TypeError(f"{name} is a {kind}, which is not an array of real numbers{remedy}")


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside this package that made the call."""
    import sys
    import warnings

    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(f"{__package__}."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _check_lazy(X: object, name: str) -> None:
    """Reject a large Dask array or frame, and warn about one of unknown size.

    Reading it loads all of it into memory. Duck typing includes xarray objects with Dask data.

    Raises
    ------
    ValueError
        It has more than 1 GB.
    """
    if not (hasattr(X, "__dask_graph__") and hasattr(X, "compute")):
        return
    if getattr(X, "chunks", X) is None:  # an xarray object with an array in memory
        return
    size = np.nan
    with suppress(NotImplementedError):  # raised by Dask's frames
        nbytes = getattr(X, "nbytes", None)
        size = _as_float(nbytes) if isinstance(nbytes, Real) else np.nan
    kind = f"{name} is a {type(X).__module__.partition('.')[0]} {type(X).__name__}"
    if np.isnan(size):  # for example, Dask's chunks are unknown
        warn_caller(
            f"{kind} of unknown size: all of it is gathered in memory; {name}.compute() does so "
            "without this warning, and fusedgmm.dask.GaussianMixture leaves the partitions where "
            "they are"
        )
    elif size > _LARGEST_LAZY:
        raise ValueError(
            f"{kind} of {size / 1e9:.3g} GB, and all of it would be gathered in memory: "
            f"fusedgmm.dask.GaussianMixture leaves the partitions where they are; or call "
            f"{name}.compute() if that is what you want"
        )


def as_floating(X: object, name: str = "X") -> Reals:
    """Convert to a native, aligned float32 or float64 array of any shape and strides.

    float32 and float64 are kept (without a copy where possible), float16 becomes float32, and
    bool, integers, long double and objects that are numbers become float64.

    Raises
    ------
    TypeError
        The input is sparse, or an object is not a number (the message names the first).
    ValueError
        The dtype is not real, a string is among the objects, values are masked, or a Dask array has
        more than 1 GB.
    """
    if type(X) is np.ndarray and (X.dtype is _FLOAT64 or X.dtype is _FLOAT32) and X.flags.aligned:
        return X  # the usual case, in which microseconds count
    # duck typing, so that SciPy is not required
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
            f"{name} has dtype {array.dtype}, which is not numeric; "
            + _REMEDIES.get(kind, "convert it to numbers first").format(name)
        )
    target = _FLOAT32 if kind == "f" and itemsize <= 4 else _FLOAT64
    # a long double beyond float64 becomes infinity here, which the check for finite values reports
    with np.errstate(over="ignore"):
        array = array.astype(target, copy=False)
    if array.dtype is not target:
        # the same numbers with a plain dtype: no explicit byte order, metadata, fields or name
        array = array.view(target)
    return array if array.flags.aligned else array.copy()


def check_finite(array: Reals, name: str = "X") -> None:
    """Raise a ValueError that names the first NaN or infinity; needs memory for one chunk of
    rows."""
    if array.size == 0:
        return
    rows = max(1, _CHUNK_ELEMENTS // max(1, array.size // array.shape[0]))
    for begin in range(0, array.shape[0], rows):
        chunk = array[begin : begin + rows]
        # a sum needs no temporary, and is not finite if an entry is not
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(chunk.sum()):
                continue
        bad = np.argwhere(~np.isfinite(chunk))
        if len(bad) == 0:  # the sum overflowed, but the data are finite
            continue
        where = tuple(int(i) for i in bad[0])
        found = (
            "NaN or a missing value (null, None)."
            if np.isnan(chunk[where])
            else f"infinity or a value too large for {array.dtype!r}."
        )
        column = "".join(f", column {i}" for i in where[1:])
        # from None: the error of the failed fit is less specific
        raise ValueError(
            f"Input {name} contains {found} First at row {begin + where[0]}{column}"
        ) from None


def check_weight_sum(weight: Floats) -> None:
    """Raise ValueError if the sum of the weights leaves float64's range, for fits in which the sum
    matters and not only the ratios."""
    with np.errstate(over="ignore"):
        total = float(weight.sum())
    if not 1e-300 < total < 1e305:
        raise ValueError(
            f"sample_weight sums to {total:.3g}, too near the ends of float64's range: scale the "
            "weights"
        )


def check_range(X: Reals) -> None:
    """Raise ValueError if the squares of the data's differences leave their dtype's range. For a
    failed fit, whose own message would blame the components."""
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
    """Raise ValueError unless `X` has the number of columns that `estimator` expects."""
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
        The minimum number of rows.
    n_features : int or None
        The number of columns that a fitted model expects.
    estimator : str
        The name of that model, for the message.

    Raises
    ------
    TypeError, ValueError
        As for `as_floating`; or `X` is not 2-D, or has too few rows or a wrong number of columns.

    Notes
    -----
    The core detects NaN and infinity when it reads the rows; `check_finite` then names them.
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
        The shape is wrong, a weight is NaN, infinite or negative (the message names its row), or
        all weights are zero and not `may_be_zero`.
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
    """Return `value` as float64, copied only if needed, and the tolerance for its own dtype."""
    array = as_floating(value, name)
    check_shape(array, shape, name)
    check_finite(array, name)
    tolerance = 1e-6 if array.dtype == np.float32 else 1e-8
    return np.ascontiguousarray(array, dtype=np.float64), tolerance


def as_weights(
    weights: ArrayLike, shape: tuple[int, ...], tolerance: float | None = None
) -> Floats:
    """Return mixture weights as float64, in [0, 1] and summing to one over the last axis.

    The sum may deviate from one by `tolerance`; None: by the rounding of the given dtype.
    """
    weights, rounding = as_parameter(weights, shape, "weights")
    tolerance = rounding if tolerance is None else tolerance
    if weights.size == 0:
        return weights
    outside = np.argwhere((weights < 0.0) | (weights > 1.0 + tolerance))
    if len(outside):
        *problem, component = map(int, outside[0])
        where = f"component {component}" + "".join(f" of problem {i}" for i in problem)
        # scikit-learn's sentence verbatim, which has the two values the wrong way round; then the
        # place
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
