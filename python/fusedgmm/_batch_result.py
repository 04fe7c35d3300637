"""The result of `fit_batch`: the mixtures of many problems, and the outcome of each problem."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, _threads
from ._covariance import common_type, layout_of, narrowed, widened
from ._fits import BatchStatus, Fits, as_covariance_types, model_of
from ._frames import data_frame
from ._mixture import GaussianMixture
from ._problems import Answers, arrange, as_records, places_of
from ._selection import Selection
from ._typing import CovarianceType, Floats, Labels, Output
from ._validation import as_candidates, as_option

if TYPE_CHECKING:
    import pandas
    import polars

_KIND, _FORMAT = "fusedgmm.BatchResult", 1  # of saved results


def empty_arrays(
    covariance_type: str, P: int, K: int, d: int, n_candidates: int
) -> dict[str, tuple[tuple[int, ...], np.generic]]:
    """Return the arrays of a result, which have one entry per problem: their shapes, and the value
    (and dtype) of a missing result."""
    square = (P, *layout_of(covariance_type).shape(K, d))
    nan, none = np.float64(np.nan), np.int64(0)
    return {
        "weights": ((P, K), nan),
        "means": ((P, K, d), nan),
        "covariances": (square, nan),
        "precisions_cholesky": (square, nan),
        "lower_bound": ((P,), nan),
        "n_iter": ((P,), none),
        "n_passes": ((P,), none),
        "converged": ((P,), np.bool_(False)),
        "status": ((P,), np.int8(BatchStatus.NOT_RUN)),
        "n_components": ((P,), none),
        "covariance_type_index": ((P,), np.int8(-1)),
        "bic": ((P,), nan),
        "aic": ((P,), nan),
        "criteria": ((P, n_candidates), nan),
        "seeds": ((P,), np.uint32(0)),
    }


def arrays_of(fits: Fits, types: tuple[CovarianceType, ...], *, separate: bool) -> dict[str, Any]:
    """Return the arrays of a result, given the best fit of each problem, and whether these come
    from separate fits of the candidates."""
    common, (P, K, d) = common_type(types), fits.means.shape
    # the last entries are for candidate -1
    n_components = np.array([*(kind.n_components for kind in fits.tried), 0], dtype=np.int64)
    places_of = [*(types.index(kind.covariance_type) for kind in fits.tried), -1]
    found = fits.arrays()
    found["n_components"] = n_components[fits.candidate]
    found["covariance_type_index"] = np.array(places_of, dtype=np.int8)[fits.candidate]
    for name in ("covariances", "precisions_cholesky"):
        if len(types) == 1:
            array = fits.of_type(name, slice(None), common)
        else:
            array = np.empty((P, *layout_of(common).shape(K, d)))
            for kind in types:
                places = fits.places_of_type(kind)
                array[places] = widened(fits.of_type(name, places, kind), kind, common, (K, d))
        if separate or len(types) > 1:
            shared, exists = layout_of(common).shared, np.isfinite(fits.weights)
            array[~exists.any(axis=1) if shared else ~exists] = np.nan
        found[name] = array
    return {name: found[name] for name in empty_arrays(common, P, K, d, 1)}


@dataclass(frozen=True, eq=False, repr=False)
class BatchResult:
    """The mixtures of P problems, from `fit_batch`. K is the largest number of components.

    ``result[i]`` is a fitted `GaussianMixture`; a slice, a mask or an array of indices selects a
    `BatchResult` of those problems. If a problem has fewer than K components, or no mixture, the
    arrays are filled up with NaN. `lower_bounds_` of a model contains only the last lower bound.

    Attributes
    ----------
    weights : array of shape (P, K), float64
    means : array of shape (P, K, n_features), float64
    covariances, precisions_cholesky : array, float64
        (P, K, n_features, n_features) for "full", (P, n_features, n_features) for "tied",
        (P, K, n_features) for "diag", (P, K) for "spherical". If several types were tried, all
        are stored as "full", or as "diag" if neither "full" nor "tied" was tried.
    lower_bound : array of shape (P,), float64
        Mean log-likelihood per row (nats) in the last iteration.
    n_iter, n_passes : array of shape (P,), int64
        As `n_iter_` and `n_passes_` of `GaussianMixture`.
    converged : array of shape (P,), bool
    status : array of shape (P,), int8
        Values of `BatchStatus`.
    n_components : array of shape (P,), int64
        The chosen number of components; 0 without a mixture.
    covariance_type_index : array of shape (P,), int8
        The chosen covariance type, as an index into `covariance_types_tried`; -1 without a mixture.
    bic, aic : array of shape (P,), float64
        Criteria of the chosen mixture at its final parameters; with sample weights, N is their sum.
    criteria : array of shape (P, C), float64
        The criterion of every candidate, NaN if there is no mixture: for each of
        `covariance_types_tried`, the numbers in `n_components_tried`.
    seeds : array of shape (P,), uint32
        The `random_state` of each problem.
    groups : array of shape (P,) or None
        The sorted labels of the groups; None if `fit_batch` was called without `groups`. If these
        had several columns, ``result.groups["name"]`` has the labels of one column.
    n_components_tried : tuple of int
        The numbers of components tried for each problem.
    covariance_types_tried : tuple of str
        The covariance types tried for each problem.
    criterion : {"bic", "aic"}
        The criterion that chose among them.
    dtype : numpy.dtype
        The dtype of the rows: float32 or float64.
    template : GaussianMixture
        An unfitted model with the options of the fits.
    kept : object or None
        The fits of all candidates if `fit_batch` was asked to keep them, for `selection`. Files do
        not contain them.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import fit_batch
    >>> result = fit_batch(np.random.default_rng(0).normal(size=(5, 100, 2)), 2, random_state=0)
    >>> result
    <BatchResult: 5 problems, 5 with a mixture; n_components up to 2, n_features 2, 'full'>
    >>> result[3].means_.shape, len(result[1:3])
    ((2, 2), 2)
    """

    weights: Floats
    means: Floats
    covariances: Floats
    precisions_cholesky: Floats
    lower_bound: Floats
    n_iter: Labels
    n_passes: Labels
    converged: NDArray[np.bool_]
    status: NDArray[np.int8]
    n_components: Labels
    covariance_type_index: NDArray[np.int8]
    bic: Floats
    aic: Floats
    criteria: Floats
    seeds: NDArray[np.uint32]
    groups: NDArray[np.generic] | None
    n_components_tried: tuple[int, ...]
    criterion: Literal["bic", "aic"]
    dtype: np.dtype[np.floating]
    template: GaussianMixture
    covariance_types_tried: tuple[CovarianceType, ...]
    kept: Fits | None = None  # of all candidates

    @property
    def covariance_type(self) -> CovarianceType:
        """The covariance type of the arrays; see `covariances`."""
        return self.template.covariance_type

    @property
    def covariance_types(self) -> list[CovarianceType | None]:
        """The covariance type of each mixture; None without a mixture."""
        names = (*self.covariance_types_tried, None)
        return [names[i] for i in self.covariance_type_index.tolist()]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which problems have a mixture, (P,) bool: use ``result[result.ok]`` to select them."""
        return self.n_components > 0

    def __len__(self) -> int:
        return len(self.status)

    def __repr__(self) -> str:
        _, K, d = self.means.shape
        return (
            f"<BatchResult: {len(self)} problems, {self.ok.sum()} with a mixture; "
            f"n_components up to {K}, n_features {d}, {self.covariance_type!r}>"
        )

    def _name(self, i: int) -> str:
        if self.groups is None:
            return f"problem {i}"
        label = self.groups[i]
        return f"problem {i} (group {label if isinstance(label, np.void) else repr(label)})"

    def _reason(self, i: int) -> str:
        return BatchStatus(self.status[i]).meaning

    @overload
    def __getitem__(self, index: int) -> GaussianMixture: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Self: ...
    def __getitem__(self, index: int | slice | ArrayLike) -> GaussianMixture | Self:
        if isinstance(index, slice) or np.ndim(index):
            chosen = index if isinstance(index, slice) else _as_places(index)
            parts: dict[str, Any] = {name: a[chosen] for name, a in self._arrays().items()}
            if self.kept is not None:
                C = len(self.kept.tried)
                places = np.arange(len(self))[chosen, None] * C + np.arange(C)
                parts["kept"] = self.kept[places.ravel()]
            return replace(self, **parts)
        i = self._index(cast(int, index))
        K = int(self.n_components[i])
        if K == 0:
            raise ValueError(
                f"{self._name(i)} has no mixture: {self._reason(i)}; result[result.ok] has the "
                "others"
            )
        common = self.covariance_type
        kind = self.covariance_types_tried[self.covariance_type_index[i]]
        own = slice(None) if layout_of(common).shared else slice(K)
        return model_of(
            self.template,
            kind,
            (
                self.weights[i, :K],
                self.means[i, :K],
                narrowed(self.covariances[i, own], kind, common),
                narrowed(self.precisions_cholesky[i, own], kind, common),
            ),
            self.dtype,
            seed=int(self.seeds[i]),
            converged=bool(self.converged[i]),
            n_iter=int(self.n_iter[i]),
            n_passes=int(self.n_passes[i]),
            lower_bound=float(self.lower_bound[i]),
        )

    def selection(self, index: int) -> Selection:
        """Return all candidates of a problem, as `select` does for a single table of data.

        Parameters
        ----------
        index : int
            The number of the problem.

        Returns
        -------
        Selection

        Raises
        ------
        ValueError
            The fit did not keep the candidates.

        Examples
        --------
        >>> import numpy as np
        >>> from fusedgmm import fit_batch
        >>> X = np.random.default_rng(0).normal(size=(5, 100, 2))
        >>> result = fit_batch(X, [1, 2], random_state=0, keep_candidates=True)
        >>> result.selection(3).models[2, "full"].means_.shape
        (2, 2)
        """
        if self.kept is None:
            raise ValueError("the candidates were not kept; fit_batch(..., keep_candidates=True)")
        i = self._index(index)
        C = len(self.kept.tried)
        fits = self.kept[slice(i * C, (i + 1) * C)]
        return Selection(fits, self.criterion, fits.criteria[:, 0])

    def _index(self, index: int) -> int:
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"problem {i} of {len(self)}")
        return i % len(self)

    def of(self, label: object) -> GaussianMixture:
        """Return the mixture of a group.

        Parameters
        ----------
        label : object
            The label of the group; a tuple if `groups` had several columns. Dates may be strings.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        KeyError
            No group has this label.
        ValueError
            The fit had no groups, or this group has no mixture.

        Examples
        --------
        >>> from fusedgmm import fit_batch
        >>> result = fit_batch([1.0, 2.0, 4.0, 6.0], 1, groups=["a", "b", "b", "a"])
        >>> result.of("b").means_.tolist()
        [[3.0]]
        """
        if self.groups is None:
            raise ValueError("the fit had no groups; result[i] is the mixture of problem i")
        try:
            place = self._places[_key(label, self.groups.dtype)]
        # TypeError: a list cannot be looked up; ValueError: a string that is no date
        except (KeyError, TypeError, ValueError):
            raise KeyError(f"no group {label!r}") from None
        return self[place]

    @cached_property
    def _places(self) -> dict[Any, int]:
        assert self.groups is not None
        return places_of(self.groups)

    def __iter__(self) -> Iterator[GaussianMixture]:
        return (self[i] for i in range(len(self)))

    def _arrays(self) -> dict[str, Any]:
        """Return all arrays, which have one entry per problem."""
        everything = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in everything if isinstance(value, np.ndarray)}

    def predict(
        self, X: object, *, offsets: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Answers:
        """Return the most probable component of each row, from the mixture of its problem.

        Parameters
        ----------
        X, offsets, groups
            Rows of the P problems, in one of the forms of `fit_batch`. Groups are matched by label.

        Returns
        -------
        labels : int64, in the form of `X`
            A list of arrays (n_i,), or an array (P, n) or (N,); -1 without a mixture.

        Raises
        ------
        ValueError
            The problems do not match those of the fit, or the rows of a problem with a mixture
            contain NaN or infinity.
        """
        return self._score(X, offsets, groups, "labels")

    def predict_proba(
        self, X: object, *, offsets: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Answers:
        """Return the responsibilities of each row, from the mixture of its problem.

        Parameters
        ----------
        X, offsets, groups
            As in `predict`.

        Returns
        -------
        responsibilities : in the form of `X`
            Like the labels of `predict`, with an additional last axis of length K, in the dtype of
            the rows; NaN for components that do not exist.
        """
        return self._score(X, offsets, groups, "responsibilities")

    def score_samples(
        self, X: object, *, offsets: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Answers:
        """Return the log-likelihood of each row in nats, from the mixture of its problem.

        Parameters
        ----------
        X, offsets, groups
            As in `predict`.

        Returns
        -------
        log_likelihood : in the form of `X`
            Like the labels of `predict`, in the dtype of the rows; NaN without a mixture.
        """
        return self._score(X, offsets, groups, "log_likelihood")

    def _score(
        self,
        X: object,
        offsets: ArrayLike | None,
        groups: ArrayLike | None,
        output: Output,
    ) -> Answers:
        if groups is not None and self.groups is None:
            raise ValueError("the problems of the fit had no groups; pass X in the form of the fit")
        self._check()  # the core does not check these arrays, and users can write to them
        problems = arrange(X, offsets, groups, groups_wanted=self.groups)
        if len(problems.core) != len(self):
            raise ValueError(f"X has {len(problems.core)} problems, the fit had {len(self)}")
        if problems.n_features != self.means.shape[2] and problems.core.offsets[-1]:
            raise ValueError(
                f"X has {problems.n_features} features, the fit had {self.means.shape[2]}"
            )
        answer, bad = _core.score_batch(
            problems.core,
            covariance_type=self.covariance_type,
            n_components=np.ascontiguousarray(self.n_components),
            weights=self._rounded(self.weights),
            means=self._rounded(self.means),
            precisions_cholesky=self._rounded(self.precisions_cholesky),
            n_threads=_threads.for_passes(
                self.template.n_threads,
                self.covariance_type,
                int(problems.core.offsets[-1]),
                *self.means.shape[1:],
            ),
            output=output,
        )
        if bad is not None:
            raise ValueError(f"{self._name(bad)} has NaN or infinity in its rows")
        return problems.restore(answer)

    def _rounded(self, array: Floats) -> Floats:
        """Return parameters for the core, rounded as in the model of each problem."""
        rounded = array.astype(self.dtype, copy=False)
        return np.ascontiguousarray(rounded, dtype=np.float64)

    @overload
    def to_frame(self, library: Literal["pandas"]) -> pandas.DataFrame: ...
    @overload
    def to_frame(self, library: Literal["polars"]) -> polars.DataFrame: ...
    @overload
    def to_frame(self, library: None = None) -> pandas.DataFrame | polars.DataFrame: ...
    def to_frame(
        self, library: Literal["pandas", "polars"] | None = None
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return a data frame with one row per problem and component.

        Parameters
        ----------
        library : {"pandas", "polars"} or None, default=None
            None: pandas if it is installed, otherwise polars.

        Returns
        -------
        DataFrame
            Columns problem (with groups, the label of the group; with several columns of groups, a
            column for each, named like it, or group_... if that name is in use), component, weight,
            mean_0 ..., then covariance_0_0, covariance_1_0 ... (lower triangle; "full" and "tied"),
            variance_0 ... ("diag") or variance ("spherical"), then status, converged, n_iter,
            lower_bound, bic, aic. A problem without a mixture has one row, of NaN.

        Raises
        ------
        ImportError
            The library is not installed; if it is None, neither of them.
        """
        return data_frame(self._columns(), library)

    def _columns(self) -> dict[str, NDArray[np.generic] | list[str]]:
        d = self.means.shape[2]
        rows = np.maximum(self.n_components, 1)
        problem = np.repeat(np.arange(len(self)), rows)
        component = np.arange(len(problem)) - np.repeat(np.cumsum(rows) - rows, rows)
        at = (problem, component)
        columns: dict[str, NDArray[np.generic] | list[str]] = {
            "component": component,
            "weight": self.weights[at],
        }
        columns |= {f"mean_{j}": self.means[..., j][at] for j in range(d)}
        layout = layout_of(self.covariance_type)
        where = problem if layout.shared else at
        for name, entry in layout.entries(d):
            columns[name] = self.covariances[entry][where]
        columns["status"] = [BatchStatus(s).name.lower() for s in self.status[problem]]
        for name in ("converged", "n_iter", "lower_bound", "bic", "aic"):
            columns[name] = getattr(self, name)[problem]
        groups: Any = self.groups
        names = None if groups is None else groups.dtype.names
        if names is None:
            first = {"problem": problem if groups is None else groups[problem]}
        else:
            first = {
                f"group_{name}" if name in columns else name: groups[name][problem]
                for name in names
            }
        return first | columns

    def summary(self) -> None:
        """Print how many problems converged, how many failed, and why."""
        print(repr(self)[1:-1])
        for status in BatchStatus:
            places = np.flatnonzero(self.status == status)
            if len(places):
                first = (
                    "" if status is BatchStatus.CONVERGED else f"; first: {self._name(places[0])}"
                )
                print(f"  {len(places):>9}  {status.meaning}{first}")
        chosen, counts = np.unique(self.n_components[self.ok], return_counts=True)
        if len(self.n_components_tried) > 1:
            shares = (
                f"{k} ({n} problem{'s' if n > 1 else ''})"
                for k, n in zip(chosen, counts, strict=True)
            )
            print(f"  n_components chosen: {', '.join(shares)}")
        if self.ok.any():
            iterations = self.n_iter[self.ok]
            print(f"  iterations: median {np.median(iterations):g}, most {iterations.max()}")

    def save(self, path: str | Path) -> None:
        """Write the result to a .npz file, atomically.

        Parameters
        ----------
        path : str or pathlib.Path
            File name ending in .npz. An existing file is replaced.

        Raises
        ------
        TypeError
            The groups are not numbers, strings or dates; other objects would need pickle, which
            can run code.
        """
        from ._files import save_arrays  # imported here: zipfile and json take 6 ms

        arrays = self._arrays()
        if self.groups is not None and self.groups.dtype.hasobject:  # NumPy's StringDType has
            arrays["groups"] = _records_without_objects(self.groups)
        options = self.template.get_params()
        options.pop("random_state")
        meta = {
            "n_components_tried": self.n_components_tried,
            "covariance_types_tried": self.covariance_types_tried,
            "criterion": self.criterion,
            "dtype": self.dtype.name,
            "options": options,
        }
        save_arrays(path, _KIND, _FORMAT, meta, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result written by `save`. Never runs code from the file.

        Parameters
        ----------
        path : str or pathlib.Path

        Returns
        -------
        BatchResult

        Raises
        ------
        ValueError
            The file is of another kind, of a newer format, or damaged.
        """
        from ._files import load_object

        return load_object(path, _KIND, _FORMAT, cls._from_file)

    @classmethod
    def _from_file(cls, meta: dict[str, Any], arrays: dict[str, Any]) -> Self:
        options = meta["options"]
        known = set(GaussianMixture().get_params()) - {"random_state"}
        if set(options) != known:
            raise ValueError(f"its options are not those of a batch: {set(options) ^ known}")
        for name in ("weights_init", "means_init", "precisions_init", "covariances_init"):
            if options[name] is not None:  # a batch never stores starting values
                raise ValueError(f"{name} is {options[name]!r}")
        template = GaussianMixture(**options)
        template._check_options()
        result = cls(
            **{"groups": None, **arrays},
            n_components_tried=as_candidates(meta["n_components_tried"]),
            covariance_types_tried=as_covariance_types(meta["covariance_types_tried"]),
            criterion=meta["criterion"],
            dtype=np.dtype(as_option(meta["dtype"], "dtype", ("float32", "float64"))),
            template=template,
        )
        result._check()
        return result

    def _check(self) -> None:
        """Raise ValueError unless all attributes are consistent."""
        as_option(self.criterion, "criterion", ("bic", "aic"))
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"rows of {self.dtype}")
        P, d = len(self), self.means.shape[-1]
        n_candidates = len(self.n_components_tried) * len(self.covariance_types_tried)
        if self.covariance_type != common_type(self.covariance_types_tried):
            raise ValueError(
                f"arrays of {self.covariance_type!r} cannot hold {self.covariance_types_tried}"
            )
        empty = empty_arrays(self.covariance_type, P, max(self.n_components_tried), d, n_candidates)
        for name, (shape, fill) in empty.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != fill.dtype:
                raise ValueError(
                    f"{name} is {array.dtype} of shape {array.shape}, not {fill.dtype} of {shape}"
                )
        if self.groups is not None and self.groups.shape != (P,):
            raise ValueError(f"groups have shape {self.groups.shape}, not {(P,)}")
        if P and not 0 <= self.n_components.min() <= self.n_components.max() <= max(
            self.n_components_tried
        ):
            raise ValueError("n_components has numbers that were not tried")
        index = self.covariance_type_index
        if P and not -1 <= index.min() <= index.max() < len(self.covariance_types_tried):
            raise ValueError("covariance_type_index has a type that was not tried")
        if P and not 0 <= self.status.min() <= self.status.max() <= max(BatchStatus):
            raise ValueError("status has an unknown value")


def _without_objects(values: list[object]) -> NDArray[np.generic]:
    """Convert Python objects to an array of a dtype from which equal objects can be read back;
    raises TypeError if there is none."""
    # without a unit NumPy stores these as objects; a datetime is also a date
    units = ((datetime, "M8[us]"), (date, "M8[D]"), (timedelta, "m8[us]"))
    fitting = (unit for kind, unit in units if all(isinstance(v, kind) for v in values))
    dtype = next(fitting, None) if values else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a time zone would be lost
        try:
            plain = np.asarray(values, dtype=dtype)
            if plain.dtype.kind != "O" and plain.tolist() == values:
                return plain
        except (OverflowError, TypeError, ValueError, Warning):
            pass
    raise TypeError("groups of these Python types cannot be saved; convert them to strings")


def _key(label: object, dtype: np.dtype[Any]) -> object:
    """Return a label of groups of this dtype as their `tolist` gives it."""
    if isinstance(label, np.void):
        label = label.item()
    if dtype.names is not None and isinstance(label, tuple) and len(label) == len(dtype.names):
        return tuple(_key(part, dtype[i]) for i, part in enumerate(label))
    return np.array(label, dtype=dtype).item() if dtype.kind in "mM" else label


def _records_without_objects(groups: NDArray[Any]) -> NDArray[Any]:
    if groups.dtype.names is None:
        return _without_objects(groups.tolist())
    fields = {name: groups[name] for name in groups.dtype.names}
    return as_records(
        {
            name: _without_objects(field.tolist()) if field.dtype.hasobject else field
            for name, field in fields.items()
        }
    )


def _as_places(index: ArrayLike) -> NDArray[np.generic]:
    """Return a mask or problem numbers as an array with one axis."""
    places = np.asarray(index)
    if places.ndim != 1:
        raise IndexError(f"an index of problems must have one axis, got shape {places.shape}")
    return places if places.size else places.astype(np.intp)
