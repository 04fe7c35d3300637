"""Selection: the candidates that were tried for one table of data, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ._covariance import equal_type, layout_of
from ._fits import BatchStatus, Fits, best_of
from ._frames import data_frame
from ._mixture import GaussianMixture
from ._typing import CovarianceType, Floats, Labels

if TYPE_CHECKING:
    import pandas
    import polars

Criterion: TypeAlias = Literal["bic", "aic", "icl", "cv"]
CRITERIA: dict[Criterion, str] = {  # and how each is called
    "bic": "BIC",
    "aic": "AIC",
    "icl": "ICL",
    "cv": "held-out log-likelihood",
}
_SHOWN = 3  # candidates in the repr, as in mclust's summary


class Candidate(NamedTuple):
    """One row of `Selection.table`: a mixture that was tried.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    criterion : float
        NaN without a mixture. With "cv", also if a fold has no mixture.
    log_likelihood : float
        Of all rows (nats), weighted by `sample_weight`; NaN without a mixture.
    n_parameters : int
        Number of free parameters.
    n_iter : int
    converged : bool
    status : BatchStatus
        The outcome of the fit. With "cv", if the fit to all rows has a mixture, that of the first
        fold without one.

    Examples
    --------
    >>> from fusedgmm import select
    >>> row = select([[1.0], [2.0], [4.0], [5.0]], 1, "full").table[0]
    >>> row.n_components, row.covariance_type, row.n_parameters, row.status.name
    (1, 'full', 2, 'CONVERGED')
    """

    n_components: int
    covariance_type: CovarianceType
    criterion: float
    log_likelihood: float
    n_parameters: int
    n_iter: int
    converged: bool
    status: BatchStatus


class Models(Mapping[tuple[int, str], GaussianMixture]):
    """The mixtures of a selection by (n_components, covariance_type), created when they are
    wanted."""

    def __init__(self, fits: Fits, names: NDArray[np.object_] | None) -> None:
        self._fits, self._names = fits, names
        tried = ((i, kind) for i, kind in enumerate(fits.tried) if fits.candidate[i] >= 0)
        self._places = {(kind.n_components, str(kind.covariance_type)): i for i, kind in tried}
        self._created: dict[int, GaussianMixture] = {}

    def __getitem__(self, key: tuple[int, str]) -> GaussianMixture:
        try:
            place = self._places[key]
        except (KeyError, TypeError):
            raise KeyError(f"no mixture {key!r}: models[n_components, covariance_type]") from None
        if place not in self._created:
            model = self._fits.model(place)
            if self._names is not None:
                model.feature_names_in_ = self._names
            self._created[place] = model
        return self._created[place]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<{len(self)} mixtures, as models[n_components, covariance_type]>"


class Selection:
    """The candidates that `select` tried, and the best of them.

    Attributes
    ----------
    criterion : {"bic", "aic", "icl", "cv"}
    lower_is_better : bool
        False for "cv", True for the others.
    table : tuple of Candidate
        One row per candidate: the numbers of components of the first covariance type, then those of
        the next.
    models : Models
        ``models[n_components, covariance_type]`` is the fitted `GaussianMixture` of a candidate;
        those without a mixture are missing. `lower_bounds_` of a model contains only the last lower
        bound.
    n_features : int

    Examples
    --------
    >>> from fusedgmm import select
    >>> from fusedgmm.datasets import load_faithful
    >>> selection = select(load_faithful(), random_state=2)
    >>> selection
    Best of 36 candidates by BIC (lower is better):
                  3 tied    2 full    2 tied
    BIC         2314.311  2322.192  2325.220
    difference     0.000     7.881    10.909
    >>> selection.best_.n_components, selection.best_.covariance_type
    (3, 'tied')
    >>> sorted(selection.models[2, "full"].weights_.round(2).tolist())
    [0.36, 0.64]
    """

    criterion: Criterion
    table: tuple[Candidate, ...]
    models: Mapping[tuple[int, str], GaussianMixture]

    def __init__(
        self,
        fits: Fits,
        criterion: Criterion,
        values: Floats,
        *,
        statuses: NDArray[np.int8] | None = None,
        feature_names: NDArray[np.object_] | None = None,
    ) -> None:
        """`select` creates selections: one fit per candidate, and its criterion."""
        self.criterion = criterion
        self.models = Models(fits, feature_names)
        self.n_features = fits.means.shape[2]
        statuses = fits.status if statuses is None else statuses
        self.table = tuple(
            Candidate(
                kind.n_components,
                kind.covariance_type,
                float(values[i]),
                float(fits.log_likelihood[i]),
                n_parameters(kind.n_components, kind.covariance_type, self.n_features),
                int(fits.n_iter[i]),
                bool(fits.converged[i]),
                BatchStatus(statuses[i]),
            )
            for i, kind in enumerate(fits.tried)
        )

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower criterion is better: for all but "cv"."""
        return self.criterion != "cv"

    @property
    def ranked(self) -> list[Candidate]:
        """The candidates that have a criterion, the best first.

        Of several candidates that define the same model, only the first in `table` is listed: with
        one component "tied" is the same as "full"; with one feature "diag" and "spherical" are.
        """
        seen: set[tuple[int, str]] = set()
        distinct = []
        for row in self.table:
            same = (row.n_components, equal_type(*row[:2], self.n_features))
            if not math.isnan(row.criterion) and same not in seen:
                seen.add(same)
                distinct.append(row)
        sign = 1 if self.lower_is_better else -1
        return sorted(distinct, key=lambda row: sign * row.criterion)

    @property
    def best(self) -> Candidate:
        """The row of `table` with the best criterion.

        Raises
        ------
        ValueError
            No candidate has a criterion; the message says why.
        """
        values = [row.criterion for row in self.table]
        place = best_of(values, lower_is_better=self.lower_is_better)
        if place is None:
            raise ValueError(f"no candidate could be fitted: {self._failures(self.table)}")
        return self.table[place]

    @property
    def best_(self) -> GaussianMixture:
        """The fitted mixture with the best criterion.

        Raises
        ------
        ValueError
            No candidate has a criterion; the message says why.
        """
        return self.models[self.best[:2]]

    @property
    def curves(self) -> dict[str, tuple[Labels, Floats]]:
        """For each covariance type, the numbers of components, in increasing order, and the
        criterion of each."""
        found: dict[str, tuple[Labels, Floats]] = {}
        for kind in dict.fromkeys(row.covariance_type for row in self.table):
            rows = sorted(row for row in self.table if row.covariance_type == kind)
            found[kind] = (
                np.array([row.n_components for row in rows], dtype=np.int64),
                np.array([row.criterion for row in rows], dtype=np.float64),
            )
        return found

    @overload
    def to_frame(self, library: Literal["pandas"]) -> pandas.DataFrame: ...
    @overload
    def to_frame(self, library: Literal["polars"]) -> polars.DataFrame: ...
    @overload
    def to_frame(self, library: None = None) -> pandas.DataFrame | polars.DataFrame: ...
    def to_frame(
        self, library: Literal["pandas", "polars"] | None = None
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return `table` as a data frame.

        Parameters
        ----------
        library : {"pandas", "polars"} or None, default=None
            None: pandas if it is installed, otherwise polars.

        Returns
        -------
        DataFrame
            One row per candidate, with the columns of `Candidate`; `status` is its name in lower
            case.

        Raises
        ------
        ImportError
            The library is not installed; if it is None, neither of them.
        """
        columns: dict[str, list[Any]] = {
            name: [getattr(row, name) for row in self.table] for name in Candidate._fields
        }
        columns["status"] = [status.name.lower() for status in columns["status"]]
        return data_frame(columns, library)

    def plot(self, **options: Any) -> Any:
        """Draw the criterion against the number of components, a line for each covariance type.

        Parameters
        ----------
        **options
            As for `fusedgmm.plots.plot_bic`, for example `ax`.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return import_module(".plots", __package__).plot_bic(self, **options)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        name = CRITERIA[self.criterion]
        better = "lower" if self.lower_is_better else "higher"
        count = f"{len(self)} candidate" + ("s" if len(self) > 1 else "")
        lines = [f"Best of {count} by {name} ({better} is better):"]
        shown = self.ranked[:_SHOWN]
        if shown:
            label = name if self.lower_is_better else "per row"
            values = [row.criterion for row in shown]
            lines += _aligned(
                [
                    ["", *(f"{row.n_components} {row.covariance_type}" for row in shown)],
                    [label, *(_number(value, values) for value in values)],
                    ["difference", *(_number(value - values[0], values) for value in values)],
                ]
            )
        failed = [row for row in self.table if math.isnan(row.criterion)]
        if failed:
            lines.append(f"Without a criterion: {self._failures(failed)}")
        unfinished = [row for row in shown if row.status == BatchStatus.NOT_CONVERGED]
        for row in unfinished:
            lines.append(f"{_name(row)} {row.status.meaning}")
        return "\n".join(lines)

    def _failures(self, rows: Sequence[Candidate]) -> str:
        by_reason: dict[str, list[str]] = {}
        for row in rows:
            by_reason.setdefault(row.status.meaning, []).append(_name(row))
        return "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())


def n_parameters(n_components: int, covariance_type: str, n_features: int) -> int:
    """Return the number of free parameters of a mixture."""
    covariances = layout_of(covariance_type).n_parameters(n_components, n_features)
    return covariances + n_components * n_features + n_components - 1


def _name(row: Candidate) -> str:
    return f"{row.n_components} {row.covariance_type}"


def _number(value: float, beside: Sequence[float]) -> str:
    """Return a number with the digits that show the difference between those beside it."""
    largest = max((abs(x) for x in beside if math.isfinite(x)), default=1.0)
    decimals = min(6, max(3, 6 - int(math.log10(max(largest, 1e-300)))))
    return f"{value:.{decimals}f}" if largest < 1e9 else f"{value:.9g}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return lines in which the columns of the rows are aligned: the first on the left, the others
    on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
