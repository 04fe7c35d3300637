"""Many problems in one call: the forms of input, and results in the same form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._typing import Floats, Labels, Reals
from ._validation import as_floating, check_shape

Answers: TypeAlias = NDArray[np.generic] | list[NDArray[np.generic]]
_Restore: TypeAlias = Callable[[NDArray[np.generic]], Answers]


@dataclass(frozen=True)
class Arranged:
    """Problems in the form the core needs, and the conversion back to the caller's form."""

    core: _core.Problems
    n_features: int
    groups: NDArray[np.generic] | None  # the label of each problem's group
    restore: _Restore  # converts one answer per row


def arrange(
    X: object,
    offsets: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    sample_weight: object = None,
    groups_wanted: NDArray[np.generic] | None = None,
) -> Arranged:
    """Find the problems in `X`; `groups_wanted`, if given, are their labels in the order wanted.

    Raises
    ------
    TypeError, ValueError
        The input has none of the forms that `fit_batch` accepts, or its parts do not match; the
        message says what and where.
    """
    if isinstance(X, (list, tuple)) and offsets is None and groups is None:
        return _from_list(list(X), sample_weight)
    rows = as_floating(X)
    if rows.ndim == 3:
        if offsets is not None or groups is not None:
            raise ValueError(
                f"X has shape {rows.shape}, one problem per entry of its first axis; offsets and "
                "groups are for X of shape (n_rows, n_features)"
            )
        return _from_cube(rows, sample_weight)
    if rows.ndim not in (1, 2):
        raise ValueError(f"X must have one, two or three dimensions, got shape {rows.shape}")
    rows = rows[:, None] if rows.ndim == 1 else rows
    weight = None if sample_weight is None else _as_weight(sample_weight, (len(rows),))
    if offsets is not None and groups is None:
        cuts = _as_offsets(offsets, len(rows))
        return _arranged(rows, cuts, weight, rows.shape[1], lambda answer: answer)
    if groups is not None and offsets is None:
        return _from_groups(rows, groups, weight, groups_wanted)
    array = "X"
    if not isinstance(X, np.ndarray):  # a data frame has no third axis
        array = "X.to_numpy()" if hasattr(X, "to_numpy") else "numpy.asarray(X)"
    raise ValueError(
        f"X of shape {rows.shape} needs exactly one of offsets and groups; if each row of X is a "
        f"problem with one feature, pass {array}[:, :, None]"
    )


def _arranged(
    rows: Reals | list[Reals],
    offsets: Labels,
    weight: Floats | list[Floats] | None,
    n_features: int,
    restore: _Restore,
    groups: NDArray[np.generic] | None = None,
) -> Arranged:
    if n_features < 1:
        raise ValueError("X has problems of 0 features, while a minimum of 1 is required")
    if isinstance(rows, list):
        dtype = rows[0].dtype if rows else np.dtype(np.float64)
    else:
        dtype = rows.dtype
    # the largest first, so that none of them runs alone at the end
    order = np.argsort(-np.diff(offsets), kind="stable").astype(np.int64, copy=False)
    core = _core.Problems(
        rows,
        offsets=offsets,
        order=order,
        sample_weight=weight,
        dtype=dtype,
        n_features=n_features,
    )
    return Arranged(core, n_features, groups, restore)


def _as_weight(
    sample_weight: object, shape: tuple[int, ...], name: str = "sample_weight"
) -> Floats:
    """Return weights as contiguous float64; their values are checked problem by problem."""
    weight = as_floating(sample_weight, name)
    check_shape(weight, shape, name)
    return np.ascontiguousarray(weight, dtype=np.float64)


def _as_offsets(offsets: ArrayLike, n_rows: int) -> Labels:
    cuts = np.asarray(offsets)
    if cuts.ndim != 1 or len(cuts) == 0 or cuts.dtype.kind not in "iu":
        raise ValueError(
            "offsets must be row numbers, one more than the number of problems; got shape "
            f"{cuts.shape}, dtype {cuts.dtype}"
        )
    cuts = cuts.astype(np.int64)
    falls = np.flatnonzero(cuts[1:] < cuts[:-1])  # not np.diff: a difference may overflow
    if len(falls):
        i = int(falls[0])
        raise ValueError(f"offsets must not decrease; offsets[{i + 1}] < offsets[{i}]")
    if cuts[0] != 0 or cuts[-1] != n_rows:
        raise ValueError(
            f"offsets must run from 0 to the number of rows, {n_rows}; they run from {cuts[0]} to "
            f"{cuts[-1]}"
        )
    return cuts


def _offsets_of(sizes: ArrayLike) -> Labels:
    sizes = np.asarray(sizes, dtype=np.int64)
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _from_groups(
    rows: Reals, groups: ArrayLike, weight: Floats | None, known: NDArray[np.generic] | None
) -> Arranged:
    columns = _as_columns(groups, len(rows))
    if known is not None and set(known.dtype.names or ()) == set(columns):
        columns = {name: columns[name] for name in known.dtype.names or columns}
    for given in columns.values():
        if given.shape != (len(rows),):
            raise ValueError(
                f"groups must be one label per row, {len(rows)}; got shape {given.shape}"
            )
    labels, problem = _distinct_rows(columns)
    if known is not None:
        labels, problem = known, _places(labels, known)[problem]
    order = None
    if np.any(problem[1:] < problem[:-1]):
        order = np.argsort(problem, kind="stable")
        rows = rows[order]
        weight = None if weight is None else weight[order]
    offsets = _offsets_of(np.bincount(problem, minlength=len(labels)))

    def restore(answer: NDArray[np.generic]) -> Answers:
        if order is None:
            return answer
        out = np.empty_like(answer)
        out[order] = answer
        return out

    return _arranged(rows, offsets, weight, rows.shape[1], restore, labels)


def _as_columns(groups: Any, n_rows: int) -> dict[str, NDArray[np.generic]]:
    """Return the columns of groups, by name: of a data frame, an index of several levels, an array
    of two axes, a list of tuples (one for each row) or a list of columns. A single one has no name.
    """
    if hasattr(groups, "levels") and hasattr(groups, "to_frame"):  # pandas.MultiIndex
        groups = groups.to_frame(index=False)
    # of an Arrow table, columns are the data
    names = getattr(groups, "column_names", getattr(groups, "columns", None))
    if names is not None:
        if len(set(map(str, names))) < len(names):
            raise ValueError("the columns of groups must have different names")
        columns = {str(name): _as_labels(groups[name]) for name in names}
    elif isinstance(groups, (list, tuple)) and groups and _is_column(groups[0]):
        if isinstance(groups[0], tuple) and len({np.shape(row) for row in groups}) > 1:
            raise ValueError("groups must have the same number of labels in each row")
        by_rows = isinstance(groups[0], tuple) and len(groups) == n_rows
        several = list(zip(*groups, strict=True)) if by_rows else groups
        columns = {f"group_{i}": _as_labels(column) for i, column in enumerate(several)}
    else:
        array = _as_labels(groups)
        if array.dtype.names:
            columns = {name: array[name] for name in array.dtype.names}
        else:
            several = list(array.T) if array.ndim == 2 else [array]
            columns = {f"group_{i}": column for i, column in enumerate(several)}
    if not columns:
        raise ValueError("groups has no columns")
    return columns if len(columns) > 1 else {"": next(iter(columns.values()))}


def _is_column(value: object) -> bool:
    return not isinstance(value, (str, bytes)) and np.ndim(cast(ArrayLike, value)) == 1


def _as_labels(labels: Any) -> NDArray[Any]:
    if isinstance(labels, (list, tuple)) and not all(
        isinstance(label, type(labels[0])) for label in labels
    ):
        return np.asarray(labels, dtype=object)  # NumPy may turn NaN into the string "nan"
    return np.asarray(labels)


def _distinct_rows(
    columns: dict[str, NDArray[np.generic]],
) -> tuple[NDArray[np.generic], Labels]:
    """Return the distinct labels, sorted, and the index of each row's label among them; of several
    columns, labels are records with a field for each."""
    found = [_distinct(column) for column in columns.values()]
    if len(found) == 1:
        return found[0]
    places = np.stack([place for _, place in found], axis=1)
    distinct, problem = np.unique(places, axis=0, return_inverse=True)
    # records cannot hold NumPy's StringDType
    fields = [labels.astype(object) if labels.dtype.kind == "T" else labels for labels, _ in found]
    chosen = [labels[distinct[:, i]] for i, labels in enumerate(fields)]
    return as_records(dict(zip(columns, chosen, strict=True))), problem.reshape(-1).astype(
        np.int64, copy=False
    )


def as_records(fields: dict[str, NDArray[np.generic]]) -> NDArray[Any]:
    """Return arrays of equal length as one array with fields."""
    dtype = [(name, field.dtype) for name, field in fields.items()]
    records: NDArray[Any] = np.empty(len(next(iter(fields.values()))), dtype=dtype)
    for name, field in fields.items():
        records[name] = field
    return records


def _distinct(groups: NDArray[np.generic]) -> tuple[NDArray[np.generic], Labels]:
    """Return the distinct labels, sorted, and the index of each row's label among them."""
    if groups.dtype.kind != "O":
        missing = groups != groups
        if np.any(missing):
            _refuse(groups, int(np.argmax(missing)))
        labels, problem = np.unique(groups, return_inverse=True)
        return labels, problem.astype(np.int64, copy=False)
    try:  # by hash: sorting a million strings takes seconds
        found = set(groups)
        if any(map(_is_missing, found)):
            _refuse(groups, next(i for i, label in enumerate(groups) if _is_missing(label)))
        place = {label: i for i, label in enumerate(sorted(found))}
    except TypeError as error:
        raise TypeError(f"groups must be labels that can be sorted: {error}") from error
    labels = np.empty(len(place), dtype=object)
    labels[:] = list(place)
    return labels, np.fromiter((place[label] for label in groups), np.int64, len(groups))


def _is_missing(label: object) -> bool:
    """Return whether a label is None, NaN, NaT or pandas.NA; all but None differ from
    themselves."""
    same = label == label
    return label is None or not isinstance(same, (bool, np.bool_)) or not same


def _refuse(groups: NDArray[np.generic], row: int) -> None:
    raise ValueError(f"row {row} has no group (found {groups[row]!r})")


def _places(labels: NDArray[np.generic], known: NDArray[np.generic]) -> Labels:
    """Return the index of each label among the known ones."""
    place = places_of(known)
    for i, label in enumerate(labels.tolist()):
        if label not in place:
            # a record names its dates, of which its tuple may have numbers
            name = labels[i] if labels.dtype.names else repr(label)
            raise ValueError(f"no problem was fitted for group {name}")
    return np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def places_of(labels: NDArray[np.generic]) -> dict[Any, int]:
    """Return the index of each label, by the label; records become tuples."""
    return {label: i for i, label in enumerate(labels.tolist())}


def _from_cube(X: Reals, sample_weight: object) -> Arranged:
    n_problems, n_rows, n_features = X.shape
    weight = None if sample_weight is None else _as_weight(sample_weight, (n_problems, n_rows))
    offsets = np.arange(n_problems + 1, dtype=np.int64) * n_rows

    def restore(answer: NDArray[np.generic]) -> Answers:
        return answer.reshape(n_problems, n_rows, *answer.shape[1:])

    return _arranged(X, offsets, weight, n_features, restore)


def _from_list(X: list[object], sample_weight: object) -> Arranged:
    rows = [as_floating(x, f"problem {i}") for i, x in enumerate(X)]
    for i, x in enumerate(rows):
        if x.ndim == 1:
            rows[i] = x[:, None]
        elif x.ndim != 2:
            raise ValueError(f"problem {i} must have one or two dimensions, got shape {x.shape}")
    # an empty array such as [] does not determine the columns or the dtype
    filled = next((i for i, x in enumerate(rows) if len(x)), None)
    if filled is None:
        n_features = max((x.shape[1] for x in rows), default=1) or 1
    else:
        n_features = rows[filled].shape[1]
    for i, x in enumerate(rows):
        if len(x) and x.shape[1] != n_features:
            raise ValueError(
                f"problem {i} has {x.shape[1]} features, problem {filled} has {n_features}"
            )
    dtypes = {x.dtype for x in rows}
    if len(dtypes) > 1:  # one dtype for all, by NumPy's promotion
        dtype = np.result_type(*{x.dtype for x in rows if len(x)} or dtypes)
        rows = [x.astype(dtype, copy=False) for x in rows]
    weights = None
    if sample_weight is not None:
        if not isinstance(sample_weight, Iterable):
            raise TypeError(f"sample_weight must be a list like X, got {sample_weight!r}")
        given = list(sample_weight)
        if len(given) != len(rows):
            raise ValueError(f"sample_weight has {len(given)} problems, X has {len(rows)}")
        weights = [
            _as_weight(w, (len(x),), f"sample_weight of problem {i}")
            for i, (w, x) in enumerate(zip(given, rows, strict=True))
        ]
    offsets = _offsets_of([len(x) for x in rows])

    def restore(answer: NDArray[np.generic]) -> Answers:
        return [answer[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]

    return _arranged(rows, offsets, weights, n_features, restore)
