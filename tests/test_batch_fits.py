"""fit_batch gives the same results as single fits, bit for bit, in any order and with any number of
threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusedgmm import fit_batch
from helpers import COVARIANCE_TYPES, INITS
from helpers.batches import (
    assert_is_a_loop,
    assert_same,
    assert_same_model,
    cube,
    ragged,
    rows,
    single,
)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_a_batch_is_a_loop_of_fits(covariance_type, dtype, weighted):
    X = ragged([0, 1, 2, 3, 5, 17, 128, 129, 700, 2000], dtype=dtype)
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0, 2, len(x)) for x in X] if weighted else None
    assert_is_a_loop(X, 3, weights, options=dict(covariance_type=covariance_type))


@pytest.mark.parametrize("d", [1, 2, 7, 16, 40])
def test_every_number_of_features(covariance_type, d):
    X = ragged([90, 250, 60], d)
    assert_is_a_loop(X, 2, options=dict(covariance_type=covariance_type, max_iter=20))


@pytest.mark.parametrize("init", INITS)
def test_every_start(covariance_type, dtype, init):
    X = ragged([30, 200, 77], dtype=dtype)
    options = dict(covariance_type=covariance_type, init_params=init)
    for more in (dict(n_init=3), dict(max_iter=0), dict(max_iter=4, tol=0.0)):
        assert_is_a_loop(X, 3, options=options | more)


@pytest.mark.parametrize("each", [False, True], ids=["shared", "per problem"])
@pytest.mark.parametrize("names", ["w", "m", "p", "c", "wm", "wmp", "wmc"])
def test_given_starts(covariance_type, names, each):
    X, P, K, d = cube(5), 5, 3, 2
    rng = np.random.default_rng(2)
    full = np.broadcast_to(np.eye(d), (P, K, d, d)) * rng.uniform(0.3, 2, (P, K, 1, 1))
    diag = np.einsum("pkii->pki", full)
    precisions = {"full": full, "tied": full[:, 0], "diag": diag, "spherical": diag[..., 0]}
    starts = {
        "weights_init": rng.dirichlet(np.ones(K), P),
        "means_init": rng.normal(size=(P, K, d)),
        "precisions_init": precisions[covariance_type],
        "covariances_init": precisions[covariance_type][::-1] + 0.5 * precisions[covariance_type],
    }
    starts = {n: a for n, a in starts.items() if n[0] in names}
    options = dict(covariance_type=covariance_type, max_iter=6, n_init=2)
    assert_is_a_loop(
        X, K, options=options,
        given=lambda i: {n: a[i if each else 0] for n, a in starts.items()},
        **{n: a if each else a[0] for n, a in starts.items()},
    )  # fmt: skip


@pytest.mark.parametrize("criterion", ["bic", "aic"])
def test_the_best_of_several_numbers(covariance_type, dtype, criterion):
    X = ragged([0, 1, 2, 40, 90, 300, 301], 1, dtype)
    candidates = [2, 1, 4, 3]
    options = dict(covariance_type=covariance_type, random_state=0)
    result = fit_batch(X, candidates, criterion=criterion, **options)
    alone = [fit_batch(X, k, **options) for k in candidates]
    table = np.column_stack([getattr(one, criterion) for one in alone])
    np.testing.assert_array_equal(result.criteria, table)
    assert len(np.unique(result.n_components)) > 2  # 0, and not the same for all
    for i in range(len(X)):
        if np.isnan(table[i]).all():
            assert not result.ok[i] and result.status[i] == alone[0].status[i]
            continue
        best = alone[int(np.nanargmin(table[i]))]
        k = result.n_components[i]
        assert k == best.n_components[i]
        assert_same_model(best[i], result[i])
        assert np.isnan(result.weights[i, k:]).all() and np.isnan(result.means[i, k:]).all()
        np.testing.assert_array_equal(result.bic[i], best.bic[i])
        np.testing.assert_array_equal(result.status[i], best.status[i])


def test_any_number_of_threads(four_cpus):
    """Also if one problem is large enough to use all threads."""
    X = ragged([100_000, 3, 60_000, 0, *range(1, 150)], 2)
    results = [fit_batch(X, [1, 3], random_state=0, n_threads=t) for t in (1, 2, 3, 4)]
    for other in results[1:]:
        assert_same(results[0], other)
    assert_same_model(single(X[0], results[0].n_components[0], results[0].seeds[0]), results[0][0])


def test_any_order(four_cpus):
    X = ragged([*range(0, 400, 7), 30_000])
    seeds = np.random.default_rng(0).integers(2**32, size=len(X))
    result = fit_batch(X, 3, random_state=seeds)
    order = np.random.default_rng(1).permutation(len(X))
    assert_same(result[order], fit_batch([X[i] for i in order], 3, random_state=seeds[order]))
    few = order[:5]  # the other problems do not matter either
    assert_same(result[few], fit_batch([X[i] for i in few], 3, random_state=seeds[few]))


def test_one_problem_under_many_seeds():
    x = rows(200, 2)
    result = fit_batch(np.broadcast_to(x, (20, 200, 2)), 4, random_state=0, init_params="random")
    assert len(np.unique(result.lower_bound)) > 10
    assert_same_model(single(x, 4, result.seeds[11], init_params="random"), result[11])


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=80, database=None)
@given(
    sizes=st.lists(st.integers(0, 60) | st.integers(100, 300), min_size=1, max_size=9),
    d=st.integers(1, 5),
    k=st.integers(1, 4),
    single_precision=st.booleans(),
    kind=st.sampled_from(COVARIANCE_TYPES),
    init=st.sampled_from(INITS),
    form=st.sampled_from(["list", "offsets", "groups"]),
    n_threads=st.integers(1, 2),
)
def test_any_shapes(sizes, d, k, single_precision, kind, init, form, n_threads):
    X = ragged(sizes, d, np.float32 if single_precision else np.float64)
    options = dict(covariance_type=kind, init_params=init, max_iter=5)
    result = assert_is_a_loop(X, k, options=options, n_threads=n_threads)
    assert len(result) == len(X)
    labels = result.predict(X)
    for i, x in enumerate(X):
        np.testing.assert_array_equal(labels[i], result[i].predict(x) if result.ok[i] else -1)
    if form == "list":
        return
    how = {"offsets": np.cumsum([0, *sizes])}
    if form == "groups":
        how = {"groups": np.repeat(np.arange(len(X)), sizes)}
        result = result[np.array(sizes) > 0]  # a label without rows does not occur
    together = np.concatenate(X)
    again = fit_batch(together, k, random_state=result.seeds, **options, **how)
    assert_same(result, again)
    np.testing.assert_array_equal(again.predict(together, **how), np.concatenate(labels))
