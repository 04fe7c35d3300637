"""Uncertainty, entropy, overlap, thresholds, and the table of true classes."""

from itertools import permutations

import numpy as np
import pytest

from fusedgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureParameters,
    classification_table,
    crossings,
    overlap,
)
from fusedgmm import _fitted as fitted
from fusedgmm._alignment import alignments, assignment
from helpers import BOTH, COVARIANCE_TYPES, mixture_data, of_type


def mixture(weights, means, variances, **options):
    """A mixture of one feature."""
    parameters = MixtureParameters.from_covariances(
        weights, np.reshape(means, (-1, 1)), variances, "spherical"
    )
    return GaussianMixture.from_parameters(parameters, **options)


# ---- uncertainty, entropy, icl ----


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uncertainty_and_entropy_follow_from_responsibilities(kind, dtype, monkeypatch):
    X, *_ = mixture_data(500, 2, 3, dtype)
    model = kind(n_components=3, random_state=0, max_iter=500).fit(X)
    r = model.predict_proba(X)
    uncertainty, entropy = model.uncertainty(X), model.entropy(X)
    assert uncertainty.dtype == dtype and uncertainty.shape == (500,)
    np.testing.assert_allclose(uncertainty, 1 - r.max(axis=1), atol=2e-7)
    r = r.astype(np.float64)
    terms = np.zeros_like(r)
    np.log(r, out=terms, where=r > 0)
    terms = -(r * terms).sum(axis=1)
    assert entropy == pytest.approx(terms.sum())
    weight = np.arange(500.0)
    assert model.entropy(X, weight) == pytest.approx(weight @ terms)
    monkeypatch.setattr(fitted, "_PART", 100)  # in several parts
    np.testing.assert_array_equal(model.uncertainty(X), uncertainty)
    assert model.entropy(X) == pytest.approx(entropy)
    X[170, 1] = np.nan
    with pytest.raises(ValueError, match="First at row 170, column 1"):
        model.uncertainty(X)


def test_small_uncertainties_keep_their_digits():
    model = mixture([0.5, 0.5], [0.0, 10.0], [1.0, 1.0])
    assert model.uncertainty([[0.0]])[0] == pytest.approx(np.exp(-50.0), rel=1e-9, abs=0)
    assert model.uncertainty([[5.0]])[0] == 0.5
    assert np.isnan(model.uncertainty([[1e200]])[0])  # no component is near
    assert mixture([1.0], [0.0], [1.0]).uncertainty([[7.0]])[0] == 0.0


def test_icl_is_bic_with_a_penalty_for_overlap():
    X, *_ = mixture_data(300, 2, 3)
    model = GaussianMixture(3, random_state=0).fit(X)
    chosen = np.log(model.predict_proba(X).max(axis=1)).sum()
    assert model.icl(X) == pytest.approx(model.bic(X) - 2 * chosen)
    assert model.bic(X) < model.icl(X) < model.bic(X) + 2 * model.entropy(X)
    one = GaussianMixture(1).fit(X)
    assert one.icl(X) == one.bic(X)


# ---- overlap ----


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_overlap_is_the_integral_of_the_root_of_the_product(covariance_type):
    _, weights, means, covariances = mixture_data(10, 2, 3)
    means = 0.3 * means
    parameters = MixtureParameters.from_covariances(
        weights, means, of_type(covariances, covariance_type), covariance_type
    )
    found = overlap(GaussianMixture.from_parameters(parameters))
    axis = np.linspace(-20, 20, 801)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    densities = []
    for k in range(3):
        alone = MixtureParameters.from_covariances(
            [1.0],
            means[k : k + 1],
            np.broadcast_to(parameters.covariances, (3, 2, 2))[k]
            if covariance_type == "tied"
            else parameters.covariances[k : k + 1],
            covariance_type,
        )
        densities.append(GaussianMixture.from_parameters(alone).score_samples(points))
    logs = np.array(densities)
    wanted = np.exp(0.5 * (logs[:, None] + logs)).sum(axis=2) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diag(found) == 1.0).all()


def test_overlap_far_from_zero():
    far = overlap(mixture([0.5, 0.5], [1e8, 1e8 + 2], [1.0, 1.0]))
    assert far[0, 1] == pytest.approx(np.exp(-0.5), rel=1e-12)
    apart = overlap(mixture([0.5, 0.5], [-1e150, 1e150], [1.0, 1.0]))
    assert apart[0, 1] == 0.0


# ---- thresholds ----


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("equal", [False, True])
def test_crossings_are_where_the_prediction_changes(offset, equal):
    rng = np.random.default_rng(0)
    for _ in range(200):
        K = int(rng.integers(1, 9))
        means = offset + 3 * rng.normal(size=K)
        variances = np.ones(K) if equal else np.exp(rng.normal(size=K))
        model = mixture(rng.dirichlet(np.ones(K)), means, variances)
        thresholds, components = crossings(model)
        assert (np.diff(thresholds) > 0).all() and len(components) == len(thresholds) + 1
        assert (np.diff(components) != 0).all()
        x = np.concatenate([thresholds - 1e-6, thresholds + 1e-6, offset + rng.normal(size=500)])
        x = np.r_[x, offset - 1e4, offset + 1e4]
        expected = components[np.searchsorted(thresholds, x)]
        np.testing.assert_array_equal(model.predict(x[:, None]), expected)


def test_crossings_of_known_mixtures():
    thresholds, components = crossings(mixture([0.5, 0.5], [0.0, 4.0], [1.0, 1.0]))
    assert thresholds.tolist() == [2.0] and components.tolist() == [0, 1]
    # a wide component lies on both sides of a narrow one
    thresholds, components = crossings(mixture([0.5, 0.5], [3.0, 3.0], [4.0, 1.0]))
    distance = np.sqrt(8 * np.log(2) / 3)
    np.testing.assert_allclose(thresholds, [3 - distance, 3 + distance], rtol=1e-14)
    assert components.tolist() == [0, 1, 0]
    # hidden below the other; identical ones; three that meet in one point; one without weight
    assert crossings(mixture([0.9, 0.1], [0.0, 0.0], [1.0, 1.0])).components.tolist() == [0]
    assert crossings(mixture([0.5, 0.5], [0.0, 0.0], [1.0, 1.0])).components.tolist() == [0]
    third = np.array([1.0, np.exp(-0.5), 1.0])
    met = crossings(mixture(third / third.sum(), [-1.0, 0.0, 1.0], np.ones(3)))
    assert met.components.tolist() in ([0, 2], [0, 1, 2])
    np.testing.assert_allclose(met.thresholds, 0.0, atol=1e-15)
    assert crossings(mixture([0.5, 0.0, 0.5], [0.0, 2.0, 4.0], np.ones(3))).components.tolist() == [
        0,
        2,
    ]


def test_thresholds_of_a_very_narrow_component_keep_their_digits():
    model = mixture([0.5, 0.5], [0.0, 5.0], [1.0, 1e-16])
    thresholds, components = crossings(model)
    assert components.tolist() == [0, 1, 0]
    # at t deviations of 1e-8, -t^2 / 2 - log(1e-8) = -5^2 / 2
    t = np.sqrt(25.0 + 2 * np.log(1e8))
    np.testing.assert_allclose((thresholds - 5.0) / 1e-8, [-t, t], atol=1e-5)


def test_crossings_are_those_of_a_bayesian_prediction():
    X = np.r_[np.random.default_rng(0).normal(size=(300, 1)), [[6.0], [7.0], [8.0]]]
    model = BayesianGaussianMixture(n_components=2, random_state=0, max_iter=500).fit(X)
    thresholds, components = crossings(model)
    x = np.linspace(-10, 20, 1001)
    expected = components[np.searchsorted(thresholds, x)]
    np.testing.assert_array_equal(model.predict(x[:, None]), expected)


def test_crossings_need_one_feature():
    X, *_ = mixture_data(100, 2, 2)
    with pytest.raises(ValueError, match="one feature, this one has 2"):
        crossings(GaussianMixture(2).fit(X))
    for function in (crossings, overlap):
        with pytest.raises(ValueError, match="not fitted yet"):
            function(GaussianMixture(2))


# ---- matching ----


def test_assignment_has_the_least_cost():
    rng = np.random.default_rng(0)
    for i in range(300):
        n = int(rng.integers(1, 6))
        m = int(rng.integers(n, 7))
        # ties, too
        cost = rng.normal(size=(n, m)) if i % 2 else rng.integers(4, size=(n, m)).astype(float)
        columns = assignment(cost)
        least = min(cost[range(n), list(p)].sum() for p in permutations(range(m), n))
        assert len(set(columns)) == n
        assert cost[np.arange(n), columns].sum() == pytest.approx(least)


def test_assignment_of_many():
    optimize = pytest.importorskip("scipy.optimize")
    cost = np.random.default_rng(0).normal(size=(150, 200))
    rows, columns = optimize.linear_sum_assignment(cost)
    assert cost[rows, assignment(cost)].sum() == pytest.approx(cost[rows, columns].sum())


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_are_matched_by_all_their_parameters(covariance_type):
    _, weights, means, covariances = mixture_data(10, 2, 4)
    parameters = MixtureParameters.from_covariances(
        weights, means, of_type(covariances, covariance_type), covariance_type
    )
    p, rng = parameters, np.random.default_rng(0)
    orders = np.array([rng.permutation(4) for _ in range(20)])
    factors = p.precisions_cholesky
    moved = (
        weights[orders],
        means[orders] + 0.01,
        np.repeat(factors[None], 20, axis=0) if covariance_type == "tied" else factors[orders],
    )
    found = alignments(covariance_type, (p.weights, p.means, factors), moved)
    np.testing.assert_array_equal(np.take_along_axis(orders, found, axis=1), [range(4)] * 20)


def test_components_with_the_same_mean_are_told_apart():
    factors = np.array([1.0, 0.1])
    found = alignments(
        "spherical",
        (np.array([0.5, 0.5]), np.zeros((2, 1)), factors),
        (np.array([[0.5, 0.5]]), np.zeros((1, 2, 1)), factors[None, ::-1]),
    )
    assert found.tolist() == [[1, 0]]


def test_the_table_of_classes():
    truth = np.repeat(["a", "b", "c"], [5, 4, 3])
    labels = np.array([2] * 5 + [0, 0, 0, 1] + [1, 1, 0])
    table = classification_table(truth, labels)
    assert table.components.tolist() == [2, 0, 1] and list(table.classes) == ["a", "b", "c"]
    assert table.counts.tolist() == [[5, 0, 0], [0, 3, 1], [0, 1, 2]]
    assert table.accuracy == pytest.approx(10 / 12)
    assert table.matched == {2: "a", 0: "b", 1: "c"}
    assert "component 2" in repr(table) and "accuracy 0.833" in repr(table)
    # more components than classes, and fewer
    more = classification_table([0, 0, 0, 1], [3, 3, 1, 0])
    assert more.components[:2].tolist() == [3, 0] and more.counts.shape == (2, 4)
    assert more.accuracy == 0.75
    fewer = classification_table(["x", "y", "z", "z"], [1, 1, 0, 0])
    assert fewer.counts.shape == (3, 2) and fewer.accuracy == 0.75
    assert fewer.matched == {1: "x", 0: "z"} and list(fewer.classes) == ["x", "z", "y"]


def test_the_adjusted_rand_index():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, labels = rng.integers(3, size=50), rng.integers(4, size=50)
        wanted = metrics.adjusted_rand_score(truth, labels)
        found = classification_table(truth, labels).adjusted_rand_index
        assert found == pytest.approx(wanted, abs=1e-12)
    assert classification_table([1, 1], [0, 0]).adjusted_rand_index == 1.0
    assert classification_table([1, 2], [0, 1]).adjusted_rand_index == 1.0
    assert classification_table([1, 1], [0, 1]).adjusted_rand_index == 0.0


def test_the_table_of_classes_refuses():
    for truth, labels, message in (
        ([1, 2], [0], r"shapes \(2,\) and \(1,\)"),
        ([], [], "one entry per row"),
        ([1, 2], [0, -1], "smallest -1"),
        ([1, 2], [0.0, 1.0], "got dtype float64"),
    ):
        with pytest.raises(ValueError, match=message):
            classification_table(truth, labels)
