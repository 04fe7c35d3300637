"""Plots of fitted mixtures. Requires matplotlib: ``pip install fusedgmm[plot]``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._covariance import Layout, layout_of
from ._estimator import check_fitted, feature_names
from ._typing import Floats, Labels
from ._validation import as_data, check_finite, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._batch_result import BatchResult
    from ._fitting import BaseMixture


def _new_figure(width: float, height: float) -> Figure:
    """Return an empty pyplot figure of this size in inches."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install fusedgmm[plot]") from error
    return pyplot.figure(figsize=(width, height), layout="constrained")


def plot_mixture(
    model: BaseMixture,
    X: ArrayLike,
    *,
    ax: Axes | None = None,
    columns: Sequence[str] | None = None,
    features: tuple[int | str, int | str] | None = None,
) -> Axes:
    """Plot the rows of `X` and a fitted mixture.

    With one feature: a histogram and densities. With two: a scatter plot, and ellipses at 1 and 2
    standard deviations. With more: the same on the first two principal axes of the data, or for two
    of the features. Components are omitted if their weight is less than one row and they are not
    the most probable component of any row; the legend says how many. Colors come from the current
    matplotlib style.

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
    features : pair of int or str, or None, default=None
        Two of several features to plot, given as numbers or names. None: principal axes.

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
    >>> from fusedgmm.plots import plot_mixture
    >>> X = load_faithful()
    >>> model = GaussianMixture(2, random_state=0).fit(X)
    >>> ax = plot_mixture(model, X, columns=["eruption (min)", "waiting (min)"])
    >>> ax.get_xlabel()
    'eruption (min)'
    """
    check_fitted(model, "weights_", "means_", "covariances_")
    d = int(np.shape(model.means_)[1])
    rows = as_data(X, n_features=d, estimator=type(model).__name__).astype(np.float64, copy=False)
    check_finite(rows)
    names = _names(model, X, columns)
    if len(names) != d:
        raise ValueError(f"X has {d} columns, but there are {len(names)} names")
    chosen = None if features is None else _chosen(features, names)
    weights = np.asarray(model.weights_, dtype=np.float64)
    means = np.asarray(model.means_, dtype=np.float64)
    layout = layout_of(model.covariance_type)
    labels = model.predict(X)  # with the feature names of X, if any
    drawn = _drawn(weights, labels)
    if ax is None:
        ax = _new_figure(7, 5).add_subplot()
    if d == 1:
        variances = layout.variances(model.covariances_, len(weights), d)[:, 0]
        _densities(ax, rows[:, 0], weights, means[:, 0], variances, drawn)
        ax.set_xlabel(names[0])
        ax.set_ylabel("density")
        _legend(ax, weights, drawn)
        return ax
    if chosen is not None:
        basis, origin = np.eye(d)[:, chosen], np.zeros(d)
        titles = [names[i] for i in chosen]
    elif d == 2:
        basis, origin, titles = np.eye(2), np.zeros(2), names
    else:
        origin = rows.mean(axis=0)
        values, vectors = _principal_axes(rows - origin)
        basis = vectors[:, :2]
        share = values[:2] / values.sum() if values.sum() > 0 else np.zeros(2)
        titles = [f"principal axis {i + 1} ({s:.0%} of variance)" for i, s in enumerate(share)]
    _ellipses(
        ax,
        (rows - origin) @ basis,
        labels,
        (means - origin) @ basis,
        _projected(layout, model.covariances_, basis, len(weights)),
        drawn,
    )
    ax.set_xlabel(titles[0])
    ax.set_ylabel(titles[1])
    _legend(ax, weights, drawn)
    return ax


def plot_batch(
    result: BatchResult,
    X: Sequence[ArrayLike],
    *,
    axes: Sequence[Axes] | NDArray[np.object_] | None = None,
    names: Sequence[str] | None = None,
    unit: str = "value",
) -> NDArray[np.object_]:
    """Plot problems with one feature, one per panel: histogram, components and their sum.

    Parameters
    ----------
    result : BatchResult
        A few problems; select some of many as in ``plot_batch(result[:12], X[:12])``.
    X : sequence of array-likes of shape (n_i,) or (n_i, 1)
        The rows of every problem, as passed to `fit_batch`.
    axes : array-like of matplotlib.axes.Axes or None, default=None
        The axes to draw on, one per problem. None: those of a new pyplot figure.
    names : sequence of str or None, default=None
        One name per problem. None: the labels of the groups, or numbers.
    unit : str, default="value"
        The label of the horizontal axes.

    Returns
    -------
    axes : array of matplotlib.axes.Axes of shape (n_problems,)
        The titles show the number of components and, if several were tried, the criterion of each.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The problems have several features, or their number differs from that of `X`, `names` or
        `axes`.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import fit_batch
    >>> from fusedgmm.plots import plot_batch
    >>> X = np.random.default_rng(0).normal(size=(4, 100, 1))
    >>> axes = plot_batch(fit_batch(X, [1, 2], random_state=0), X, unit="cm")
    >>> len(axes), axes[3].get_xlabel()
    (4, 'cm')
    """
    if result.means.shape[2] != 1:
        raise ValueError(f"plot_batch plots one feature, the fits have {result.means.shape[2]}")
    if names is None:
        labels = range(len(result)) if result.groups is None else result.groups
        names = [str(label) for label in labels]
    if not len(X) == len(names) == len(result):
        raise ValueError(
            f"the result has {len(result)} problems, X has {len(X)}, names are {len(names)}"
        )
    columns = max(1, math.ceil(math.sqrt(len(result))))
    if axes is None:
        lines = max(1, math.ceil(len(result) / columns))
        figure = _new_figure(1 + 3.6 * columns, 0.4 + 2.8 * lines)
        axes = [figure.add_subplot(lines, columns, i + 1) for i in range(len(result))]
    panels = np.array(axes, dtype=object).reshape(-1)
    if len(panels) != len(result):
        raise ValueError(f"the result has {len(result)} problems, axes are {len(panels)}")
    for i, (ax, x, name) in enumerate(zip(panels, X, names, strict=True)):
        K = int(result.n_components[i])
        values = np.asarray(x, dtype=np.float64).reshape(-1)
        values = values[np.isfinite(values)]
        if len(values):
            layout = layout_of(result.covariance_type)
            kept = result.covariances[i] if layout.shared else result.covariances[i, :K]
            variances = layout.variances(kept, K, 1)[:, 0]
            order = np.argsort(result.means[i, :K, 0])  # the same colors from left to right
            _densities(
                ax,
                values,
                result.weights[i, order],
                result.means[i, order, 0],
                variances[order],
                np.arange(K),
            )
        ax.set_title(_title(result, i, name), fontsize="medium")
        ax.set_xlabel(unit)
        if i % columns == 0:
            ax.set_ylabel("density")
    return panels


def _title(result: BatchResult, i: int, name: str) -> str:
    K = int(result.n_components[i])
    if K == 0:
        return f"{name}\n{result._reason(i)}"
    title = f"{name}: {K} component{'s' * (K > 1)}"
    if len(result.n_components_tried) == 1:
        return title
    tried = zip(result.n_components_tried, result.criteria[i], strict=True)
    return f"{title}\n{result.criterion.upper()} of " + ", ".join(f"{k}: {v:.1f}" for k, v in tried)


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


def _chosen(features: tuple[int | str, int | str], names: list[str]) -> list[int]:
    """Return the positions of two features, given by number or name."""
    pair = features if isinstance(features, (tuple, list)) else [features]
    plain = [name.replace(r"\$", "$") for name in names]
    places = []
    for feature in pair:
        if isinstance(feature, str):
            places += [i for i, name in enumerate(plain) if name == feature]
        elif isinstance(feature, (int, np.integer)) and -len(names) <= feature < len(names):
            places.append(int(feature) % len(names))
    if len(pair) != 2 or len(places) != 2 or places[0] == places[1]:
        raise ValueError(
            f"features must be two of the numbers 0 to {len(names) - 1} or of the names "
            f"{listed(plain)}, got {features!r}"
        )
    return places


def _drawn(weights: Floats, labels: Labels) -> Labels:
    """Return the components to draw: those with a row of their own, or the weight of one."""
    counts = np.bincount(labels, minlength=len(weights))
    return np.flatnonzero((counts > 0) | (weights >= min(0.01, 1 / len(labels))))


def _principal_axes(centered: Floats) -> tuple[Floats, Floats]:
    """Return the variances along the principal axes, largest first, and the axes in columns."""
    n, d = centered.shape
    if 2 <= n < d:  # without a d x d matrix
        _, scales, axes = np.linalg.svd(centered, full_matrices=False)
        return scales**2 / n, axes.T
    values, vectors = np.linalg.eigh(np.cov(centered.T, bias=True))  # works for one row, too
    return values[::-1], vectors[:, ::-1]


def _projected(layout: Layout, covariances: ArrayLike, basis: Floats, n_components: int) -> Floats:
    """Return the covariances in the plane of two basis vectors, (K, 2, 2)."""
    d = len(basis)
    if layout.has_matrices:
        return np.asarray(basis.T @ layout.matrices(covariances, n_components, d) @ basis)
    variances = layout.variances(covariances, n_components, d)
    return np.asarray(basis.T @ (variances[:, :, None] * basis))


# ---- colors ----


def _background(ax: Axes) -> tuple[float, float, float]:
    """Return the background color."""
    from matplotlib.colors import to_rgba

    below = np.ones(3)
    for color in (ax.figure.get_facecolor(), ax.get_facecolor()):
        *rgb, alpha = to_rgba(color)
        below = alpha * np.array(rgb) + (1 - alpha) * below
    red, green, blue = below
    return float(red), float(green), float(blue)


def _luminance(color: Any) -> float:
    """Return the brightness of a color, from 0 to 1."""
    from matplotlib.colors import to_rgb

    return float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))


def _ink(ax: Axes) -> Any:
    """Return the color of lines and markers: that of the style's text, if it is visible."""
    from matplotlib import rcParams

    behind, text = _luminance(_background(ax)), rcParams["text.color"]
    if abs(_luminance(text) - behind) >= 0.4:
        return text
    return "black" if behind > 0.5 else "white"


def _mixed(ax: Axes, share: float) -> tuple[float, float, float]:
    """Return a color between the background and the ink."""
    from matplotlib.colors import to_rgb

    mixed = (1 - share) * np.array(_background(ax)) + share * np.array(to_rgb(_ink(ax)))
    red, green, blue = mixed
    return float(red), float(green), float(blue)


def _colors(ax: Axes, count: int) -> list[Any]:
    """Return different colors: those of the style and, if they are too few, shades of them."""
    from matplotlib import colormaps, rcParams
    from matplotlib.colors import to_hex, to_rgb

    cycle = rcParams["axes.prop_cycle"].by_key().get("color", [])
    style = list(dict.fromkeys(map(to_rgb, cycle))) or [to_rgb(_ink(ax))]
    rounds = math.ceil(count / len(style))
    colors: list[Any] = []
    for i in range(count):
        color, ink = np.array(style[i % len(style)]), to_rgb(_ink(ax))
        far = abs(_luminance(color) - _luminance(ink)) > 0.25
        share = 0.6 * (i // len(style)) / max(1, rounds - 1)
        colors.append((1 - share) * color + share * np.array(ink if far else _background(ax)))
    if len(set(map(to_hex, colors))) < count:  # of a style with a few grays
        return list(colormaps[rcParams["image.cmap"]](np.linspace(0.1, 0.8, count)))
    return colors


MOST_NAMED = 20  # maximum number of components in a legend


def _legend(ax: Axes, weights: Floats, drawn: Labels) -> None:
    """Add a legend of the components, unless there are too many, and say how many are not drawn."""
    handles, labels = ax.get_legend_handles_labels()
    if len(drawn) > MOST_NAMED:
        kept = [i for i, label in enumerate(labels) if not label.startswith("component ")]
        handles, labels = [handles[i] for i in kept], [labels[i] for i in kept]
    title = None
    if len(drawn) < len(weights):
        left = np.delete(weights, drawn).max()
        title = (
            f"{len(weights) - len(drawn)} of {len(weights)} components are not drawn\n"
            f"(weight at most {left:.1g})"
        )
    if handles or title:
        beside = len(handles) > 6 and ax.figure.get_layout_engine() is not None
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        ax.legend(
            handles,
            labels,
            **place if beside else {},  # a layout engine makes room for it
            title=title,
            ncols=1 if beside or len(handles) <= 10 else 2,
            fontsize="small",
            title_fontsize="small",
            facecolor=_background(ax),
            edgecolor="none",
            framealpha=0.5,
            labelcolor=_ink(ax),
        ).get_title().set_color(_ink(ax))


def _densities(
    ax: Axes, x: Floats, weights: Floats, means: Floats, variances: Floats, drawn: Labels
) -> None:
    ax.hist(x, bins=_edges(x), density=True, color=_mixed(ax, 0.15), edgecolor=_background(ax))
    margin = 0.1 * (np.ptp(x) or 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, 500)
    with np.errstate(over="ignore"):  # the density underflows far away
        parts = [
            w * np.exp(-0.5 * (grid - m) ** 2 / v) / np.sqrt(2 * np.pi * v)
            for w, m, v in zip(weights, means, variances, strict=True)
        ]
    for k, color in zip(drawn, _colors(ax, len(drawn)), strict=True):
        ax.fill_between(grid, parts[k], color=color, alpha=0.4, label=f"component {k}")
    if len(drawn) > MOST_NAMED:
        for k in drawn:  # they are not in the legend
            top = int(np.argmax(parts[k]))
            ax.annotate(str(k), (grid[top], parts[k][top]), color=_ink(ax), fontsize="x-small")
    if parts:
        ax.plot(grid, np.sum(parts, axis=0), color=_ink(ax), linewidth=1, label="mixture")


def _ellipses(
    ax: Axes, points: Floats, labels: Labels, means: Floats, covariances: Floats, drawn: Labels
) -> None:
    from matplotlib.patheffects import withStroke

    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    many = len(points) > 5000
    ink, halo = _ink(ax), [withStroke(linewidth=2.5, foreground=_background(ax))]
    for k, color in zip(drawn, _colors(ax, len(drawn)), strict=True):
        mean, mine = means[k], points[labels == k]
        ax.scatter(
            mine[:, 0],
            mine[:, 1],
            s=2 if many else 12,
            alpha=0.5,
            color=color,
            linewidths=0,
            rasterized=many,
        )
        values, vectors = np.linalg.eigh(covariances[k])
        root = vectors * np.sqrt(np.maximum(values, 0))
        for radius in (1, 2):
            ellipse = mean[:, None] + radius * root @ circle
            name = f"component {k}" if radius == 1 else None
            ax.plot(*ellipse, color=color, linewidth=1.5, label=name)
        ax.plot(*mean, "+", color=ink, path_effects=halo)
        ax.annotate(
            str(k),
            mean,
            xytext=(4, 4),
            textcoords="offset points",
            color=ink,
            fontsize="small",
            path_effects=halo,
        )
