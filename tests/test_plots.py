"""Pictures of mixtures and batches: what they show, and what they refuse."""

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, fit_batch
from helpers import COVARIANCE_TYPES, mixture_data
from helpers.batches import rows


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.close("all")


def test_plot_batch(mixed):
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_batch

    X = [rows(80, 1, seed=i) for i in range(3)] + [np.full((5, 1), np.nan), np.zeros((0, 1))]
    for kind in COVARIANCE_TYPES:
        result = fit_batch(X, [1, 2, 3], covariance_type=kind, criterion="aic", random_state=0)
        axes = plot_batch(result, X, unit="cm")
        assert axes.shape == (5,)
        axes[0].figure.canvas.draw()
        titles = [ax.get_title() for ax in axes]
        for i in range(3):
            K = result.n_components[i]
            plural = "s" if K > 1 else ""
            assert titles[i].startswith(f"{i}: {K} component{plural}\nAIC of 1: ")
            (line,) = axes[i].lines
            at, density = line.get_data()
            assert np.sum(density) * (at[1] - at[0]) == pytest.approx(1, abs=0.1)
            bars = axes[i].patches
            assert bars[0].get_x() <= X[i].min()
            assert bars[-1].get_x() + bars[-1].get_width() >= X[i].max()
        assert titles[3] == "3\nNaN or infinity in the rows" and titles[4].startswith("4\nfewer")
    with pytest.raises(ValueError, match="draws one feature, the fits have 2"):
        plot_batch(mixed[1], mixed[0])
    with pytest.raises(ValueError, match="5 problems, X has 4"):
        plot_batch(result, X[:4])


def test_plots_refuse_what_the_model_would():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(100, 2, 2)
    model, line = GaussianMixture(2, random_state=0).fit(X), GaussianMixture(2).fit(X[:, :1])
    for bad, fitted, message in (
        (X, GaussianMixture(2), "not fitted yet"),
        (X[:, 0], line, "Expected 2D array"),
        (X[:, :1], model, "X has 1 features, but GaussianMixture is expecting 2"),
        (np.r_[X[:3, :1], [[np.nan]]], line, "NaN.*First at row 3, column 0"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_mixture(fitted, bad)
    with pytest.raises(ValueError, match="X has 2 columns, the names are 1"):
        plot_mixture(model, X, columns=["height"])


def test_plots_of_odd_rows_are_drawn():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(100, 3, 2)
    line = GaussianMixture(2).fit(X[:, :1])
    subnormal = np.array([[0.0], [5e-324], [1.0]])
    for odd in (subnormal, X[:, :1] * 1e300):
        plot_mixture(line, odd).figure.canvas.draw()
    plot_mixture(GaussianMixture(2).fit(X), X[:1]).figure.canvas.draw()


def test_a_plot_knows_the_names_of_columns():
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from fusedgmm.plots import plot_mixture

    frame = pandas.DataFrame(mixture_data(100, 2, 2)[0], columns=["a", "b"])
    plot_mixture(GaussianMixture(2).fit(frame), frame)  # without a warning


def test_plots_draw_where_they_are_told():
    pytest.importorskip("matplotlib")
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    from fusedgmm.plots import plot_batch, plot_mixture

    X, *_ = mixture_data(100, 2, 2)
    model, result = GaussianMixture(2, random_state=0).fit(X), fit_batch([X[:, 0]] * 4, 1)
    panels = Figure().subplots(2, 2)
    assert plot_mixture(model, X, ax=panels[0, 1], features=(1, 0)) is panels[0, 1]
    assert panels[0, 1].get_xlabel() == "feature 1"
    axes = plot_batch(result, [X[:, 0]] * 4, axes=panels)
    assert list(axes) == list(panels.flat)
    assert not pyplot.get_fignums()  # only without axes it is pyplot's to show
    assert plot_mixture(model, X).figure.number in pyplot.get_fignums()
    with pytest.raises(ValueError, match="4 problems, axes are 2"):
        plot_batch(result, [X[:, 0]] * 4, axes=panels[0])


def test_a_bayesian_mixture_is_drawn():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(200, 2, 2)
    model = BayesianGaussianMixture(n_components=2, random_state=0, max_iter=500).fit(X)
    assert len(plot_mixture(model, X).lines) == 2 * 3  # two ellipses and the mean
