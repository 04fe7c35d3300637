"""Pictures of mixtures and batches: what they show, and what they refuse."""

import numpy as np
import pytest

from fusedgmm import GaussianMixture, fit_batch
from helpers import COVARIANCE_TYPES, mixture_data
from helpers.batches import rows


def test_plot_batch(mixed):
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_batch

    X = [rows(80, 1, seed=i) for i in range(3)] + [np.full((5, 1), np.nan), np.zeros((0, 1))]
    for kind in COVARIANCE_TYPES:
        result = fit_batch(X, [1, 2, 3], covariance_type=kind, criterion="aic", random_state=0)
        figure = plot_batch(X, result, unit="cm")
        figure.canvas.draw()
        titles = [axes.get_title() for axes in figure.axes]
        for i in range(3):
            K = result.n_components[i]
            plural = "s" if K > 1 else ""
            assert titles[i].startswith(f"{i}: {K} component{plural}\nAIC of 1: ")
            (line,) = figure.axes[i].lines
            at, density = line.get_data()
            assert np.sum(density) * (at[1] - at[0]) == pytest.approx(1, abs=0.1)
            bars = figure.axes[i].patches
            assert bars[0].get_x() <= X[i].min()
            assert bars[-1].get_x() + bars[-1].get_width() >= X[i].max()
        assert titles[3] == "3\nNaN or infinity in the rows" and titles[4].startswith("4\nfewer")
    with pytest.raises(ValueError, match="draws one feature, the fits have 2"):
        plot_batch(mixed[0], mixed[1])
    with pytest.raises(ValueError, match="5 problems, X has 4"):
        plot_batch(X[:4], result)


def test_plots_refuse_what_the_model_would():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(100, 2, 2)
    model, line = GaussianMixture(2, random_state=0).fit(X), GaussianMixture(2).fit(X[:, :1])
    for bad, fitted, message in (
        (X, GaussianMixture(2), "not fitted yet"),
        (X[:, 0], line, "Expected 2D array"),
        (X[:, :1], model, "X has 1 features, but GaussianMixture is expecting 2"),
        (np.r_[X[:3, :1], [[np.nan]]], line, "NaN. First at row 3, column 0"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_mixture(bad, fitted)
    with pytest.raises(ValueError, match="X has 2 columns, the names are 1"):
        plot_mixture(X, model, columns=["height"])


def test_plots_of_odd_rows_are_drawn():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(100, 3, 2)
    line = GaussianMixture(2).fit(X[:, :1])
    subnormal = np.array([[0.0], [5e-324], [1.0]])
    for odd in (subnormal, X[:, :1] * 1e300):
        plot_mixture(odd, line).canvas.draw()
    plot_mixture(X[:1], GaussianMixture(2).fit(X)).canvas.draw()


def test_a_plot_knows_the_names_of_columns():
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from fusedgmm.plots import plot_mixture

    frame = pandas.DataFrame(mixture_data(100, 2, 2)[0], columns=["a", "b"])
    plot_mixture(frame, GaussianMixture(2).fit(frame))  # without a warning
