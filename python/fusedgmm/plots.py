"""Pictures of a fitted mixture. Needs matplotlib: ``pip install fusedgmm[plot]``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._covariance import layout_of
from ._estimator import check_fitted
from ._typing import Floats, Labels
from ._validation import as_data, check_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._base import BaseMixture
    from ._batch_result import BatchResult


def _new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of pyplot's, its sides in inches."""
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
    features: tuple[int, int] | None = None,
) -> Axes:
    """Draw the rows of `X` and a fitted mixture.

    One feature: a histogram and densities. Two: a scatter plot, and ellipses at 1 and 2 standard
    deviations. More: the same on the data's first two principal axes, or on two of the features.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        Fitted.
    X : array-like of shape (n_samples, n_features)
    ax : matplotlib.axes.Axes or None, default=None
        Where to draw. None: in a new figure of matplotlib.pyplot.
    columns : sequence of str or None, default=None
        Names of the features. None: "feature 0" and so on.
    features : (int, int) or None, default=None
        The two features to draw, of several. None: principal axes.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is ``ax.figure``.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The model is not fitted, or would not take the rows; another number of `columns`.

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
    if ax is None:
        ax = _new_figure(7, 5).add_subplot()
    if d == 1:
        _densities(ax, rows[:, 0], weights, means[:, 0], covariances[:, 0, 0])
        ax.set_xlabel(names[0])
        ax.set_ylabel("density")
        ax.legend(frameon=False)
        return ax
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
        ax,
        (rows - origin) @ basis,
        labels,
        (means - origin) @ basis,
        basis.T @ covariances @ basis,
    )
    ax.set_xlabel(titles[0])
    ax.set_ylabel(titles[1])
    return ax


def plot_batch(
    result: BatchResult,
    X: Sequence[ArrayLike],
    *,
    axes: Sequence[Axes] | NDArray[np.object_] | None = None,
    names: Sequence[str] | None = None,
    unit: str = "value",
) -> NDArray[np.object_]:
    """Draw problems of one feature, each in a panel: histogram, components and their sum.

    Parameters
    ----------
    result : BatchResult
        A few problems: of many, choose some, as in ``plot_batch(result[:12], X[:12])``.
    X : sequence of array-likes of shape (n_i,) or (n_i, 1)
        The rows of every problem, as `fit_batch` took them.
    axes : array-like of matplotlib.axes.Axes or None, default=None
        Where to draw, one for each problem. None: in a new figure of matplotlib.pyplot.
    names : sequence of str or None, default=None
        One per problem. None: the labels of the groups, or numbers.
    unit : str, default="value"
        What the horizontal axes show.

    Returns
    -------
    axes : array of matplotlib.axes.Axes of shape (n_problems,)
        A title says the number of components and, where several were tried, the criterion of each.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        Problems of several features, or another number of them than in `X`, `names` or `axes`.

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
        raise ValueError(f"plot_batch draws one feature, the fits have {result.means.shape[2]}")
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
            order = np.argsort(result.means[i, :K, 0])  # the same colours from left to right
            _densities(
                ax,
                values,
                result.weights[i, order],
                result.means[i, order, 0],
                variances[order],
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
