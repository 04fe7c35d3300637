"""Plots of the density: a histogram with components, contours with ellipses, a grid of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._quality import crossings
from .._typing import Floats, Labels
from ._style import (
    MARKERS,
    background,
    colors,
    halo,
    ink,
    label_at,
    legend,
    mixed,
    new_figure,
)
from ._view import Feature, Line, Plane, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._fitting import BaseMixture

MANY_ROWS = 5000  # markers of more rows are small, and drawn as an image in vector graphics
_MASSES = (0.5, 0.8, 0.95)  # of the regions between contours
_MOST_THRESHOLDS = 12  # with a number


def plot_density(
    model: BaseMixture,
    X: ArrayLike,
    *,
    ax: Axes | None = None,
    columns: Sequence[str] | None = None,
    features: Feature | Sequence[Feature] | None = None,
) -> Axes:
    """Plot the rows of `X` and the density of a fitted mixture.

    With one feature: a histogram, the components, their sum, and dashed lines at the thresholds
    between components (`crossings`). With two: the rows, ellipses at 1 and 2 standard deviations of
    each component, and shaded regions with 50, 80 and 95 % of the mixture. With more: the same on
    the first two principal axes of the data, or for one or two of the features.

    Components have numbers, and markers of different shapes as well as colors of the current
    matplotlib style. Components are omitted if their weight is less than one row and they are not
    the most probable component of any row; the legend says how many.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features)
    ax : matplotlib.axes.Axes or None, default=None
        The axes to draw on. None: those of a new pyplot figure.
    columns : sequence of str or None, default=None
        Names of the features. None: those of a data frame `X` or of the fit, if there are any;
        otherwise "feature 0" etc.
    features : int, str, pair of these, or None, default=None
        One or two of several features to plot, given as numbers or names. None: principal axes.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; the figure is ``ax.figure``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The model is not fitted or does not accept the rows, the number of `columns` is wrong, or
        the features do not exist.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture
    >>> from fusedgmm.datasets import load_faithful
    >>> from fusedgmm.plots import plot_density
    >>> X = load_faithful()
    >>> model = GaussianMixture(2, random_state=0).fit(X)
    >>> ax = plot_density(model, X, columns=["eruption (min)", "waiting (min)"])
    >>> ax.get_xlabel()
    'eruption (min)'
    """
    view = View.of(model, X, columns)
    chosen = view.chosen(features)
    ax = new_figure(7, 5).add_subplot() if ax is None else ax
    if len(chosen) == 1:
        line = view.line(chosen[0])
        draw_line(ax, line, view.weights, view.drawn)
        if view.n_features == 1:
            _thresholds(ax, crossings(model).thresholds, line.x)
        ax.set_xlabel(line.title)
        ax.set_ylabel("density")
    else:
        plane = view.plane(chosen)
        draw_plane(ax, plane, view.labels, view.drawn)
        shade_density(ax, plane, view.weights)
        ax.set_xlabel(plane.titles[0])
        ax.set_ylabel(plane.titles[1])
    legend(ax, view.weights, view.drawn)
    return ax


def plot_pairs(
    model: BaseMixture,
    X: ArrayLike,
    *,
    axes: Sequence[Sequence[Axes]] | NDArray[np.object_] | None = None,
    columns: Sequence[str] | None = None,
    features: Sequence[Feature] | None = None,
) -> NDArray[np.object_]:
    """Plot the rows of `X` and a fitted mixture for every pair of features.

    The panels on the diagonal show one feature, those below it two, as in `plot_density`.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features)
    axes : array-like of matplotlib.axes.Axes of shape (m, m), or None, default=None
        The axes to draw on, for m features. None: those of a new pyplot figure.
    columns : sequence of str or None, default=None
        Names of the features, as in `plot_density`.
    features : sequence of int or str, or None, default=None
        The features to plot, given as numbers or names. None: all, at most ten.

    Returns
    -------
    axes : array of matplotlib.axes.Axes of shape (m, m)
        Those above the diagonal are invisible.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The model is not fitted or does not accept the rows, a number of names or axes is wrong, or
        the features do not exist or are too many.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture
    >>> from fusedgmm.datasets import load_iris
    >>> from fusedgmm.plots import plot_pairs
    >>> X, species = load_iris()
    >>> names = ["sepal length", "sepal width", "petal length", "petal width"]
    >>> axes = plot_pairs(GaussianMixture(3, random_state=0).fit(X), X, columns=names)
    >>> axes.shape, axes[3, 0].get_ylabel()
    ((4, 4), 'petal width')
    """
    view = View.of(model, X, columns)
    chosen = view.chosen(features, most=view.n_features)
    m = len(chosen)
    if m > 10:
        raise ValueError(f"plot_pairs plots at most 10 features, got {m}; choose some by features")
    if axes is None:
        figure = new_figure(2.5 + 2.1 * m, 1 + 1.9 * m)
        axes = figure.subplots(m, m, squeeze=False, sharex="col")
    grid = np.array(axes, dtype=object)
    if grid.shape != (m, m):
        raise ValueError(f"axes must have shape {(m, m)}, got {grid.shape}")
    for i, row in enumerate(grid):
        for j, ax in enumerate(row):
            if j > i:
                ax.set_visible(False)
                continue
            if i == j:
                draw_line(ax, view.line(chosen[i]), view.weights, view.drawn)
                ax.set_yticks([])
            else:
                plane = view.plane([chosen[j], chosen[i]])
                draw_plane(ax, plane, view.labels, view.drawn)
            ax.tick_params(labelbottom=i == m - 1, labelleft=j == 0 < i)
            ax.set_xlabel(view.names[chosen[j]] if i == m - 1 else "")
            ax.set_ylabel(view.names[chosen[i]] if j == 0 else "")
    legend(grid[-1, 0], view.weights, view.drawn, figure=grid[0, 0].figure)
    return grid


def _edges(x: Floats) -> list[float]:
    """Return the edges of about 1.5 sqrt(n) bins; if the values are on a grid, between the
    values."""
    values = np.unique(x)
    first, last = float(values[0]), float(values[-1])
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    count = math.ceil(1.5 * math.sqrt(len(x)))
    steps = (last - first) / count / step  # infinite if the difference of two values is subnormal
    if steps >= 7.5:
        return list(np.linspace(first, last, count + 1))
    width = max(1, round(steps)) * step
    first -= step / 2
    return [first + i * width for i in range(math.ceil((last - first) / width) + 1)]


def grid_over(x: Floats) -> Floats:
    """Return points over the range of the values, and a little more."""
    margin = 0.1 * (np.ptp(x) or 1.0)
    return np.linspace(x.min() - margin, x.max() + margin, 500)


def draw_line(ax: Axes, line: Line, weights: Floats, drawn: Labels) -> None:
    """Draw a histogram, the components with their numbers, and their sum."""
    x = line.x
    ax.hist(x, bins=_edges(x), density=True, color=mixed(ax, 0.15), edgecolor=background(ax))
    grid = grid_over(x)
    with np.errstate(over="ignore"):  # the density underflows far away
        parts = [
            w * np.exp(-0.5 * (grid - m) ** 2 / v) / np.sqrt(2 * np.pi * v)
            for w, m, v in zip(weights, line.means, line.variances, strict=True)
        ]
    for k, color in zip(drawn, colors(ax, len(drawn)), strict=True):
        ax.fill_between(grid, parts[k], color=color, alpha=0.4, label=f"component {k}")
        top = int(np.argmax(parts[k]))
        if len(weights) > 1:
            label_at(ax, str(k), (grid[top], parts[k][top]))
    if parts:
        ax.plot(grid, np.sum(parts, axis=0), color=ink(ax), linewidth=1, label="mixture")


def _thresholds(ax: Axes, thresholds: Floats, x: Floats) -> None:
    """Mark the thresholds within the range of the values."""
    inside = thresholds[(thresholds >= x.min()) & (thresholds <= x.max())]
    if 0 < len(inside) <= _MOST_THRESHOLDS:
        ax.set_ylim(0, 1.15 * ax.get_ylim()[1])  # room for the numbers
    for i, at in enumerate(inside):
        ax.axvline(at, color=ink(ax), linewidth=0.8, linestyle="--", label="" if i else "threshold")
        if len(inside) <= _MOST_THRESHOLDS:
            ax.annotate(
                f"{at:.4g}",
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-2, -3),
                textcoords="offset points",
                rotation=90,
                ha="right",
                va="top",
                color=ink(ax),
                fontsize="x-small",
            )


def draw_plane(
    ax: Axes,
    plane: Plane,
    labels: Labels,
    drawn: Labels,
    *,
    with_rows: bool = True,
) -> None:
    """Draw the rows, and each component's ellipses, mean and number."""
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    many = len(plane.points) > MANY_ROWS
    outline = halo(ax)
    for i, (k, color) in enumerate(zip(drawn, colors(ax, len(drawn)), strict=True)):
        mean, mine, marker = plane.means[k], plane.points[labels == k], MARKERS[i % len(MARKERS)]
        if with_rows:
            ax.scatter(
                mine[:, 0],
                mine[:, 1],
                s=2 if many else 14,
                marker="o" if many else marker,
                alpha=0.5,
                color=color,
                linewidths=0,
                rasterized=many,
            )
        values, vectors = np.linalg.eigh(plane.covariances[k])
        root = vectors * np.sqrt(np.maximum(values, 0))
        for radius in (1, 2):
            ax.plot(
                *(mean[:, None] + radius * root @ circle),
                color=color,
                linewidth=1.5,
                marker="" if many else marker,  # in the legend
                markevery=[],
                path_effects=outline if many else None,
                label=f"component {k}" if radius == 1 else None,
            )
        ax.plot(*mean, "+", color=ink(ax), path_effects=outline)
        label_at(ax, str(k), mean)


def shade_density(ax: Axes, plane: Plane, weights: Floats) -> None:
    """Shade the smallest regions that contain certain shares of the mixture (Hyndman, 1996,
    "Computing and graphing highest density regions", Am. Statistician 50, 120-126)."""
    x, y = (np.linspace(*limits, 150) for limits in (ax.get_xlim(), ax.get_ylim()))
    points = np.stack(np.meshgrid(x, y), axis=-1)
    density = np.zeros(points.shape[:2])
    with np.errstate(all="ignore"):
        for weight, mean, covariance in zip(weights, plane.means, plane.covariances, strict=True):
            determinant = np.linalg.det(covariance)
            if not 0.0 < determinant < np.inf:
                continue
            moved = points - mean
            distance = np.einsum("...i,ij,...j", moved, np.linalg.inv(covariance), moved)
            density += weight * np.exp(-0.5 * distance) / (2 * np.pi * np.sqrt(determinant))
    falling = np.sort(density, axis=None)[::-1]
    mass = np.cumsum(falling)
    if not (np.isfinite(mass[-1]) and mass[-1] > 0.0):
        return
    levels = [float(falling[np.searchsorted(mass, share * mass[-1])]) for share in _MASSES[::-1]]
    levels = [*levels, float(falling[0])]
    if (np.diff(levels) <= 0.0).any():  # all of the mixture lies within one step of the grid
        return
    shades = [mixed(ax, 0.05 * (i + 1)) for i in range(len(_MASSES))]
    ax.contourf(x, y, density, levels=levels, colors=shades, zorder=0.5)
    ax.contour(x, y, density, levels=levels[:-1], colors=[mixed(ax, 0.35)], linewidths=0.5)
