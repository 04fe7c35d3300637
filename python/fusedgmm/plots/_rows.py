"""Plots of the rows: their responsibilities, their uncertainty, their components and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._quality import ClassificationTable, classification_table
from ._density import MANY_ROWS, draw_plane, grid_over
from ._style import LINES, colors, ink, label_at, legend, mixed, new_figure
from ._view import Feature, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._fitting import BaseMixture

_MOST_BARS = 2000  # of a plot of responsibilities; more rows are averaged


def plot_responsibilities(
    model: BaseMixture,
    X: ArrayLike,
    *,
    ax: Axes | None = None,
    columns: Sequence[str] | None = None,
) -> Axes:
    """Plot the probability of each component.

    With one feature: a curve for each component over the feature. With more: a stacked bar for each
    row, sorted by most probable component and by its probability, so that steep edges mean well
    separated components. More than 2,000 rows are averaged in groups of neighbors.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features)
    ax : matplotlib.axes.Axes or None, default=None
        The axes to draw on. None: those of a new pyplot figure.
    columns : sequence of str or None, default=None
        Names of the features, as in `plot_density`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The model is not fitted or does not accept the rows, or the number of `columns` is wrong.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture
    >>> from fusedgmm.datasets import load_faithful
    >>> from fusedgmm.plots import plot_responsibilities
    >>> X = load_faithful()
    >>> ax = plot_responsibilities(GaussianMixture(2, random_state=0).fit(X), X)
    >>> ax.get_ylabel()
    'responsibility'
    """
    view = View.of(model, X, columns)
    ax = new_figure(7, 5).add_subplot() if ax is None else ax
    ax.set_ylabel("responsibility")
    ax.set_ylim(0, 1.05 if view.n_features == 1 else 1)
    if view.n_features == 1:
        _curves(ax, view)
    else:
        _bars(ax, view)
    legend(ax, view.weights, view.drawn, beside=True)
    return ax


def _curves(ax: Axes, view: View) -> None:
    grid = grid_over(view.rows[:, 0])
    values = view.model.predict_proba(grid[:, None])
    for i, (k, color) in enumerate(zip(view.drawn, colors(ax, len(view.drawn)), strict=True)):
        style = LINES[i % len(LINES)]
        ax.plot(grid, values[:, k], color=color, linestyle=style, label=f"component {k}")
        top = np.flatnonzero(values[:, k] >= values[:, k].max() - 1e-3)
        label_at(ax, str(k), (grid[top[len(top) // 2]], values[top[len(top) // 2], k]))
    ax.set_xlim(grid[0], grid[-1])
    ax.set_xlabel(view.names[0])


def _bars(ax: Axes, view: View) -> None:
    values = view.model.predict_proba(view.rows)
    n = len(values)
    order = np.lexsort((-values[np.arange(n), view.labels], view.labels))
    cuts = np.unique(np.linspace(0, n, min(n, _MOST_BARS) + 1).astype(np.int64))
    bars = np.add.reduceat(values[order], cuts[:-1]) / np.diff(cuts)[:, None]
    heights = np.cumsum(bars[:, view.drawn], axis=1)
    edges = np.repeat(cuts, 2)[1:-1]
    below = np.zeros(len(edges))
    for i, (k, color) in enumerate(zip(view.drawn, colors(ax, len(view.drawn)), strict=True)):
        above = np.repeat(heights[:, i], 2)
        ax.fill_between(edges, below, above, color=color, linewidth=0, label=f"component {k}")
        mine = np.flatnonzero(view.labels[order] == k)
        if len(mine):
            middle = 0.5 * (mine[0] + mine[-1] + 1)
            label_at(ax, str(k), (middle, 0.5), beside=False)
            if mine[0] > 0:
                ax.axvline(mine[0], color=ink(ax), linewidth=0.5)
        below = above
    ax.set_xlim(0, n)
    ax.set_xlabel("rows, sorted by component")


def plot_uncertainty(
    model: BaseMixture,
    X: ArrayLike,
    *,
    ax: Axes | None = None,
    columns: Sequence[str] | None = None,
    features: Feature | Sequence[Feature] | None = None,
) -> Axes:
    """Plot how uncertain the component of each row is: one minus its largest responsibility.

    With one feature: a curve over the feature, and a tick for each row. With more: the rows in a
    plane; the more uncertain, the larger and darker (on a light background).

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features)
    ax : matplotlib.axes.Axes or None, default=None
        The axes to draw on. None: those of a new pyplot figure.
    columns, features
        As in `plot_density`, but with two features.

    Returns
    -------
    matplotlib.axes.Axes

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
    >>> from fusedgmm.datasets import load_heights
    >>> from fusedgmm.plots import plot_uncertainty
    >>> X, _ = load_heights()
    >>> ax = plot_uncertainty(GaussianMixture(2, random_state=0).fit(X), X, columns=["cm"])
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('cm', 'uncertainty')
    """
    view = View.of(model, X, columns)
    plane = _plane_or_line(view, features)
    ax = new_figure(7, 5).add_subplot() if ax is None else ax
    if plane is None:
        grid = grid_over(view.rows[:, 0])
        values = view.model.uncertainty(grid[:, None])
        ax.fill_between(grid, values, color=mixed(ax, 0.2), linewidth=0)
        ax.plot(grid, values, color=ink(ax), linewidth=1)
        ticks = {"color": ink(ax), "linewidths": 0.5, "alpha": 0.5}
        ax.vlines(view.rows[:, 0], 0, 0.03, transform=ax.get_xaxis_transform(), **ticks)
        ax.set_xlim(grid[0], grid[-1])
        ax.set_ylim(0, None)
        ax.set_xlabel(view.names[0])
        ax.set_ylabel("uncertainty")
        return ax
    draw_plane(ax, plane, view.labels, view.drawn, with_rows=False)
    values = np.nan_to_num(view.model.uncertainty(view.rows), nan=1.0)  # far from every component
    order = np.argsort(values, kind="stable")  # the most uncertain on top
    many = len(values) > MANY_ROWS
    shown = ax.scatter(
        plane.points[order, 0],
        plane.points[order, 1],
        c=values[order],
        s=(2 if many else 8) + (20 if many else 60) * values[order],
        cmap=_shades(ax),
        vmin=0.0,
        vmax=max(float(values.max()), 1e-3),
        linewidths=0,
        zorder=1.5,
        rasterized=many,
    )
    ax.figure.colorbar(shown, ax=ax, label="uncertainty")
    ax.set_xlabel(plane.titles[0])
    ax.set_ylabel(plane.titles[1])
    legend(ax, view.weights, view.drawn)
    return ax


def plot_classification(
    model: BaseMixture,
    X: ArrayLike,
    y_true: ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    columns: Sequence[str] | None = None,
    features: Feature | Sequence[Feature] | None = None,
) -> Axes:
    """Plot the most probable component of each row, and mark rows that differ from a true class.

    With one feature: a line of ticks for each component. With more: the rows in a plane, with a
    marker for each component. If `y_true` is given, the legend names the class that is matched to
    each component (see `classification_table`), rows of another class are marked, and the title
    shows the accuracy.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    X : array-like of shape (n_samples, n_features)
    y_true : array-like of shape (n_samples,) or None, default=None
        The true classes, if they are known.
    ax : matplotlib.axes.Axes or None, default=None
        The axes to draw on. None: those of a new pyplot figure.
    columns, features
        As in `plot_density`, but with two features.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The model is not fitted or does not accept the rows, the number of `columns` or of classes
        is wrong, or the features do not exist.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture
    >>> from fusedgmm.datasets import load_iris
    >>> from fusedgmm.plots import plot_classification
    >>> X, species = load_iris()
    >>> ax = plot_classification(GaussianMixture(3, random_state=0).fit(X), X, species)
    >>> ax.get_title()
    'accuracy 96.7%'
    """
    view = View.of(model, X, columns)
    plane = _plane_or_line(view, features)
    table = None if y_true is None else classification_table(y_true, view.labels)
    ax = new_figure(7, 5).add_subplot() if ax is None else ax
    wrong = np.zeros(len(view.rows), dtype=bool)
    if table is not None:
        names: list[Any] = [table.matched.get(k) for k in range(len(view.weights))]
        truth = np.asarray(y_true).tolist()
        wrong = np.array([names[k] != y for k, y in zip(view.labels, truth, strict=True)])
        ax.set_title(f"accuracy {table.accuracy:.1%}", fontsize="medium")
    if plane is None:
        _ticks(ax, view, wrong, table)
        return ax
    draw_plane(ax, plane, view.labels, view.drawn)
    if wrong.any():
        ax.scatter(
            plane.points[wrong, 0],
            plane.points[wrong, 1],
            s=60,
            marker="o",
            facecolors="none",
            edgecolors=[ink(ax)],
            linewidths=1,
            label="another class",
        )
    ax.set_xlabel(plane.titles[0])
    ax.set_ylabel(plane.titles[1])
    for artist in ax.lines:
        artist.set_label(_with_class(str(artist.get_label()), table))
    legend(ax, view.weights, view.drawn)
    return ax


def _ticks(ax: Axes, view: View, wrong: Any, table: ClassificationTable | None) -> None:
    """Draw a line of ticks for each component, and crosses on rows of another class."""
    x = view.rows[:, 0]
    for i, (k, color) in enumerate(zip(view.drawn, colors(ax, len(view.drawn)), strict=True)):
        mine = view.labels == k
        ax.plot(x[mine], np.full(mine.sum(), i), "|", color=color, markersize=14, alpha=0.8)
        errors = x[mine & wrong]
        ax.plot(errors, np.full(len(errors), i), "x", color=ink(ax), markersize=5)
    names = [_with_class(f"component {k}", table) for k in view.drawn]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(view.names[0])


def _with_class(label: str, table: ClassificationTable | None) -> str:
    """Return the name of a component, with that of its class."""
    if table is None or not label.startswith("component "):
        return label
    matched = table.matched.get(int(label.removeprefix("component ")))
    return label if matched is None else f"{label}: {matched}".replace("$", r"\$")


def _plane_or_line(view: View, features: Feature | Sequence[Feature] | None) -> Any:
    chosen = view.chosen(features)
    if len(chosen) == 1 and view.n_features > 1:
        raise ValueError(f"features must be two, got {features!r}")
    return None if view.n_features == 1 else view.plane(chosen)


def _shades(ax: Axes) -> Any:
    """Return a map of colors from near the background to the ink."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("uncertainty", [mixed(ax, 0.35), ink(ax)])
