"""Many problems in one call: the forms in which users have them, and answers in the same form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._typing import Floats, Labels, Reals
from ._validation import as_floating, check_shape

Answers: TypeAlias = NDArray[np.generic] | list[NDArray[np.generic]]


@dataclass(frozen=True)
class Arranged:
    """Problems as the core takes them, and the way back to the caller's form."""

    core: _core.Problems
    n_features: int
    labels: NDArray[np.generic] | None  # of the groups, one per problem
    restore: Callable[[NDArray[np.generic]], Answers]  # from one answer per row


def arrange(
    X: object,
    offsets: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    sample_weight: object = None,
    labels: NDArray[np.generic] | None = None,
) -> Arranged:
    """Find the problems in `X`; `labels`, where given, are the groups' in the order wanted.

    Raises
    ------
    TypeError, ValueError
        No form of `fit_batch`, or one that does not agree with itself: what and where is said.
    """
    if isinstance(X, (list, tuple)) and offsets is None and groups is None:
        return _from_list(list(X), sample_weight)
    rows = as_floating(X)  # type: ignore[arg-type]
    if rows.ndim == 3:
        if offsets is not None or groups is not None:
            raise ValueError(
                f"X has shape {rows.shape}, one problem per entry of its first axis; offsets and "
                "groups are for X of shape (n_rows, n_features)"
            )
        return _from_cube(rows, sample_weight)
    if rows.ndim not in (1, 2):
        raise ValueError(f"X must have one, two or three dimensions, got shape {rows.shape}")
    if (offsets is None) == (groups is None):
        raise ValueError(
            f"X of shape {rows.shape} is cut into problems by exactly one of offsets and groups; "
            "for problems of one feature that are the rows of X pass X[:, :, None]"
        )
    rows = rows[:, None] if rows.ndim == 1 else rows
    weight = None if sample_weight is None else _as_weight(sample_weight, (len(rows),))
    if groups is not None:
        return _from_groups(rows, np.asarray(groups), weight, labels)
    cuts = _as_offsets(offsets, len(rows))  # type: ignore[arg-type]
    return Arranged(_core.Problems(rows, cuts, weight, rows.shape[1]), rows.shape[1], None, _same)


def _same(answer: NDArray[np.generic]) -> Answers:
    return answer


def _as_weight(
    sample_weight: object, shape: tuple[int, ...], name: str = "sample_weight"
) -> Floats:
    """Return weights as contiguous float64; their values are judged problem by problem."""
    weight = as_floating(sample_weight, name)  # type: ignore[arg-type]
    check_shape(weight, shape, name)
    return np.ascontiguousarray(weight, dtype=np.float64)


def _as_offsets(offsets: ArrayLike, n_rows: int) -> Labels:
    cuts = np.asarray(offsets)
    if cuts.ndim != 1 or len(cuts) == 0 or cuts.dtype.kind not in "iu":
        raise ValueError(
            "offsets must be row numbers, one more than there are problems; got shape "
            f"{cuts.shape}, dtype {cuts.dtype}"
        )
    cuts = cuts.astype(np.int64)
    falls = np.flatnonzero(np.diff(cuts) < 0)
    if len(falls):
        i = int(falls[0])
        raise ValueError(f"offsets must not fall; offsets[{i + 1}] < offsets[{i}]")
    if cuts[0] != 0 or cuts[-1] != n_rows:
        raise ValueError(
            f"offsets must run from 0 to the number of rows, {n_rows}; they run from {cuts[0]} to "
            f"{cuts[-1]}"
        )
    return cuts


def _from_groups(
    rows: Reals,
    groups: NDArray[np.generic],
    weight: Floats | None,
    known: NDArray[np.generic] | None,
) -> Arranged:
    if groups.shape != (len(rows),):
        raise ValueError(f"groups must be one label per row, {len(rows)}; got shape {groups.shape}")
    missing = np.flatnonzero(groups != groups) if groups.dtype.kind in "fOM" else ()
    if groups.dtype.kind == "O":
        missing = np.flatnonzero([g is None or g != g for g in groups])
    if len(missing):
        raise ValueError(f"row {missing[0]} has no group (found {groups[missing[0]]!r})")
    labels, problem = np.unique(groups, return_inverse=True)
    if known is not None:
        labels, problem = known, _places(labels, known)[problem]
    order = None
    if np.any(problem[1:] < problem[:-1]):
        order = np.argsort(problem, kind="stable")
        rows = rows[order]
        weight = None if weight is None else weight[order]
    offsets = np.zeros(len(labels) + 1, dtype=np.int64)
    np.cumsum(np.bincount(problem, minlength=len(labels)), out=offsets[1:])

    def restore(answer: NDArray[np.generic]) -> Answers:
        if order is None:
            return answer
        out = np.empty_like(answer)
        out[order] = answer
        return out

    core = _core.Problems(rows, offsets, weight, rows.shape[1])
    return Arranged(core, rows.shape[1], labels, restore)


def _places(labels: NDArray[np.generic], known: NDArray[np.generic]) -> Labels:
    """Return where each label stands among the known ones, which are sorted."""
    at = np.searchsorted(known, labels)
    bad = np.flatnonzero((at == len(known)) | (known[np.minimum(at, len(known) - 1)] != labels))
    if len(bad):
        raise ValueError(f"no problem was fitted for group {labels[bad[0]]!r}")
    return at.astype(np.int64)


def _from_cube(X: Reals, sample_weight: object) -> Arranged:
    n_problems, n_rows, n_features = X.shape
    offsets = np.arange(n_problems + 1, dtype=np.int64) * n_rows
    weight = None if sample_weight is None else _as_weight(sample_weight, (n_problems, n_rows))
    rows: Reals | list[Reals] = X.reshape(n_problems * n_rows, n_features)
    weights: Floats | list[Floats] | None = None if weight is None else weight.reshape(-1)
    if X.size and not np.may_share_memory(rows, X):  # strides that no single array has
        rows, weights = list(X), None if weight is None else list(weight)

    def restore(answer: NDArray[np.generic]) -> Answers:
        return answer.reshape(n_problems, n_rows, *answer.shape[1:])

    return Arranged(_core.Problems(rows, offsets, weights, n_features), n_features, None, restore)


def _from_list(X: list[object], sample_weight: object) -> Arranged:
    rows = list[Reals]()
    n_features = None
    for i, x in enumerate(X):
        x = as_floating(x, f"problem {i}")  # type: ignore[arg-type]
        if x.ndim == 1:
            x = x[:, None]
        if x.ndim != 2:
            raise ValueError(f"problem {i} must have one or two dimensions, got shape {x.shape}")
        if n_features is None and (len(x) or x.shape[1] > 1):
            n_features = x.shape[1]
            first = i
        if n_features not in (None, x.shape[1]) and len(x):
            raise ValueError(
                f"problem {i} has {x.shape[1]} features, problem {first} has {n_features}"
            )
        rows.append(x)
    n_features = 1 if n_features is None else n_features
    single = sum(x.dtype == np.float32 for x in rows)
    if 0 < single < len(rows):  # one type for all, as NumPy joins them
        rows = [x.astype(np.float64, copy=False) for x in rows]
    weights = None
    if sample_weight is not None:
        given = list(sample_weight)  # type: ignore[call-overload]
        if len(given) != len(rows):
            raise ValueError(f"sample_weight has {len(given)} problems, X has {len(rows)}")
        weights = [
            _as_weight(w, (len(x),), f"sample_weight of problem {i}")
            for i, (w, x) in enumerate(zip(given, rows, strict=True))
        ]
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(x) for x in rows], out=offsets[1:])

    def restore(answer: NDArray[np.generic]) -> Answers:
        return [answer[a:b] for a, b in zip(offsets, offsets[1:], strict=False)]

    return Arranged(_core.Problems(rows, offsets, weights, n_features), n_features, None, restore)
