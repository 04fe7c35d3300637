"""Plots of fits: their convergence, and the choice among several."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._estimator import check_fitted
from ._style import LINES, MARKERS, colors, ink, new_figure, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._fitting import BaseMixture


def plot_convergence(model: BaseMixture, *, ax: Axes | None = None) -> Axes:
    """Plot the mean log-likelihood per row in each iteration of the best start.

    Repairs are marked at their iterations. For a `BayesianGaussianMixture`: the lower bound.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.
    ax : matplotlib.axes.Axes or None, default=None
        The axes to draw on. None: those of a new pyplot figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The model is not fitted, or has no iterations.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture
    >>> from fusedgmm.datasets import load_faithful
    >>> from fusedgmm.plots import plot_convergence
    >>> ax = plot_convergence(GaussianMixture(2, random_state=0).fit(load_faithful()))
    >>> ax.get_xlabel()
    'iteration'
    """
    check_fitted(model, "lower_bounds_", "n_iter_", "converged_")
    bounds = np.asarray(model.lower_bounds_, dtype=np.float64)
    if not len(bounds):
        raise ValueError("the model has no iterations to plot: its parameters were given")
    ax = new_figure(7, 5).add_subplot() if ax is None else ax
    at = np.arange(model.n_iter_ - len(bounds) + 1, model.n_iter_ + 1)
    (color,) = colors(ax, 1)
    ax.plot(at, bounds, marker="o", markersize=3, color=color)
    repairs = sorted({repair.iteration for repair in getattr(model, "repairs_", [])})
    for i, iteration in enumerate(repairs):
        label = "" if i else "repair"
        ax.axvline(iteration, color=ink(ax), linestyle=":", linewidth=1, label=label)
    if repairs:
        ax.legend(fontsize="small")
    outcome = "converged" if model.converged_ else "not converged"
    ax.set_title(f"{outcome} after {model.n_iter_} iterations", fontsize="medium")
    whole_numbers(ax)
    ax.set_xlabel("iteration")
    bayesian = hasattr(model, "weight_concentration_")
    ax.set_ylabel("lower bound" if bayesian else "mean log-likelihood per row (nats)")
    return ax


def plot_bic(selection: Any, *, ax: Axes | None = None) -> Axes:
    """Plot the criterion of each number of components, with a line for each covariance type.

    Parameters
    ----------
    selection : Selection
        From `select`. Any object with `criterion`, the name, and `table`, a sequence of candidates
        with `n_components`, `covariance_type` and `criterion`, will do; `best` is the best one, or
        else it is the lowest. Candidates without a model (NaN) are left out.
    ax : matplotlib.axes.Axes or None, default=None
        The axes to draw on. None: those of a new pyplot figure.

    Returns
    -------
    matplotlib.axes.Axes
        A star marks the best candidate, which the title names.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        No candidate has a value.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fusedgmm import GaussianMixture
    >>> from fusedgmm.datasets import load_faithful
    >>> from fusedgmm.plots import plot_bic
    >>> X = load_faithful()
    >>> table = [
    ...     SimpleNamespace(n_components=k, covariance_type="full", criterion=model.bic(X))
    ...     for k in (1, 2, 3)
    ...     for model in [GaussianMixture(k, random_state=0).fit(X)]
    ... ]
    >>> ax = plot_bic(SimpleNamespace(criterion="bic", table=table))
    >>> ax.get_title()
    'best: full, 2 components'
    """
    found = [c for c in selection.table if math.isfinite(c.criterion)]
    if not found:
        raise ValueError(f"none of the {len(selection.table)} candidates has a model to plot")
    ax = new_figure(7, 5).add_subplot() if ax is None else ax
    kinds = list(dict.fromkeys(c.covariance_type for c in selection.table))
    for i, (kind, color) in enumerate(zip(kinds, colors(ax, len(kinds)), strict=True)):
        mine = sorted((c for c in found if c.covariance_type == kind), key=lambda c: c.n_components)
        if not mine:
            continue
        k, values = [c.n_components for c in mine], [c.criterion for c in mine]
        marker, line = MARKERS[i % len(MARKERS)], LINES[i % len(LINES)]
        ax.plot(k, values, marker=marker, linestyle=line, color=color, label=kind, markersize=5)
    best = getattr(selection, "best", None) or min(found, key=lambda c: c.criterion)
    ax.plot(
        best.n_components,
        best.criterion,
        "*",
        color=ink(ax),
        markersize=14,
        markerfacecolor="none",
        label="best",
    )
    plural = "s" if best.n_components > 1 else ""
    title = f"best: {best.covariance_type}, {best.n_components} component{plural}"
    ax.set_title(title, fontsize="medium")
    whole_numbers(ax)
    ax.set_xlabel("number of components")
    names = {"bic": "BIC", "aic": "AIC", "icl": "ICL", "cv": "held-out log-likelihood per row"}
    ax.set_ylabel(names.get(selection.criterion, selection.criterion))
    ax.legend(fontsize="small")
    return ax
