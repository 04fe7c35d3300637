"""Pictures of a fitted mixture. Needs matplotlib: ``pip install fusedgmm[plot]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._typing import Floats, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .mixture import GaussianMixture


def full_covariances(
    covariances: ArrayLike, covariance_type: str, n_components: int, n_features: int
) -> Floats:
    """The covariances of any type as (K, d, d)."""
    c = np.asarray(covariances, dtype=np.float64)
    shape = (n_components, n_features, n_features)
    if covariance_type in ("full", "tied"):
        return np.broadcast_to(c, shape).copy()
    return np.broadcast_to(c.reshape(n_components, -1, 1) * np.eye(n_features), shape).copy()


def plot_mixture(
    X: ArrayLike,
    model: GaussianMixture,
    *,
    columns: Sequence[str] | None = None,
    features: tuple[int, int] | None = None,
) -> Figure:
    """A matplotlib Figure of the rows X and the fitted model.

    One feature: histogram and densities. Two: scatter and the ellipses at 1 and 2 standard
    deviations. More: the same on the data's first two principal axes, or on the two columns
    ``features=(i, j)``.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install fusedgmm[plot]") from error
    X = np.asarray(X, dtype=np.float64)
    d = X.shape[1]
    names = list(columns) if columns is not None else [f"feature {i}" for i in range(d)]
    weights = np.asarray(model.weights_, dtype=np.float64)
    means = np.asarray(model.means_, dtype=np.float64)
    covariances = full_covariances(model.covariances_, model.covariance_type, len(weights), d)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    if d == 1:
        _densities(axes, X[:, 0], weights, means[:, 0], covariances[:, 0, 0])
        axes.set_xlabel(names[0])
        axes.set_ylabel("density")
        axes.legend(frameon=False)
        return figure
    labels = model.predict(X)
    if features is not None:
        basis, origin = np.eye(d)[:, list(features)], np.zeros(d)
        titles = [names[i] for i in features]
    elif d == 2:
        basis, origin, titles = np.eye(2), np.zeros(2), names
    else:
        origin = X.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(X.T))
        basis = vectors[:, ::-1][:, :2]
        share = values[::-1][:2] / values.sum() if values.sum() > 0 else np.zeros(2)
        titles = [f"principal axis {i + 1} ({s:.0%} of variance)" for i, s in enumerate(share)]
    _ellipses(
        axes, (X - origin) @ basis, labels, (means - origin) @ basis, basis.T @ covariances @ basis
    )
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    return figure


def _densities(axes: Axes, x: Floats, weights: Floats, means: Floats, variances: Floats) -> None:
    axes.hist(x, bins="sqrt", density=True, color="0.85", edgecolor="white")
    margin = 0.1 * (np.ptp(x) or 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, 500)
    parts = [
        w * np.exp(-0.5 * (grid - m) ** 2 / v) / np.sqrt(2 * np.pi * v)
        for w, m, v in zip(weights, means, variances, strict=True)
    ]
    for k, part in enumerate(parts):
        axes.plot(grid, part, color=f"C{k % 10}", label=f"component {k}")
    axes.plot(grid, np.sum(parts, axis=0), color="black", linewidth=1, label="mixture")


def _ellipses(
    axes: Axes, points: Floats, labels: Labels, means: Floats, covariances: Floats
) -> None:
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    many = len(points) > 5000
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        colour = f"C{k % 10}"
        mine = points[labels == k]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=2 if many else 12,
            alpha=0.5,
            color=colour,
            linewidths=0,
            rasterized=many,
        )
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        for radius in (1, 2):
            axes.plot(*(mean[:, None] + radius * root @ circle), color=colour, linewidth=1.5)
        axes.plot(*mean, "+", color="black")
