"""Plots of densities, rows, fits and selections: what they draw, and their errors."""

from types import SimpleNamespace

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, crossings
from fusedgmm.datasets import load_heights, load_iris
from helpers import mixture_data

pyplot = pytest.importorskip("matplotlib.pyplot")
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from fusedgmm import plots  # noqa: E402

ROWS = (plots.plot_density, plots.plot_responsibilities, plots.plot_uncertainty)
ROWS += (plots.plot_classification,)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]


@pytest.fixture(autouse=True)
def close():
    pyplot.close("all")  # those of other tests
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def heights():
    X, sex = load_heights()
    return GaussianMixture(2, tol=1e-6, max_iter=2000, random_state=0).fit(X), X, sex


@pytest.fixture(scope="module")
def iris():
    X, species = load_iris()
    return GaussianMixture(3, random_state=0).fit(X), X, species


def many(K=12, d=2):
    means = np.stack([5.0 * (np.arange(K) % 4), 5.0 * (np.arange(K) // 4)], axis=1)
    means = means if d == 2 else 5.0 * np.arange(K)[:, None]
    X = np.repeat(means, 20, axis=0) + np.random.default_rng(0).normal(size=(20 * K, d))
    parameters = MixtureParameters.from_covariances(
        np.full(K, 1 / K), means, np.ones(K), "spherical"
    )
    return GaussianMixture.from_parameters(parameters), X


def selection(**more):
    values = {("full", 1): 9.0, ("full", 2): 4.0, ("full", 3): np.nan, ("diag", 2): 5.0}
    table = [
        SimpleNamespace(n_components=k, covariance_type=kind, criterion=value)
        for (kind, k), value in values.items()
    ]
    return SimpleNamespace(**{"criterion": "bic", "table": table, **more})


@pytest.mark.parametrize("style", ["default", "dark_background", "grayscale"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_plots_draw_where_they_are_told_in_every_style(style, d):
    X, *_ = mixture_data(200, d, 3)
    model = GaussianMixture(3, random_state=0, max_iter=500).fit(X)
    with pyplot.style.context(style):
        calls = [lambda ax, plot=plot: plot(model, X, ax=ax) for plot in ROWS]
        calls.append(lambda ax: plots.plot_convergence(model, ax=ax))
        calls.append(lambda ax: plots.plot_bic(selection(), ax=ax))
        for call in calls:
            ax = Figure(layout="constrained").add_subplot()
            assert call(ax) is ax and not pyplot.get_fignums()
            ax.figure.canvas.draw()
            own = call(None)
            assert own.figure.number in pyplot.get_fignums()
            pyplot.close(own.figure)


@pytest.mark.parametrize("plot", ROWS)
def test_plots_of_rows_refuse_what_the_model_would(plot, iris):
    model, X, _ = iris
    with pytest.raises(ValueError, match="not fitted yet"):
        plot(GaussianMixture(2), X)
    with pytest.raises(ValueError, match="X has 2 features"):
        plot(model, X[:, :2])
    with pytest.raises(ValueError, match="X has 4 columns, but there are 1 names"):
        plot(model, X, columns=["a"])


@pytest.mark.parametrize("plot", ROWS)
def test_plots_of_rows_know_the_names_of_a_frame(plot):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(mixture_data(100, 2, 2)[0], columns=["a", "$b"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    ax = plot(model, frame)  # without a warning
    if plot is not plots.plot_responsibilities:
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", r"\$b")
    line = frame[["$b"]]
    assert plot(GaussianMixture(2, random_state=0).fit(line), line).get_xlabel() == r"\$b"


# ---- densities ----


def test_thresholds_are_marked_with_their_values(heights):
    model, X, _ = heights
    ax = plots.plot_density(model, X)
    mixture, *lines = ax.lines
    inside = [t for t in crossings(model).thresholds if X.min() <= t <= X.max()]
    assert [line.get_xdata()[0] for line in lines] == inside and len(inside) == 1
    assert [text.get_text() for text in ax.texts] == ["0", "1", f"{inside[0]:.4g}"]
    assert ax.get_ylim()[1] > 1.1 * max(bar.get_height() for bar in ax.patches)


def test_the_density_of_one_of_several_features(iris):
    model, X, _ = iris
    ax = plots.plot_density(model, X, columns=NAMES, features="petal length")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("petal length", "density")
    (mixture,) = ax.lines  # a threshold of one feature is none of the model
    x, density = mixture.get_data()
    assert np.sum(density) * (x[1] - x[0]) == pytest.approx(1, abs=0.01)
    assert plots.plot_density(model, X, features=[-1]).get_xlabel() == "feature 3"


def test_shaded_regions_hold_their_share_of_the_mixture():
    parameters = MixtureParameters.from_covariances([1.0], [[3.0, -1.0]], [4.0], "spherical")
    model = GaussianMixture.from_parameters(parameters)
    X = np.random.default_rng(0).normal(size=(20_000, 2)) * 2 + [3, -1]
    ax = plots.plot_density(model, X, ax=Figure().add_subplot())
    lines = [c for c in ax.collections if type(c).__name__ == "QuadContourSet"][-1]
    shares = []
    for path in lines.get_paths():
        radius = np.linalg.norm(path.vertices - [3, -1], axis=1).mean() / 2
        shares.append(1 - np.exp(-0.5 * radius**2))
    np.testing.assert_allclose(sorted(shares), [0.5, 0.8, 0.95], atol=0.01)


def test_pairs_of_features(iris):
    model, X, _ = iris
    axes = plots.plot_pairs(model, X, columns=NAMES)
    assert axes.shape == (4, 4)
    for i in range(4):
        for j in range(4):
            assert axes[i, j].get_visible() == (j <= i)
    assert axes[3, 1].get_xlabel() == "sepal width" and axes[2, 0].get_ylabel() == "petal length"
    ellipses = [line for line in axes[3, 1].lines if len(line.get_xdata()) > 1]
    assert len(ellipses) == 6
    mean = [line.get_xydata()[0] for line in axes[3, 1].lines if len(line.get_xdata()) == 1][0]
    np.testing.assert_allclose(mean, model.means_[0, [1, 3]])
    axes[0, 0].figure.canvas.draw()
    two = plots.plot_pairs(model, X, features=[3, 0], axes=Figure().subplots(2, 2))
    assert (two[1, 0].get_xlabel(), two[1, 0].get_ylabel()) == ("feature 3", "feature 0")
    with pytest.raises(ValueError, match=r"axes must have shape \(2, 2\), got \(1, 2\)"):
        plots.plot_pairs(model, X, features=[3, 0], axes=[two[0]])
    with pytest.raises(ValueError, match="features must be some of the numbers 0 to 3"):
        plots.plot_pairs(model, X, features=[0, 4])
    wide = np.random.default_rng(0).normal(size=(50, 11))
    with pytest.raises(ValueError, match="at most 10 features, got 11"):
        plots.plot_pairs(GaussianMixture(1).fit(wide), wide)


def test_more_than_ten_components_have_their_own_colors_and_markers():
    ax = plots.plot_density(*many())
    legend = ax.get_legend()
    looks = {(to_hex(h.get_color()), h.get_marker()) for h in legend.legend_handles}
    assert len(looks) == 12 and len({marker for _, marker in looks}) >= 10


def test_components_of_no_weight_are_left_out_everywhere():
    X = many(2)[1]
    model = BayesianGaussianMixture(
        n_components=5,
        weight_concentration_prior_type="dirichlet_distribution",
        random_state=0,
        max_iter=1000,
    ).fit(X)
    drawn = len(np.unique(model.predict(X)))
    assert drawn < 5
    for plot in ROWS:
        legend = plot(model, X).get_legend()
        assert f"{5 - drawn} of 5 components are not drawn" in legend.get_title().get_text()
        names = [text.get_text() for text in legend.get_texts()]
        assert sum(name.startswith("component") for name in names) == drawn


# ---- rows ----


def test_curves_of_responsibilities(heights):
    model, X, _ = heights
    ax = plots.plot_responsibilities(model, X)
    for k, line in enumerate(ax.lines):
        x, values = line.get_data()
        np.testing.assert_allclose(values, model.predict_proba(x[:, None])[:, k])
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_bars_of_responsibilities_fill_the_plot(iris, monkeypatch):
    model, X, _ = iris
    for most in (2000, 20):
        monkeypatch.setattr(plots._rows, "_MOST_BARS", most)
        ax = plots.plot_responsibilities(model, X)
        areas = [path.get_paths()[0].vertices for path in ax.collections]
        assert len(areas) == 3
        assert areas[-1][:, 1].max() == pytest.approx(1) and areas[0][:, 1].min() == 0
        # the area of each component is its share of the rows
        r = model.predict_proba(X).sum(axis=0)
        for k, path in enumerate(areas):
            x, y = path[:, 0], path[:, 1]
            area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
            assert area == pytest.approx(r[k], rel=1e-6)


def test_uncertain_rows_are_large_and_on_top(iris):
    model, X, _ = iris
    ax = plots.plot_uncertainty(model, X, features=(2, 3))
    (dots,) = ax.collections
    values, sizes = dots.get_array(), dots.get_sizes()
    assert (np.diff(values) >= 0).all() and (np.diff(sizes) >= 0).all()
    np.testing.assert_allclose(values, np.sort(model.uncertainty(X)))
    np.testing.assert_array_equal(dots.get_offsets()[-1], X[model.uncertainty(X).argmax(), 2:])
    with pytest.raises(ValueError, match="features must be two, got 2"):
        plots.plot_uncertainty(model, X, features=2)


def test_the_curve_of_uncertainty_peaks_at_the_threshold(heights):
    model, X, _ = heights
    ax = plots.plot_uncertainty(model, X)
    x, values = ax.lines[0].get_data()
    assert x[values.argmax()] == pytest.approx(crossings(model).thresholds[-1], abs=0.2)


def test_a_far_row_is_drawn_as_uncertain():
    model, X = many(2)
    ax = plots.plot_uncertainty(model, np.r_[X, [[1e200, 0.0]]])
    assert ax.collections[0].get_array()[-1] == 1.0


def test_rows_of_another_class_are_marked(iris, heights):
    model, X, species = iris
    ax = plots.plot_classification(model, X, species, features=(2, 3))
    marks = ax.collections[-1]
    assert marks.get_label() == "another class" and len(marks.get_offsets()) == 5
    assert ax.get_title() == "accuracy 96.7%"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "another class" in names
    assert {name.split(": ")[1] for name in names if ":" in name} == set(species)
    assert not plots.plot_classification(model, X).get_title()
    line, heights_, sex = heights
    ax = plots.plot_classification(line, heights_, sex)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "component 0: F",
        "component 1: M",
    ]
    crosses = sum(len(mark.get_xdata()) for mark in ax.lines if mark.get_marker() == "x")
    assert ax.get_title() == f"accuracy {1 - crosses / 200:.1%}"
    with pytest.raises(ValueError, match="one entry per row"):
        plots.plot_classification(model, X, species[:3])


# ---- fits ----


def test_convergence_shows_every_iteration(iris):
    model, X, _ = iris
    ax = plots.plot_convergence(model)
    x, y = ax.lines[0].get_data()
    assert x.tolist() == list(range(1, model.n_iter_ + 1)) and y.tolist() == model.lower_bounds_
    assert ax.get_title() == f"converged after {model.n_iter_} iterations"
    rows = np.r_[np.zeros((50, 1)), 9 + X[:, :1]]  # one component has no width
    with pytest.warns(UserWarning, match="repaired"):
        repaired = GaussianMixture(
            2, reg_covar=0.0, degenerate="repair", means_init=[[0.0], [15.0]], random_state=0
        ).fit(rows)
    ax = plots.plot_convergence(repaired)
    marked = {line.get_xdata()[0] for line in ax.lines[1:]}
    assert marked == {r.iteration for r in repaired.repairs_} != set()
    bayesian = BayesianGaussianMixture(random_state=0).fit(X)
    assert plots.plot_convergence(bayesian).get_ylabel() == "lower bound"
    with pytest.raises(ValueError, match="no iterations to plot"):
        plots.plot_convergence(GaussianMixture.from_parameters(model.parameters))
    with pytest.raises(ValueError, match="not fitted yet"):
        plots.plot_convergence(GaussianMixture())


def test_a_line_for_each_covariance_type():
    ax = plots.plot_bic(selection())
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["full"].get_xydata().tolist() == [[1, 9], [2, 4]]
    assert lines["diag"].get_xydata().tolist() == [[2, 5]]
    assert lines["best"].get_xydata().tolist() == [[2, 4]]
    assert lines["full"].get_marker() != lines["diag"].get_marker()
    assert (ax.get_title(), ax.get_ylabel()) == ("best: full, 2 components", "BIC")
    best = selection().table[0]
    ax = plots.plot_bic(selection(criterion="cv", best=best))
    assert ax.get_title() == "best: full, 1 component"
    assert ax.get_ylabel().startswith("held-out log-likelihood")
    nothing = [SimpleNamespace(n_components=1, covariance_type="full", criterion=np.nan)]
    with pytest.raises(ValueError, match="none of the 1 candidates"):
        plots.plot_bic(selection(table=nothing))
