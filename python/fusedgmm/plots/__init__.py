"""Plots of fitted mixtures. Requires matplotlib: ``pip install fusedgmm[plot]``."""

from ._batch import plot_batch
from ._density import plot_density, plot_pairs
from ._fits import plot_bic, plot_convergence
from ._rows import plot_classification, plot_responsibilities, plot_uncertainty

plot_mixture = plot_density

__all__ = [
    "plot_batch",
    "plot_bic",
    "plot_classification",
    "plot_convergence",
    "plot_density",
    "plot_mixture",
    "plot_pairs",
    "plot_responsibilities",
    "plot_uncertainty",
]
