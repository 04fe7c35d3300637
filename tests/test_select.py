"""select: each candidate is its own fit, the criteria, the best, failures, cross-validation."""

import math
import pickle

import numpy as np
import pytest

import fusedgmm
from fusedgmm import BatchStatus, GaussianMixture, Selection, select
from fusedgmm.datasets import load_faithful
from helpers import (
    COVARIANCE_TYPES,
    INITS,
    measure_memory,
    measures_memory,
    quiet_fit,
    tolerance,
)
from helpers.batches import assert_same_model, rows

X = rows(300, 2, k=3)
OPTIONS = dict(tol=1e-3, reg_covar=1e-6, max_iter=100)
GRID = [(k, kind) for kind in COVARIANCE_TYPES for k in (1, 2, 3)]


def own_fit(X, k, kind, weight=None, **options):
    model = GaussianMixture(k, covariance_type=kind, **(OPTIONS | options))
    return quiet_fit(model, X, sample_weight=weight)


def bits(selection):
    """Everything in a selection that numbers decide."""
    models = [selection.models[key] for key in sorted(selection.models)]
    arrays = [a.tobytes() for m in models for a in (m.weights_, m.means_, m.covariances_)]
    return [repr(row) for row in selection.table], arrays


# ---------------------------------------------------------------- the candidates


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("init", INITS)
def test_every_candidate_is_its_own_fit(dtype, init, weighted):
    data = X.astype(dtype)
    weight = np.random.default_rng(1).random(len(X)) if weighted else None
    options = dict(init_params=init, n_init=3, random_state=5)
    selection = select(data, [1, 2, 3], sample_weight=weight, **OPTIONS, **options)
    assert [row[:2] for row in selection.table] == GRID == list(selection.models)
    for k, kind in GRID:
        alone = own_fit(data, k, kind, weight, **options)
        assert_same_model(selection.models[k, kind], alone)
        assert selection.models[k, kind].get_params() == alone.get_params()


def test_automatic_starts_are_those_of_a_fit():
    selection = select(X, [4], random_state=2, **OPTIONS)
    for kind in COVARIANCE_TYPES:
        assert_same_model(selection.models[4, kind], own_fit(X, 4, kind, random_state=2))
    # quick enough for several starts only without matrices: the types make different numbers
    wide = rows(3000, 20, k=4)
    for kind in COVARIANCE_TYPES:
        one = select(wide, [5, 2], COVARIANCE_TYPES, random_state=2, **OPTIONS).models[5, kind]
        assert_same_model(one, own_fit(wide, 5, kind, random_state=2))


@pytest.mark.parametrize("criterion", ["bic", "icl", "cv"])
def test_a_choice_with_any_number_of_threads(four_cpus, criterion):
    # alone, side by side, and, of 20,000 rows, inside each fit
    for data, numbers in ((X, [1, 2, 3, 4]), (rows(20_000, 2), [3])):
        options = dict(criterion=criterion, random_state=0, n_folds=3)
        first = bits(select(data, numbers, n_threads=1, **options))
        for n_threads in (2, 3, 4):
            assert bits(select(data, numbers, n_threads=n_threads, **options)) == first


def test_the_order_of_the_candidates_does_not_matter():
    forwards = select(X, [1, 2, 3], random_state=0)
    backwards = select(X, [3, 2, 1], COVARIANCE_TYPES[::-1], random_state=0)
    assert sorted(map(repr, forwards.table)) == sorted(map(repr, backwards.table))
    assert list(backwards.table[0][:2]) == [3, "spherical"]


def test_a_generator_as_random_state():
    def chosen(seed):
        return bits(select(X, 3, random_state=np.random.default_rng(seed), criterion="cv"))

    assert chosen(0) == chosen(0) != chosen(1)
    generator = np.random.RandomState(0)
    model = select(X, 3, "full", random_state=generator, **OPTIONS).best_
    assert_same_model(model, own_fit(X, 3, "full", random_state=model.random_state))


# ---------------------------------------------------------------- the criteria


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_criteria(weighted):
    weight = np.random.default_rng(2).integers(1, 4, len(X)) if weighted else None
    repeated = X if weight is None else np.repeat(X, weight, axis=0)
    for criterion in ("bic", "aic", "icl"):
        selection = select(X, [1, 2, 3], criterion=criterion, sample_weight=weight, random_state=0)
        for row in selection.table:
            model = selection.models[row[:2]]
            total = model.score_samples(repeated).sum()
            entropy = -np.log(model.predict_proba(repeated).max(axis=1)).sum()
            expected = {
                "bic": model.bic(repeated),
                "aic": model.aic(repeated),
                "icl": model.bic(repeated) + 2 * entropy,
            }[criterion]
            assert row.criterion == pytest.approx(expected, rel=tolerance("criteria"))
            assert row.log_likelihood == pytest.approx(total, rel=tolerance("criteria"))
            assert row.n_parameters == model._n_parameters()
            assert (row.n_iter, row.converged) == (model.n_iter_, model.converged_)


def test_held_out_rows():
    """The folds partition the rows, and every candidate has the same ones."""
    count, folds = 103, 4
    data = rows(count, 2, k=2)
    selection = select(data, [1, 2], criterion="cv", n_folds=folds, random_state=7, **OPTIONS)
    order = np.random.Generator(np.random.PCG64(7)).permutation(count)
    cuts = [count * i // folds for i in range(folds + 1)]
    for row in selection.table:
        total = 0.0
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True):
            training = data[np.concatenate([order[end:], order[:begin]])]
            model = own_fit(training, *row[:2], random_state=7)
            total += model.score_samples(data[order[begin:end]]).sum()
        assert row.criterion == pytest.approx(total / count, rel=tolerance("criteria"))
        alone = own_fit(data, *row[:2], random_state=7)
        assert_same_model(selection.models[row[:2]], alone)
    assert selection.best.criterion == max(row.criterion for row in selection.table)


def test_held_out_rows_have_their_weights():
    weight = np.random.default_rng(0).random(200)
    weight[:50] = 0.0
    data = rows(200, 1)
    options = dict(criterion="cv", random_state=0)
    value = select(data, 2, "full", sample_weight=weight, **options).table[0].criterion
    assert value == pytest.approx(
        select(data, 2, "full", sample_weight=4 * weight, **options).table[0].criterion, rel=1e-9
    )
    strange = data.copy()
    strange[:50] = 1e6  # rows of weight zero have no influence
    # but on the sample of k-means, whose rows are then others
    other = select(strange, 2, "full", sample_weight=weight, **options).table[0].criterion
    assert value == pytest.approx(other, abs=0.01)


def test_leaving_one_out():
    value = select(X[:20], 1, "full", criterion="cv", n_folds=1000).table[0]
    assert value.status == BatchStatus.CONVERGED and np.isfinite(value.criterion)


# ---------------------------------------------------------------- the choice


def test_old_faithful_is_chosen_as_by_mclust():
    # mclust 6.0.0: EEE,3 has BIC -2314.316 in its sign, VVV,2 -2322.192, EEE,2 -2325.220
    for seed in range(4):
        selection = select(load_faithful(), random_state=seed)
        assert [row[:2] for row in selection.ranked[:3]] == [(3, "tied"), (2, "full"), (2, "tied")]
        best = [row.criterion for row in selection.ranked[:3]]
        np.testing.assert_allclose(best, [2314.316, 2322.192, 2325.220], atol=0.2)
    # mclust 6.0.0: ICL -2322.697 of VVV,2 and -2326.710 of EEE,2, the same criterion
    ranked = select(load_faithful(), criterion="icl", random_state=0).ranked
    assert [row[:2] for row in ranked[:2]] == [(2, "full"), (2, "tied")]
    np.testing.assert_allclose([row.criterion for row in ranked[:2]], [2322.697, 2326.71], atol=0.1)


def test_known_groups_are_found():
    data = rows(2000, 4, k=4) * [1.0, 3.0, 0.2, 1e-3] + 1e5
    for criterion in ("bic", "icl", "cv"):
        best = select(data, [2, 3, 4, 5], criterion=criterion, random_state=0).best
        assert best.n_components == 4


def test_equal_models_are_ranked_once():
    wide = select(X, [1, 2], random_state=0)
    assert len(wide.ranked) == 7 and (1, "tied") not in [row[:2] for row in wide.ranked]
    narrow = select(X[:, :1], [1, 2], random_state=0)
    assert [row[:2] for row in sorted(narrow.ranked)] == [(1, "full"), (2, "full"), (2, "tied")]
    assert narrow.best.covariance_type != "diag"  # of equal criteria, the first


def test_of_equal_criteria_the_first_is_the_best():
    from fusedgmm._fits import best_of

    assert best_of([np.nan, 2.0 + 1e-12, 2.0, 3.0]) == 1
    assert best_of([-5.0, 2.0 - 1e-12, 2.0], lower_is_better=False) == 1
    assert best_of([np.inf, np.nan]) == 0 and best_of([np.nan]) is None


def test_the_curves_are_the_criteria():
    selection = select(X, [3, 1, 2], random_state=0)
    assert list(selection.curves) == list(COVARIANCE_TYPES)
    for kind, (numbers, values) in selection.curves.items():
        assert numbers.tolist() == [1, 2, 3]
        expected = {row.n_components: row.criterion for row in selection.table
                    if row.covariance_type == kind}  # fmt: skip
        assert values.tolist() == [expected[k] for k in (1, 2, 3)]


def test_far_from_zero_and_repeated_rows():
    near = select(X, [1, 2, 3], random_state=0)
    far = select(X + 1e8, [1, 2, 3], random_state=0)
    assert near.best[:2] == far.best[:2]
    assert near.best.criterion == pytest.approx(far.best.criterion, rel=1e-4)
    twice = select(np.tile(X, (2, 1)), 2, "tied", random_state=0).table[0]
    assert twice.log_likelihood == pytest.approx(
        2 * near.models[2, "tied"].score(X) * len(X), rel=1e-3
    )


# ---------------------------------------------------------------- failures


def test_failures_are_reported():
    data = np.concatenate([np.zeros((30, 2)), rows(30, 2)])
    selection = select(data, [1, 2, 60, 61], random_state=0)
    status = {row[:2]: row.status for row in selection.table}
    assert status[2, "full"] == BatchStatus.SINGULAR_COVARIANCE
    assert status[61, "diag"] == BatchStatus.TOO_FEW_ROWS
    assert math.isnan(next(r for r in selection.table if r[:2] == (2, "full")).criterion)
    assert (2, "full") not in selection.models and (1, "full") in selection.models
    with pytest.raises(KeyError, match=r"models\[n_components, covariance_type\]"):
        selection.models[2, "full"]
    assert selection.best[:2] in selection.models
    text = repr(selection)
    assert "Without a criterion: 2 full" in text
    assert "61 full, 61 tied, 61 diag, 61 spherical (fewer rows than components" in text


def test_a_regularized_collapse_is_not_chosen():
    # thirty equal rows: with reg_covar > 0, the component on them has a very high likelihood
    data = np.concatenate([np.zeros((30, 2)), rows(300, 2, k=1)])
    assert select(data, [1, 2], "full", random_state=0).best.n_components == 1
    assert select(data, [1, 2], "full", random_state=0, reg_covar=1e-6).best.n_components == 2


def test_no_candidate_can_be_fitted():
    selection = select(np.ones((10, 2)), [1, 2])
    assert len(selection.models) == 0 and not selection.ranked
    with pytest.raises(ValueError, match="no candidate could be fitted: 1 full.*all rows are the"):
        _ = selection.best_
    assert repr(selection).startswith("Best of 8 candidates by BIC (lower is better):\nWithout a")


def test_a_fold_that_fails():
    data = np.array([[0.0], [0.0], [0.0], [1.0]])
    row = select(data, 1, "full", criterion="cv", n_folds=4, random_state=0).table[0]
    assert math.isnan(row.criterion) and row.status == BatchStatus.CONSTANT_ROWS
    assert np.isfinite(row.log_likelihood)


def test_invalid_input():
    with pytest.raises(ValueError, match="row 3, column 1"):
        bad = X.copy()
        bad[3, 1] = np.nan
        select(bad)
    for options, message in (
        (dict(criterion="vic"), "unknown criterion 'vic'; known: bic, aic, icl, cv"),
        (dict(covariance_types="round"), "unknown covariance_type 'round'"),
        (dict(covariance_types=[]), "covariance types must be different names"),
        (dict(covariance_types=["full", "full"]), "covariance types must be different names"),
        (dict(n_components=[]), "n_components must be different numbers"),
        (dict(n_components=0), "n_components must be an int >= 1"),
        (dict(n_folds=1), "n_folds must be an int >= 2"),
        (dict(n_init="many"), 'n_init must be "auto" or an int'),
        (dict(sample_weight=np.ones(3)), "sample_weight.shape"),
        (dict(n_threads=0), "n_threads must be an int >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            select(X, **options)
    with pytest.raises(ValueError, match="Expected 2D array"):
        select(X[0])


@measures_memory
def test_small_candidates_need_little_memory():
    (used,) = measure_memory("""
import numpy as np
from fusedgmm import select
X = np.random.default_rng(0).normal(size=(500, 300))
select(X[:, :2], [1, 2])
types = ["full", "diag", "spherical"]
print(rise(lambda: select(X, range(1, 13), types, max_iter=1, n_init=1, n_threads=1)))
""")
    # covariances and factors: 107 in all; 593 if each candidate had room for the largest
    assert used < 300  # megabytes


# ---------------------------------------------------------------- progress, forms, pictures


def test_progress_is_reported_and_stops_it():
    seen = []
    select(X, [1, 2], criterion="cv", n_folds=3, progress=lambda *now: seen.append(now))
    assert seen[-1] == (32, 32) and [d for d, _ in seen] == sorted(d for d, _ in seen)

    def stop(done, total):
        raise KeyboardInterrupt

    for criterion in ("bic", "icl", "cv"):
        with pytest.raises(KeyboardInterrupt) as caught:
            select(rows(50_000, 8), [40, 50], criterion=criterion, n_init=9, progress=stop)
        partial = caught.value.partial
        assert isinstance(partial, Selection) and len(partial) == 8
        assert BatchStatus.NOT_RUN in {row.status for row in partial.table}


def test_progress_is_reported_while_starts_are_made():
    seen = []
    data = rows(200_000, 4)
    options = dict(n_init=8, n_threads=1, max_iter=1, progress=lambda *now: seen.append(now[0]))
    select(data, 12, ["diag", "spherical"], **options)
    assert seen == sorted(seen) and seen[-1] == 2 and max(seen) == 2 and 0 in seen


def test_frames_and_pickles():
    pandas = pytest.importorskip("pandas")
    selection = select(pandas.DataFrame(X, columns=["a", "b"]), [1, 2], random_state=0)
    frame = selection.to_frame("pandas")
    assert list(frame.columns) == list(fusedgmm.Candidate._fields)
    assert frame["criterion"].tolist() == [row.criterion for row in selection.table]
    assert set(frame["status"]) == {"converged"}
    assert selection.best_.feature_names_in_.tolist() == ["a", "b"]
    assert selection.best_ is selection.best_
    assert bits(pickle.loads(pickle.dumps(selection))) == bits(selection)
    polars = pytest.importorskip("polars")
    assert selection.to_frame("polars").equals(polars.DataFrame(frame.to_dict("list")))


def test_plot_draws_the_curves(monkeypatch):
    pytest.importorskip("matplotlib")
    from fusedgmm import plots

    monkeypatch.setattr(plots, "plot_bic", lambda *a, **k: (a, k), raising=False)
    selection = select(X, [1, 2], random_state=0)
    assert selection.plot(ax=3) == ((selection,), {"ax": 3})


def test_the_text():
    selection = select(load_faithful(), [1, 2, 3], random_state=1, max_iter=3)
    lines = repr(selection).splitlines()
    assert lines[0] == "Best of 12 candidates by BIC (lower is better):"
    assert [line.split()[0] for line in lines[1:4]] == [str(selection.best[0]), "BIC", "difference"]
    assert len(set(map(len, lines[1:4]))) == 1  # aligned
    assert lines[3].split()[1] == "0.000"
    unfinished = [row for row in selection.ranked[:3] if not row.converged]
    assert len(lines) == 4 + len(unfinished)
    assert all(line.endswith("did not converge within max_iter") for line in lines[4:])
    assert "(higher is better)" in repr(select(X, 1, criterion="cv"))
