"""What a plot shows: the rows and the components, on one feature or in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .._covariance import Layout, layout_of
from .._estimator import check_fitted, feature_names
from .._typing import Floats, Labels
from .._validation import as_data, check_finite, listed

if TYPE_CHECKING:
    from .._fitting import BaseMixture

Feature: TypeAlias = "int | str"


@dataclass(frozen=True)
class Line:
    """Rows and components on one feature."""

    title: str
    x: Floats  # (N,)
    means: Floats  # (K,)
    variances: Floats


@dataclass(frozen=True)
class Plane:
    """Rows and components in a plane."""

    titles: list[str]
    points: Floats  # (N, 2)
    means: Floats  # (K, 2)
    covariances: Floats  # (K, 2, 2)


@dataclass(frozen=True)
class View:
    """A fitted model and rows, checked and converted for a plot."""

    model: BaseMixture  # a copy without names of features
    rows: Floats
    names: list[str]
    layout: Layout
    weights: Floats
    means: Floats
    covariances: Floats
    labels: Labels  # of the rows
    drawn: Labels  # the components to draw

    @classmethod
    def of(cls, model: BaseMixture, X: ArrayLike, columns: Sequence[str] | None) -> View:
        """Check the model and the rows.

        Raises
        ------
        ValueError
            The model is not fitted or does not accept the rows, or the number of `columns` is
            wrong.
        """
        check_fitted(model, "weights_", "means_", "covariances_")
        d = int(np.shape(model.means_)[1])
        rows = as_data(X, n_features=d, estimator=type(model).__name__)
        check_finite(rows)
        names = _names(model, X, columns)
        if len(names) != d:
            raise ValueError(f"X has {d} columns, but there are {len(names)} names")
        labels = model.predict(X)  # with the feature names of X, if any
        weights = np.asarray(model.weights_, dtype=np.float64)
        plain = copy(model)  # arrays have no names
        if hasattr(plain, "feature_names_in_"):
            del plain.feature_names_in_
        return cls(
            plain,
            rows.astype(np.float64, copy=False),
            names,
            layout_of(model.covariance_type),
            weights,
            np.asarray(model.means_, dtype=np.float64),
            np.asarray(model.covariances_, dtype=np.float64),
            labels,
            _drawn(weights, labels),
        )

    @property
    def n_features(self) -> int:
        return len(self.names)

    def chosen(self, features: Feature | Sequence[Feature] | None, most: int = 2) -> list[int]:
        """Return the positions of the features to draw, given by number or name; None: all."""
        d, plain = self.n_features, [name.replace(r"\$", "$") for name in self.names]
        if features is None:
            return list(range(d))
        asked = list(features) if isinstance(features, (tuple, list)) else [features]
        places = []
        for feature in asked:
            if isinstance(feature, str):
                places += [i for i, name in enumerate(plain) if name == feature]
            elif isinstance(feature, (int, np.integer)) and -d <= feature < d:
                places.append(int(feature) % d)
        if not len(places) == len(asked) == len(set(places)) or not 1 <= len(places) <= most:
            count = "one or two" if most == 2 else "some"
            raise ValueError(
                f"features must be {count} of the numbers 0 to {d - 1} or of the names "
                f"{listed(plain)}, got {features!r}"
            )
        return places

    def line(self, feature: int) -> Line:
        """Return one feature."""
        variances = self.layout.variances(self.covariances, len(self.weights), self.n_features)
        return Line(
            self.names[feature],
            self.rows[:, feature],
            self.means[:, feature],
            variances[:, feature],
        )

    def plane(self, features: Sequence[int]) -> Plane:
        """Return the plane of two features; of more, that of their first two principal axes."""
        if len(features) == 2:
            basis, origin = np.eye(self.n_features)[:, features], np.zeros(self.n_features)
            titles = [self.names[i] for i in features]
        else:
            origin = self.rows.mean(axis=0)
            values, vectors = principal_axes(self.rows - origin)
            basis = vectors[:, :2]
            share = values[:2] / values.sum() if values.sum() > 0 else np.zeros(2)
            titles = [f"principal axis {i + 1} ({s:.0%} of variance)" for i, s in enumerate(share)]
        return Plane(
            titles,
            (self.rows - origin) @ basis,
            (self.means - origin) @ basis,
            _projected(self.layout, self.covariances, basis, len(self.weights)),
        )


def _names(model: BaseMixture, X: ArrayLike, columns: Sequence[str] | None) -> list[str]:
    """Return the names of the features: those given, of the data frame, or of the fit."""
    if columns is not None:
        return list(columns)
    found = feature_names(X)
    if found is None:
        found = getattr(model, "feature_names_in_", None)
    if found is None:
        return [f"feature {i}" for i in range(np.shape(model.means_)[1])]
    return [str(name).replace("$", r"\$") for name in found]  # a dollar sign is plain text


def _drawn(weights: Floats, labels: Labels) -> Labels:
    """Return the components to draw: those with a row of their own, or the weight of one."""
    counts = np.bincount(labels, minlength=len(weights))
    return np.flatnonzero((counts > 0) | (weights >= min(0.01, 1 / len(labels))))


def principal_axes(centered: Floats) -> tuple[Floats, Floats]:
    """Return the variances along the principal axes, largest first, and the axes in columns."""
    n, d = centered.shape
    if 2 <= n < d:  # without a d x d matrix
        _, scales, axes = np.linalg.svd(centered, full_matrices=False)
        return scales**2 / n, axes.T
    values, vectors = np.linalg.eigh(np.cov(centered.T, bias=True))  # works for one row, too
    return values[::-1], vectors[:, ::-1]


def _projected(layout: Layout, covariances: Floats, basis: Floats, n_components: int) -> Floats:
    """Return the covariances in the plane of two basis vectors, (K, 2, 2)."""
    d = len(basis)
    if layout.has_matrices:
        return np.asarray(basis.T @ layout.matrices(covariances, n_components, d) @ basis)
    variances = layout.variances(covariances, n_components, d)
    return np.asarray(basis.T @ (variances[:, :, None] * basis))
