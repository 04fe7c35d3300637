"""A plot of several problems of `fit_batch`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._covariance import layout_of
from ._density import draw_line
from ._style import new_figure
from ._view import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._batch_result import BatchResult


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
        figure = new_figure(1 + 3.6 * columns, 0.4 + 2.8 * lines)
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
            line = Line(unit, values, result.means[i, order, 0], variances[order])
            draw_line(ax, line, result.weights[i, order], np.arange(K))
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
