"""Batches that choose the covariance type, too, and that keep all candidates."""

import numpy as np
import pytest

from fusedgmm import BatchResult, BatchStatus, fit_batch, select
from helpers import COVARIANCE_TYPES, tolerance
from helpers.batches import assert_same, assert_same_model, ragged, single

SIZES = [300, 80, 1, 150, 40, 3]
PROBLEMS = ragged(SIZES)
NUMBERS = [1, 2, 4]


@pytest.mark.parametrize("types", [COVARIANCE_TYPES, ("spherical", "diag"), ("tied", "spherical")])
@pytest.mark.parametrize("criterion", ["bic", "aic"])
def test_the_best_type_is_kept(dtype, types, criterion):
    data = [x.astype(dtype) for x in PROBLEMS]
    result = fit_batch(
        data, NUMBERS, covariance_type=types, criterion=criterion, n_init=2, random_state=0
    )
    assert result.criteria.shape == (len(SIZES), len(types) * len(NUMBERS))
    chosen = set()
    for i, x in enumerate(data):
        if not result.ok[i]:
            assert result.status[i] == BatchStatus.TOO_FEW_ROWS and len(x) == 1
            assert result.covariance_types[i] is None and result.covariance_type_index[i] == -1
            continue
        best = np.nanargmin(result.criteria[i])
        kind, k = types[best // len(NUMBERS)], NUMBERS[best % len(NUMBERS)]
        assert (result.covariance_types[i], result.n_components[i]) == (kind, k)
        alone = single(x, k, result.seeds[i], covariance_type=kind, n_init=2)
        assert_same_model(result[i], alone)
        value = {"bic": alone.bic, "aic": alone.aic}[criterion](x)
        assert result.criteria[i, best] == pytest.approx(value, rel=tolerance("criteria", dtype))
        chosen.add(kind)
        # the arrays hold the covariances of any type
        full = result.covariance_type == "full"
        expected = np.full((4, 2, 2) if full else (4, 2), np.nan)
        for c in range(k):
            covariance = np.asarray(alone.covariances_, dtype=np.float64)
            covariance = covariance if kind == "tied" else covariance[c]
            matrix = covariance if covariance.ndim == 2 else covariance * np.eye(2)
            expected[c] = matrix if full else np.diag(matrix)
        np.testing.assert_allclose(
            result.covariances[i], expected, rtol=1e-6 if dtype == np.float32 else 0
        )
    assert len(chosen) > 1
    assert result.covariance_type == ("diag" if types == ("spherical", "diag") else "full")


def test_predictions_of_several_types(tmp_path):
    result = fit_batch(PROBLEMS, NUMBERS, covariance_type=COVARIANCE_TYPES, random_state=0)
    labels, scores = result.predict(PROBLEMS), result.score_samples(PROBLEMS)
    for i in np.flatnonzero(result.ok):
        np.testing.assert_array_equal(labels[i], result[i].predict(PROBLEMS[i]))
        np.testing.assert_allclose(scores[i], result[i].score_samples(PROBLEMS[i]), rtol=1e-10)
    result.save(tmp_path / "batch.npz")
    again = BatchResult.load(tmp_path / "batch.npz")
    assert_same(again, result)
    assert again.covariance_types == result.covariance_types
    assert_same_model(again[0], result[0])


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random"])
def test_all_candidates_are_kept(dtype, init):
    data = [x.astype(dtype) for x in PROBLEMS]
    options = dict(covariance_type=COVARIANCE_TYPES, n_init=2, random_state=0, init_params=init)
    result = fit_batch(data, NUMBERS, keep_candidates=True, **options)
    assert_same(result, fit_batch(data, NUMBERS, **options))
    for i, x in enumerate(data):
        selection = result.selection(i)
        assert [row.criterion for row in selection.table] == pytest.approx(
            result.criteria[i].tolist(), nan_ok=True, abs=0
        )
        for k, kind in selection.models:
            alone = single(x, k, result.seeds[i], covariance_type=kind, n_init=2, init_params=init)
            assert_same_model(selection.models[k, kind], alone)
        if result.ok[i]:
            assert_same_model(selection.best_, result[i])
    part = result[[3, 0]]
    assert_same_model(part.selection(1).best_, result[0])
    assert_same_model(result[::3].selection(1).best_, result[3])
    with pytest.raises(IndexError):
        result.selection(len(SIZES))


def test_forms_of_data_and_threads(four_cpus):
    flat, offsets = np.concatenate(PROBLEMS), np.concatenate([[0], np.cumsum(SIZES)])
    options = dict(covariance_type=("full", "diag"), random_state=0, keep_candidates=True)
    first = fit_batch(PROBLEMS, NUMBERS, n_threads=1, **options)
    for n_threads in (1, 2, 4):
        other = fit_batch(flat, NUMBERS, offsets=offsets, n_threads=n_threads, **options)
        assert_same(first, other)
    cube = np.stack([x[:40] for x in PROBLEMS if len(x) >= 40])
    kept = fit_batch(cube, NUMBERS, **options)
    assert_same(kept, fit_batch(cube, NUMBERS, **options | dict(keep_candidates=False)))
    wide = np.random.default_rng(0).normal(size=(1, 30_000, 3))
    assert_same(*(fit_batch(wide, [2], n_threads=n, **options) for n in (1, 4)))


def test_a_selection_is_a_batch_of_one_problem():
    batch = fit_batch(
        [PROBLEMS[0]], NUMBERS, covariance_type=COVARIANCE_TYPES, random_state=[4],
        keep_candidates=True, n_init=3,
    )  # fmt: skip
    alone = select(
        PROBLEMS[0], NUMBERS, random_state=4, n_init=3, tol=1e-3, reg_covar=1e-6, max_iter=100
    )
    assert repr(batch.selection(0).table) == repr(alone.table)


@pytest.mark.parametrize("by", ["means", "weights"])
def test_components_of_all_candidates_are_sorted(by):
    options = dict(covariance_type=COVARIANCE_TYPES, random_state=0, keep_candidates=True)
    plain = fit_batch(PROBLEMS, NUMBERS, **options)
    result = fit_batch(PROBLEMS, NUMBERS, sort=by, **options)
    moved = 0
    for i in range(len(SIZES)):
        before, after = plain.selection(i), result.selection(i)
        assert before.table == after.table or np.isnan([r[2] for r in after.table]).any()
        for key, model in after.models.items():
            keys = model.means_[:, 0] if by == "means" else -model.weights_
            assert (np.diff(keys) >= 0).all()
            # the components are the same, in another order
            old = before.models[key]
            order = np.argsort(old.means_[:, 0] if by == "means" else -old.weights_, kind="stable")
            moved += (np.diff(order) < 0).any()
            own = () if key[1] == "tied" else ("covariances_", "precisions_cholesky_")
            for name in ("weights_", "means_", *own):
                np.testing.assert_array_equal(getattr(model, name), getattr(old, name)[order])
        if result.ok[i]:
            assert_same_model(after.best_, result[i])
    assert moved > 10


@pytest.mark.parametrize("keep", [False, True])
def test_what_does_not_exist_is_nan(covariance_type, keep):
    data = [PROBLEMS[2], PROBLEMS[1]]  # one row, and two clusters
    result = fit_batch(
        data, [1, 3], covariance_type=covariance_type, random_state=0, keep_candidates=keep
    )
    for array in (result.weights, result.means, result.covariances, result.precisions_cholesky):
        assert np.isnan(array[0]).all()
        k = int(result.n_components[1])
        shared = covariance_type == "tied" and array.shape[1:] == (2, 2)
        assert np.isfinite(array[1] if shared else array[1, :k]).all()
        assert shared or np.isnan(array[1, k:]).all()


def test_no_problems_at_all():
    result = fit_batch([], [1, 2], covariance_type=["full", "diag"], keep_candidates=True)
    assert len(result) == 0 and result.criteria.shape == (0, 4)
    assert list(result) == [] and result.covariance_types == []


def test_what_cannot_be_had():
    result = fit_batch(PROBLEMS, NUMBERS, random_state=0)
    with pytest.raises(ValueError, match="keep_candidates=True"):
        result.selection(0)
    with pytest.raises(ValueError, match="a single n_components and covariance_type"):
        fit_batch(PROBLEMS, 1, covariance_type=("full", "diag"), means_init=[[0.0, 0.0]])
    with pytest.raises(ValueError, match="unknown covariance_type 'round'"):
        fit_batch(PROBLEMS, 1, covariance_type=("full", "round"))


def test_stopped_candidates_leave_no_mixture():
    """One that has not run might have been the best."""

    def stop(done, total):
        assert total == 8
        if done:
            raise KeyError("mine")

    options = dict(covariance_type=COVARIANCE_TYPES, n_threads=1, tol=0.0, keep_candidates=True)
    with pytest.raises(KeyError, match="mine") as caught:
        fit_batch([np.random.default_rng(0).normal(size=(20_000, 8))], [20, 40], progress=stop,
                  **options)  # fmt: skip
    partial = caught.value.partial
    assert partial.status.tolist() == [BatchStatus.NOT_RUN] and not partial.ok.any()
    assert 1 <= len(partial.selection(0).models) < 8
