"""Properties of the four kinds of start, with max_iter=0."""

import numpy as np
import pytest

from fusedgmm import GaussianMixture
from helpers import INITS, mixture_data, of_type, quiet_fit, tolerance


def start(X, k, init, seed=0, sample_weight=None, **options):
    model = GaussianMixture(k, init_params=init, max_iter=0, random_state=seed, **options)
    return model.fit(X, sample_weight=sample_weight)


def inertia(X, means):
    """The sum of the squared distances to the nearest mean."""
    return ((X[:, None] - means) ** 2).sum(axis=2).min(axis=1).sum()


@pytest.mark.parametrize("init", INITS)
def test_reg_covar_is_added_once(init, covariance_type):
    X = mixture_data(700, 3, 3)[0]
    options = dict(covariance_type=covariance_type)
    without, added = (start(X, 3, init, reg_covar=r, **options).covariances_ for r in (0, 0.25))
    expected = of_type(np.stack([0.25 * np.eye(3)] * 3), covariance_type)
    rtol = tolerance("sums")
    np.testing.assert_allclose(added - without, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("init", ["kmeans", "random"])
def test_rows_count_by_their_weights(init, covariance_type):
    """For any responsibilities, the weighted means add up to the mean of the data."""
    X = mixture_data(700, 3, 3)[0]
    weight = np.random.default_rng(1).uniform(0, 5, len(X))
    model = start(X, 3, init, sample_weight=weight, covariance_type=covariance_type)
    np.testing.assert_allclose(
        model.weights_ @ model.means_, np.average(X, axis=0, weights=weight), rtol=tolerance("sums")
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_clusters_of_kmeans_are_those_of_their_means(weighted):
    """Lloyd's iterations have converged: one more hardly moves the means."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(500, 2))
    weight = rng.uniform(0.1, 5, len(X)) if weighted else np.ones(len(X))
    for seed in range(8):
        means = start(X, 6, "kmeans", seed, weight if weighted else None).means_
        nearest = ((X[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        own = [np.average(X[nearest == k], axis=0, weights=weight[nearest == k]) for k in range(6)]
        assert ((own - means) ** 2).sum() < 1e-3 * X.var()


def plain_seeds(X, k, rng):
    """Plain (not greedy) k-means++: Arthur & Vassilvitskii (2007)."""
    rows = [rng.integers(len(X))]
    while len(rows) < k:
        score = ((X[:, None] - X[rows]) ** 2).sum(axis=2).min(axis=1)
        rows.append(rng.choice(len(X), p=score / score.sum()))
    return X[rows]


def test_greedy_seeds_are_better_than_plain_ones():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(400, 2))
    plain = [inertia(X, plain_seeds(X, 10, rng)) for _ in range(40)]
    greedy = [inertia(X, start(X, 10, "k-means++", seed).means_) for seed in range(40)]
    assert np.mean(greedy) < 0.9 * np.mean(plain)


def test_seeds_find_small_groups_far_away():
    X = np.random.default_rng(0).normal(size=(490, 2))
    far = 1000 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 1]])
    X = np.vstack([X, far, far + 1])
    for seed in range(10):
        means = start(X, 6, "k-means++", seed).means_
        assert (((means[:, None] - far) ** 2).sum(axis=2).min(axis=0) < 100).all()


@pytest.mark.parametrize("each", [100, 300], ids=["all rows", "a sample"])
def test_seeds_are_drawn_by_weight(each):
    """Of two groups at the same distance, the heavier one gets the second mean."""
    X = np.repeat([[0.0], [100.0], [-100.0]], each, axis=0)
    X += np.random.default_rng(0).normal(size=X.shape)
    weight = np.repeat([1000.0, 1000.0, 1.0], each)
    for seed in range(30):
        means = start(X, 2, "k-means++", seed, weight).means_
        assert (means > -50).all() and (means > 50).any()


def test_of_three_clusterings_of_a_sample_the_best_is_kept():
    """With this many rows there are three tries, with one row less only one."""
    centres = np.random.default_rng(0).uniform(0, 60, size=(32, 2))
    X = np.repeat(centres, 512, axis=0)
    X += 0.3 * np.random.default_rng(1).normal(size=X.shape)
    X = np.random.default_rng(2).permutation(X)
    once, best = (
        np.mean([inertia(X[:n], start(X[:n], 32, "kmeans", seed).means_) for seed in range(16)])
        for n in (len(X) - 1, len(X))
    )
    assert best < 0.98 * once


def test_rows_are_drawn_once():
    """As many components as rows of positive weight: every such row becomes a mean."""
    X = np.random.default_rng(0).normal(size=(24, 2))
    weight = np.r_[np.ones(20), np.zeros(4)]
    means = start(X, 20, "random_from_data", sample_weight=weight).means_
    np.testing.assert_array_equal(means[np.lexsort(means.T)], X[:20][np.lexsort(X[:20].T)])


def test_what_a_warm_start_keeps(covariance_type, dtype):
    """The bits of one longer fit, in float64 but for tied; see docs/reproducibility.md."""
    X = mixture_data(3000, 4, 3, dtype)[0]
    options = dict(n_components=3, covariance_type=covariance_type, random_state=0, tol=0, n_init=1)
    whole = quiet_fit(GaussianMixture(**options, max_iter=12), X)
    parts = GaussianMixture(**options, max_iter=4, warm_start=True)
    for _ in range(3):
        quiet_fit(parts, X)
    exact = dtype == np.float64 and covariance_type != "tied"
    rtol = 0 if exact else tolerance("same fit, another start", dtype)
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        a, b = getattr(parts, name), getattr(whole, name)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=name)
