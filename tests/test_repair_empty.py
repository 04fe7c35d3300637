"""Empty components: left in place, or re-seeded with degenerate="repair"."""

import warnings

import numpy as np
import pytest

from fusedgmm import GaussianMixture
from helpers import FITTED
from helpers.repairs import CLOUD, assert_sound, started

FAR = [[0.0, 0.0], [500.0, 500.0], [-900.0, 3.0]]


def test_an_empty_component_is_reseeded_at_the_worst_explained_row(covariance_type):
    X = CLOUD.copy()
    X[123] = [6.0, -6.0]
    model = started(covariance_type, [[0.0, 0.0], [500.0, 500.0]])
    with pytest.warns(UserWarning, match="component 1 re-seeded at row 123 in iteration 1"):
        model.fit(X)
    assert model.repairs_[0] == (1, 1, 123)
    assert (model.weights_ > 0).all()
    assert_sound(model, X)


def test_without_repair_an_empty_component_keeps_its_mean(covariance_type):
    """It does not move, however far away the data are."""
    X = CLOUD + 1000
    model = started(covariance_type, [[1000.0, 1000.0], [1900.0, 1.0]], degenerate="raise")
    with pytest.warns(UserWarning, match=r"component\(s\) 1 of the mixture have weight 0"):
        model.fit(X)
    np.testing.assert_array_equal(model.means_[1], [1900.0, 1.0])
    assert model.weights_.tolist() == [1, 0]
    assert np.isfinite(model.covariances_).all() and model.repairs_ == []


def test_no_row_is_used_twice_for_reseeding(covariance_type):
    model = started(covariance_type, FAR)
    with pytest.warns(UserWarning, match="re-seeded"):
        model.fit(CLOUD)
    rows = [d.row for d in model.repairs_ if d.row >= 0]
    assert len(rows) >= 2 and len(set(rows)) == len(rows)
    assert_sound(model, CLOUD)


def test_no_component_is_reseeded_at_a_row_of_weight_zero(covariance_type):
    X = CLOUD.copy()
    X[[7, 9]] = [[40.0, 40.0], [-50.0, 3.0]]
    weight = np.ones(len(X))
    weight[[7, 9]] = 0
    model = started(covariance_type, FAR)
    with pytest.warns(UserWarning, match="re-seeded"):
        model.fit(X, sample_weight=weight)
    assert not {7, 9} & {d.row for d in model.repairs_}
    assert (np.abs(model.means_) < 5).all()


def test_the_worst_row_is_found_beyond_the_first_chunk(dtype):
    X = np.random.default_rng(5).normal(size=(10_000, 2)).astype(dtype)
    X[9_000] = 7
    model = started("diag", [[0.0, 0.0], [500.0, 500.0]], max_iter=3, tol=1e9)
    with pytest.warns(UserWarning, match="row 9000"):
        model.fit(X)


def test_repair_explains_the_data_better_than_the_loss(covariance_type):
    X = np.vstack([CLOUD, CLOUD + 20])
    means = [[10.0, 10.0], [5000.0, 5000.0]]
    lost = started(covariance_type, means, degenerate="raise", tol=1e-3)
    with pytest.warns(UserWarning, match="weight 0"):
        lost.fit(X)
    repaired = started(covariance_type, means, tol=1e-3)
    with pytest.warns(UserWarning, match="re-seeded"):
        repaired.fit(X)
    chosen = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    if covariance_type == "tied":  # one covariance covers both clusters: EM cannot leave it
        assert repaired.score(X) > lost.score(X) - 2e-3
        return
    assert repaired.score(X) > lost.score(X) + 0.5
    assert repaired.score(X) > chosen.score(X) - 1e-2  # as good as a fit without empty components


def test_the_likelihood_falls_at_a_repair_only(covariance_type):
    model = started(covariance_type, FAR, tol=0, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(CLOUD)
    repairs = {d.iteration for d in model.repairs_ if d.row >= 0}
    floored = [d for d in model.repairs_ if d.row < 0]
    falls = np.flatnonzero(np.diff(model.lower_bounds_) < -1e-9) + 1  # from iteration i to i + 1
    if not floored:  # flooring does not maximize the likelihood
        assert set(falls) <= repairs
    assert model.lower_bounds_[-1] > model.lower_bounds_[0]


def test_more_components_than_rows_to_give_them(covariance_type):
    """Some components become empty repeatedly; after three new places each, the fit ends."""
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [5.0, 5.0], [9.0, 1.0], [2.0, 2.0]])
    means = [[0.0, 0.0], *([float(10**k), -float(10**k)] for k in range(2, 7))]
    model = started(covariance_type, means, reg_covar=0, max_iter=200)
    with pytest.warns(UserWarning, match="repaired"):
        model.fit(X)
    assert np.isfinite(model.lower_bounds_).all()
    for name in FITTED:
        assert np.isfinite(getattr(model, name)).all(), name
    seeds = [d.component for d in model.repairs_ if d.row >= 0]
    assert max(seeds.count(k) for k in set(seeds)) <= 3


def test_two_empty_components_are_reseeded_at_different_rows():
    """The second one would be reseeded at the same row: the other components explain it worst."""
    X = np.r_[np.tile([-1.0, 1.0], 10), 10.0][:, None]
    model = GaussianMixture(
        3, covariance_type="spherical", weights_init=[1, 0, 0], means_init=[[0], [500], [900]],
        covariances_init=np.ones(3), max_iter=0, degenerate="repair", n_threads=1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="re-seeded"):
        model.fit(X)
    assert [(d.component, d.row) for d in model.repairs_] == [(1, 20), (2, 0)]


def test_a_component_is_reseeded_at_most_three_times(covariance_type):
    """The new rows have so little weight that the component becomes empty at once, and finally
    stays empty."""
    far = 100.0 * np.random.default_rng(2).normal(size=(8, 2)) + 1000
    X, weight = np.vstack([CLOUD, far]), np.r_[np.ones(200), np.full(8, 1e-20)]
    model = started(covariance_type, [[0.0, 0.0], [-900.0, 3.0]], tol=0, max_iter=8)
    with pytest.warns(UserWarning) as caught:
        model.fit(X, sample_weight=weight)
    assert any("component(s) 1 of the mixture have weight 0" in str(w.message) for w in caught)
    assert [(d.iteration, d.component) for d in model.repairs_] == [(1, 1), (2, 1), (3, 1)]
    assert all(d.row >= 200 for d in model.repairs_)


def test_a_fit_does_not_converge_right_after_a_reseeding(covariance_type):
    """However little the bound has changed, it does not yet include the new place."""
    X = np.vstack([CLOUD, CLOUD + 20])
    options = dict(warm_start=True, tol=1e9, max_iter=20)
    model = started(covariance_type, [[0.0, 0.0], [20.0, 20.0]], **options).fit(X)
    model.means_[1] = [9e5, -9e5]
    with pytest.warns(UserWarning, match="component 1 re-seeded at row .* in iteration 1"):
        model.fit(X)
    assert model.converged_ and model.n_iter_ == 2


def test_a_reseeded_component_gets_an_equal_weight_and_the_pooled_covariance():
    """It is reseeded at the first of the rows that are explained worst."""
    X = CLOUD.copy()
    X[[60, 90]] = [30.0, 30.0]
    wide = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 7.0]])
    model = GaussianMixture(
        3, covariance_type="diag", weights_init=[0.6, 0.4, 0.0], means_init=np.zeros((3, 2)),
        covariances_init=wide, max_iter=0, degenerate="repair", n_threads=1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="component 2 re-seeded at row 60 in iteration 0"):
        model.fit(X)
    np.testing.assert_allclose(model.weights_, [0.4, 0.8 / 3, 1 / 3])
    np.testing.assert_array_equal(model.means_[2], X[60])
    np.testing.assert_allclose(model.covariances_[2], 0.6 * wide[0] + 0.4 * wide[1])
