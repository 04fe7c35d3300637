"""Plots of mixtures and batches: their contents, and their errors."""

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, fit_batch
from helpers import COVARIANCE_TYPES, measure_memory, measures_memory, mixture_data
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
    with pytest.raises(ValueError, match="plots one feature, the fits have 2"):
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
    with pytest.raises(ValueError, match="X has 2 columns, but there are 1 names"):
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

    frame = pandas.DataFrame(mixture_data(100, 2, 2)[0], columns=["a", "$b_{"])
    model = GaussianMixture(2).fit(frame)
    ax = plot_mixture(model, frame)  # without a warning
    ax.figure.canvas.draw()  # a dollar sign is plain text
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", r"\$b_{")
    assert plot_mixture(model, frame, features=("$b_{", 0)).get_xlabel() == r"\$b_{"
    assert plot_mixture(model, frame, columns=["c", "d"]).get_xlabel() == "c"
    with pytest.warns(UserWarning, match="valid feature names"):
        assert plot_mixture(model, frame.to_numpy()).get_xlabel() == "a"  # the names of the fit


def test_features_are_numbers_or_names():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(100, 3, 2)
    model, names = GaussianMixture(2).fit(X), ["x", "y", "x"]
    for features in ((0, 2), (-3, 2), [np.int64(0), 2]):
        assert plot_mixture(model, X, features=features).get_ylabel() == "feature 2"
    assert plot_mixture(model, X, columns=list("xyz"), features=("z", "x")).get_xlabel() == "z"
    for features in (("a", "b"), ("y", "y"), (0, 3), (), "xy", (1, 1), (0, 1, 2), ("x", 1), 2.0):
        with pytest.raises(
            ValueError, match="features must be one or two of the numbers 0 to 2 or"
        ):
            plot_mixture(model, X, columns=names, features=features)
    with pytest.raises(ValueError, match="features must be one or two"):
        plot_mixture(GaussianMixture(2).fit(X[:, :1]), X[:, :1], features=(0, 1))


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
    assert not pyplot.get_fignums()  # pyplot shows the figure only if no axes are given
    assert plot_mixture(model, X).figure.number in pyplot.get_fignums()
    with pytest.raises(ValueError, match="4 problems, axes are 2"):
        plot_batch(result, [X[:, 0]] * 4, axes=panels[0])


def test_a_bayesian_mixture_is_drawn():
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X, *_ = mixture_data(200, 2, 2)
    model = BayesianGaussianMixture(n_components=2, random_state=0, max_iter=500).fit(X)
    assert len(plot_mixture(model, X).lines) == 2 * 3  # two ellipses and the mean


def placed(K, d):
    """A mixture of K groups, and its rows."""
    angle = 2 * np.pi * np.arange(K) / K
    circle = 3.0 * K * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    means = 8.0 * np.arange(K)[:, None] if d == 1 else circle
    X = np.repeat(means, 20, axis=0) + np.random.default_rng(0).normal(size=(20 * K, d))
    return GaussianMixture(K, means_init=means).fit(X), X


def colors_of(ax):
    """The color of each component, and those of markers, lines and texts shared by all."""
    from matplotlib.colors import to_hex

    if ax.collections[0].get_label().startswith("component"):  # areas under densities
        colors = [to_hex(area.get_facecolor()[0]) for area in ax.collections]
        marks = [to_hex(line.get_color()) for line in ax.lines]
    else:
        colors = [to_hex(line.get_color()) for line in ax.lines if len(line.get_xdata()) > 1][::2]
        marks = [to_hex(line.get_color()) for line in ax.lines if len(line.get_xdata()) == 1]
    return colors, marks + [to_hex(text.get_color()) for text in ax.texts]


@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot", "grayscale"])
@pytest.mark.parametrize("d", [1, 2])
def test_components_differ_and_are_seen_on_any_background(style, d):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    from matplotlib.colors import to_rgb

    from fusedgmm.plots import plot_mixture

    for K in (3, 12, 30):
        model, X = placed(K, d)
        with pyplot.style.context(style):
            ax = plot_mixture(model, X)
            late = pyplot.figure().add_subplot()
        for axes in (ax, plot_mixture(model, X, ax=late)):  # of this style, drawn in another
            colors, marks = colors_of(axes)
            assert len(set(colors)) == len(colors) == K
            behind = np.mean(to_rgb(axes.get_facecolor()))
            for color in set(marks):
                assert abs(np.mean(to_rgb(color)) - behind) > 0.4, (color, style)
            pyplot.close(axes.figure)


@pytest.mark.parametrize("d", [1, 2])
def test_components_have_names_and_numbers(d):
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    for K in (2, 12, 30):
        ax = plot_mixture(*placed(K, d))
        legend = ax.get_legend()
        names = [] if legend is None else [text.get_text() for text in legend.get_texts()]
        if K <= 20:
            assert [f"component {k}" for k in range(K)] == names[:K]
        else:
            assert names == (["mixture", "threshold"] if d == 1 else [])
        assert [text.get_text() for text in ax.texts][:K] == [str(k) for k in range(K)]
        ax.figure.canvas.draw()


@pytest.mark.parametrize("d", [1, 2])
def test_components_of_no_weight_are_left_out(d):
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_mixture

    X = placed(2, d)[1]
    X = np.r_[X, X + 0.1, X - 0.1]
    model = BayesianGaussianMixture(
        n_components=6,
        weight_concentration_prior_type="dirichlet_distribution",
        random_state=0,
        max_iter=1000,
    ).fit(X)
    found = np.flatnonzero(model.weights_ > 0.1)
    assert 2 <= len(found) <= 3 and len(np.unique(model.predict(X))) == len(found)
    ax = plot_mixture(model, X)
    assert len(colors_of(ax)[0]) == len(found)
    legend = ax.get_legend()
    title = legend.get_title().get_text()
    assert title.startswith(f"{6 - len(found)} of 6 components are not drawn\n(weight at")
    names = [text.get_text() for text in legend.get_texts()]
    assert names[: len(found)] == [f"component {k}" for k in found]
    # a small component with rows of its own is drawn
    odd = np.r_[X, [[500.0] * d]]
    few = GaussianMixture(3, means_init=[X[0], X[-1], odd[-1]]).fit(odd)
    ax = plot_mixture(few, odd)
    assert len(colors_of(ax)[0]) == 3 and not ax.get_legend().get_title().get_text()


@measures_memory
def test_a_plot_of_many_features_is_small():
    pytest.importorskip("matplotlib")
    (used,) = measure_memory("""
import numpy as np
from fusedgmm import GaussianMixture
from fusedgmm.plots import plot_mixture
X = np.random.default_rng(0).normal(size=(30, 6_000))
model = GaussianMixture(3, covariance_type="diag").fit(X)
plot_mixture(model, X[:, :]).figure.canvas.draw()  # what is loaded once
print(rise(lambda: plot_mixture(model, X).figure.canvas.draw()))
""")
    assert used < 100  # megabytes; one matrix of 6,000**2 numbers has 288


def test_principal_axes_of_few_rows_are_those_of_all():
    from fusedgmm.plots._view import principal_axes

    X = np.random.default_rng(0).normal(size=(5, 4)) * [1, 2, 3, 4]
    few, many = np.c_[X, np.zeros((5, 4))], X
    few, many = few - few.mean(axis=0), many - many.mean(axis=0)
    values, axes = principal_axes(few)  # by another method, for more features than rows
    wanted, vectors = principal_axes(many)
    np.testing.assert_allclose(values[:4], wanted)
    np.testing.assert_allclose(np.abs(axes[:4, :4]), np.abs(vectors), atol=1e-9)
