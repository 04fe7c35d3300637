"""Pictures of a fitted mixture. Needs matplotlib: ``pip install fusedgmm[plot]``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._covariance import layout_of
from ._estimator import check_fitted
from ._typing import Floats, Labels
from ._validation import as_data, check_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._batch_result import BatchResult
    from ._mixture import GaussianMixture


def _figure(width: float, height: float) -> Figure:
    """Return an empty Figure, its sides in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install fusedgmm[plot]") from error
    return Figure(figsize=(width, height), layout="constrained")


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
    ``features=(i, j)``. ValueError for rows that the model would not take, or other numbers of
    `columns`.
    """
    check_fitted(model)
    d = int(np.shape(model.means_)[1])
    rows = as_data(X, n_features=d, estimator=type(model).__name__).astype(np.float64, copy=False)
    check_finite(rows)
    names = list(columns) if columns is not None else [f"feature {i}" for i in range(d)]
    if len(names) != d:
        raise ValueError(f"X has {d} columns, the names are {len(names)}")
    weights = np.asarray(model.weights_, dtype=np.float64)
    means = np.asarray(model.means_, dtype=np.float64)
    covariances = layout_of(model.covariance_type).matrices(model.covariances_, len(weights), d)
    figure = _figure(7, 5)
    axes = figure.add_subplot()
    if d == 1:
        _densities(axes, rows[:, 0], weights, means[:, 0], covariances[:, 0, 0])
        axes.set_xlabel(names[0])
        axes.set_ylabel("density")
        axes.legend(frameon=False)
        return figure
    labels = model.predict(X)  # with the names that it may have
    if features is not None:
        basis, origin = np.eye(d)[:, list(features)], np.zeros(d)
        titles = [names[i] for i in features]
    elif d == 2:
        basis, origin, titles = np.eye(2), np.zeros(2), names
    else:
        origin = rows.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))  # also of one row
        basis = vectors[:, ::-1][:, :2]
        share = values[::-1][:2] / values.sum() if values.sum() > 0 else np.zeros(2)
        titles = [f"principal axis {i + 1} ({s:.0%} of variance)" for i, s in enumerate(share)]
    _ellipses(
        axes,
        (rows - origin) @ basis,
        labels,
        (means - origin) @ basis,
        basis.T @ covariances @ basis,
    )
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    return figure


def plot_batch(
    X: Sequence[ArrayLike],
    result: BatchResult,
    *,
    names: Sequence[str] | None = None,
    unit: str = "value",
) -> Figure:
    """Draw problems of one feature, each in a panel: histogram, components and their sum.

    Parameters
    ----------
    X : sequence of array-likes of shape (n_i,) or (n_i, 1)
        The rows of every problem, as `fit_batch` took them.
    result : BatchResult
        A few problems: of many, choose some, as in ``plot_batch(X[:12], result[:12])``.
    names : sequence of str or None, default=None
        One per problem. None: the labels of the groups, or numbers.
    unit : str, default="value"
        What the horizontal axes show.

    Returns
    -------
    matplotlib.figure.Figure
        A title says the number of components and, where several were tried, the criterion of each.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        Problems of several features, or another number of them than in `X` or `names`.
    """
    if result.means.shape[2] != 1:
        raise ValueError(f"plot_batch draws one feature, the fits have {result.means.shape[2]}")
    if names is None:
        labels = range(len(result)) if result.labels is None else result.labels
        names = [str(label) for label in labels]
    if not len(X) == len(names) == len(result):
        raise ValueError(
            f"the result has {len(result)} problems, X has {len(X)}, names are {len(names)}"
        )
    columns = max(1, math.ceil(math.sqrt(len(result))))
    lines = max(1, math.ceil(len(result) / columns))
    figure = _figure(1 + 3.6 * columns, 0.4 + 2.8 * lines)
    for i, (x, name) in enumerate(zip(X, names, strict=True)):
        axes = figure.add_subplot(lines, columns, i + 1)
        K = int(result.n_components[i])
        values = np.asarray(x, dtype=np.float64).reshape(-1)
        values = values[np.isfinite(values)]
        if len(values):
            layout = layout_of(result.covariance_type)
            kept = result.covariances[i] if layout.shared else result.covariances[i, :K]
            variances = layout.variances(kept, K, 1)[:, 0]
            order = np.argsort(result.means[i, :K, 0])  # the same colours from left to right
            _densities(
                axes,
                values,
                result.weights[i, order],
                result.means[i, order, 0],
                variances[order],
            )
        axes.set_title(_title(result, i, name), fontsize="medium")
        axes.set_xlabel(unit)
        if i % columns == 0:
            axes.set_ylabel("density")
    return figure


def _title(result: BatchResult, i: int, name: str) -> str:
    K = int(result.n_components[i])
    if K == 0:
        return f"{name}\n{result._reason(i)}"
    title = f"{name}: {K} component{'s' * (K > 1)}"
    if len(result.candidates) == 1:
        return title
    tried = zip(result.candidates, result.criteria[i], strict=True)
    return f"{title}\n{result.criterion.upper()} of " + ", ".join(f"{k}: {v:.1f}" for k, v in tried)


def _edges(x: Floats) -> list[float]:
    """Return the edges of about 1.5 sqrt(n) bins; between the values, where those are on a grid."""
    values = np.unique(x)
    first, last = float(values[0]), float(values[-1])
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    count = math.ceil(1.5 * math.sqrt(len(x)))
    steps = (last - first) / count / step  # infinite where two values are subnormally close
    if steps >= 7.5:
        return list(np.linspace(first, last, count + 1))
    width = max(1, round(steps)) * step
    first -= step / 2
    return [first + i * width for i in range(math.ceil((last - first) / width) + 1)]


def _densities(axes: Axes, x: Floats, weights: Floats, means: Floats, variances: Floats) -> None:
    axes.hist(x, bins=_edges(x), density=True, color="0.85", edgecolor="white")
    margin = 0.1 * (np.ptp(x) or 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, 500)
    with np.errstate(over="ignore"):  # so far away that the density is zero
        parts = [
            w * np.exp(-0.5 * (grid - m) ** 2 / v) / np.sqrt(2 * np.pi * v)
            for w, m, v in zip(weights, means, variances, strict=True)
        ]
    for k, part in enumerate(parts):
        axes.fill_between(grid, part, color=f"C{k % 10}", alpha=0.4, label=f"component {k}")
    if parts:
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
