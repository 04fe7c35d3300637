"""fusedgmm.dask with Dask's local scheduler: collections, weights, predictions, errors."""

import pickle

import numpy as np
import pytest

pytest.importorskip("dask.array")

import dask
import dask.array as da

import fusedgmm
from fusedgmm import _partitions
from fusedgmm.dask import GaussianMixture
from helpers import COVARIANCE_TYPES, FITTED, assert_close, tolerance

try:
    import dask.dataframe as dd
except ImportError:  # it needs pandas and pyarrow
    dd = None
try:
    import pandas as pd
except ImportError:
    pd = None

RNG = np.random.default_rng(8)
N = 6_000
X = RNG.normal(size=(N, 3)) + 5 * RNG.integers(3, size=(N, 1))
W = RNG.uniform(0.5, 2, size=N)
EDGES = (0, 700, 700, 2_000, 2_001, 4_500, N)
CHUNKS = (tuple(np.diff(EDGES).tolist()), 3)
START = fusedgmm.GaussianMixture(3, random_state=0).fit(X[::50]).parameters


def from_start(kind, start=START, **options):
    return kind(
        3,
        covariance_type=start.covariance_type,
        weights_init=start.weights,
        means_init=start.means,
        covariances_init=start.covariances,
        **options,
    )


def collections():
    parts = [X[a:b] for a, b in zip(EDGES[:-1], EDGES[1:], strict=True)]
    array = da.from_array(X, chunks=CHUNKS)
    yield "array", array
    yield "columns", da.from_array(X, chunks=(CHUNKS[0], 2))
    yield "unknown", array[array[:, 0] > -np.inf]
    yield "delayed", [dask.delayed(part) for part in parts] + [dask.delayed(None)]
    if pd is None:
        return
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    if dd is not None:
        yield "frame", dd.from_pandas(frame, npartitions=5)
    yield "delayed frames", [dask.delayed(frame[i : i + 1_000]) for i in range(0, N, 1_000)]


def weights_for(name, x):
    if name in ("array", "columns"):
        return W
    if name == "unknown":
        return da.from_array(W, chunks=(x.numblocks[0] and CHUNKS[0],))
    if name == "frame":
        series = dd.from_pandas(pd.DataFrame({"w": W}), npartitions=5)
        return series["w"]
    edges = [*EDGES, N] if name == "delayed" else range(0, N + 1, 1_000)
    return [dask.delayed(W[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name, x", list(collections()))
def test_any_collection_is_fitted_as_an_array(name, x, weighted):
    weight = weights_for(name, x) if weighted else None
    model = from_start(GaussianMixture, tol=1e-6).fit(x, sample_weight=weight)
    same = from_start(fusedgmm.GaussianMixture, tol=1e-6).fit(X, None, W if weighted else None)
    assert model.n_iter_ == same.n_iter_ and model.converged_
    assert_close(model, same, tolerance("same fit"))
    total = model.score(x, sample_weight=weight)
    assert total == pytest.approx(same.score(X, sample_weight=W if weighted else None), rel=1e-12)
    assert hasattr(model, "feature_names_in_") == ("frame" in name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_kinds_of_mixtures(covariance_type, dtype, offset):
    if offset and dtype == np.float32:
        offset = 1e3
    rows = (X + offset).astype(dtype)
    options = dict(covariance_type=covariance_type, random_state=0)
    start = fusedgmm.GaussianMixture(3, **options).fit(rows[::50].astype(np.float64)).parameters
    x = da.from_array(rows, chunks=CHUNKS)
    model = from_start(GaussianMixture, start).fit(x)
    same = from_start(fusedgmm.GaussianMixture, start).fit(rows)
    assert model.means_.dtype == dtype and model.n_iter_ == same.n_iter_
    assert_close(model, same, tolerance("same fit", dtype))


def test_the_start_is_a_fit_of_a_sample_that_does_not_depend_on_the_groups(monkeypatch):
    x = da.from_array(X, chunks=(100, 3))
    models = []
    for n_groups in (1, 7, 60):
        monkeypatch.setattr("fusedgmm.dask._GROUPS_OF_A_THREAD", n_groups)
        with dask.config.set(num_workers=1):
            models.append(GaussianMixture(3, random_state=4).fit(x, start_rows=500))
    for other in models[1:]:
        assert_close(models[0], other, 0.0)
    best = fusedgmm.GaussianMixture(3, random_state=0).fit(X)
    assert models[0].lower_bound_ == pytest.approx(best.lower_bound_, abs=2e-3)


def test_small_data_one_feature_and_warm_starts():
    x = da.from_array(X[:8, :1], chunks=(1, 1))
    model = GaussianMixture(1).fit(x)
    assert_close(model, fusedgmm.GaussianMixture(1).fit(X[:8, :1]), tolerance("same fit"))
    again = GaussianMixture(1, warm_start=True).fit(x).fit(x)
    assert_close(again, model, tolerance("same fit"))
    with pytest.raises(ValueError, match="X has 1 row"):
        GaussianMixture(1).fit(x[:1])
    each = GaussianMixture(4, reg_covar=1e-2, random_state=0).fit(da.from_array(X[:4], chunks=2))
    assert each.weights_ == pytest.approx(np.full(4, 0.25))


@pytest.mark.parametrize("name, x", list(collections()))
def test_predictions_are_lazy_and_those_of_the_local_model(name, x):
    model = from_start(GaussianMixture).fit(x)
    local = model.to_local()
    assert type(local) is fusedgmm.GaussianMixture
    rows = pd.DataFrame(X, columns=["a", "b", "c"]) if "frame" in name else X
    for method in ("predict", "predict_proba", "score_samples", "uncertainty"):
        lazy, expected = getattr(model, method)(x), getattr(local, method)(rows)
        if isinstance(lazy, list):
            lazy = da.concatenate([da.from_array(part) for part in dask.compute(*lazy)])
        assert lazy.dtype == expected.dtype
        found = lazy.compute()
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    # in memory
    assert np.array_equal(model.predict(rows), local.predict(rows))
    assert model.bic(x) == pytest.approx(local.bic(rows), rel=1e-12)
    assert model.aic(x) == pytest.approx(local.aic(rows), rel=1e-12)


def test_lazy_predictions_keep_the_model_of_their_time():
    x = da.from_array(X, chunks=CHUNKS)
    model = from_start(GaussianMixture).fit(x)
    lazy, expected = model.predict(x), model.to_local().predict(X)
    model.means_ = model.means_[::-1]
    assert not np.array_equal(model.predict(x).compute(), expected)
    assert np.array_equal(lazy.compute(), expected)


def test_a_model_is_pickled_saved_and_shown(tmp_path, capsys):
    x = da.from_array(X, chunks=CHUNKS)
    seen = []
    model = GaussianMixture(3, random_state=0, tol=0, max_iter=2, verbose=1, verbose_interval=1)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(x, callback=lambda state: seen.append((state.iteration, state.rows)))
    assert seen == [(1, N), (2, N)]
    assert capsys.readouterr().out.count("Iteration") == 2
    assert_close(pickle.loads(pickle.dumps(model)), model)
    model.save(tmp_path / "model.npz")
    for kind in (GaussianMixture, fusedgmm.GaussianMixture):
        assert_close(kind.load(tmp_path / "model.npz"), model)


def test_a_bad_row_is_found_in_its_partition():
    bad = X.copy()
    bad[1_705, 1] = np.nan
    x = da.from_array(bad, chunks=(100, 3))
    model = GaussianMixture(3, random_state=0).fit(da.from_array(X, chunks=CHUNKS))
    before = {name: getattr(model, name).copy() for name in FITTED}
    with pytest.raises(ValueError, match="partition 17: .* NaN .* row 5, column 1"):
        model.fit(x)
    assert all(np.array_equal(getattr(model, name), before[name]) for name in FITTED)
    with pytest.raises(ValueError, match="partition 17: .* NaN"):
        model.predict(x).compute()
    with pytest.raises(ValueError, match="partition 17: .* NaN"):
        model.score(x)


def test_bad_input_is_named():
    x = da.from_array(X, chunks=(1_000, 3))
    model = GaussianMixture(3, random_state=0)
    with pytest.raises(TypeError, match="X is a numpy.ndarray, but fusedgmm.dask takes a Dask"):
        model.fit(X)
    with pytest.raises(ValueError, match="got 1D array"):
        model.fit(x[:, 0])
    with pytest.raises(ValueError, match="partition 2 has 2 columns, but partition 0 has 3"):
        model.fit([dask.delayed(part) for part in (X[:9], None, X[:9, :2])])
    with pytest.raises(ValueError, match="X has 0 row"):
        model.fit([dask.delayed(X[:0])])
    with pytest.raises(
        ValueError, match="partition 3: sample_weight has a negative value at row 2"
    ):
        model.fit(x, sample_weight=np.where(np.arange(N) == 3_002, -1.0, 1.0))
    with pytest.raises(ValueError, match="sample_weight has 10 rows, X has 6000"):
        model.fit(x, sample_weight=np.ones(10))
    with pytest.raises(ValueError, match="sample_weight has 1 partitions, but X has 2"):
        model.fit([dask.delayed(X)] * 2, sample_weight=[dask.delayed(W)])
    with pytest.raises(ValueError, match="partition 0: it has 6000 rows, but no weights"):
        model.fit([dask.delayed(X)], sample_weight=[dask.delayed(None)])
    with pytest.raises(ValueError, match='degenerate="repair" is not possible'):
        GaussianMixture(3, degenerate="repair").fit(x)
    with pytest.raises(TypeError, match="no checkpoints"):
        model.fit(x, resume="fit.npz")
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(x)
    fitted = model.fit(x)
    with pytest.raises(ValueError, match="X has 2 features"):
        fitted.predict(x[:, :2])


def test_columns_of_other_names_are_found():
    pytest.importorskip("pandas")
    frames = [pd.DataFrame(X[:9], columns=list(names)) for names in ("abc", "acb")]
    with pytest.raises(ValueError, match="partition 1 has the columns"):
        GaussianMixture(2).fit([dask.delayed(frame) for frame in frames])


def test_the_plain_class_names_this_one_for_large_arrays():
    large = da.zeros((200_000_000, 2), chunks=(1_000_000, 2))
    with pytest.raises(ValueError, match=r"dask Array of 3.2 GB.*fusedgmm.dask.GaussianMixture"):
        fusedgmm.GaussianMixture().fit(large)


def test_groups_are_subtrees():
    assert [_partitions.group_size(n, 4) for n in (1, 4, 5, 8, 9, 1_000)] == [1, 1, 2, 2, 4, 256]
    words = [None if i in (2, 3, 9) else [i] for i in range(13)]
    whole = _partitions.merge_in_tree(words)
    for size in (1, 2, 4, 8, 16):
        groups = [_partitions.merge_in_tree(words[i : i + size]) for i in range(0, 13, size)]
        assert _partitions.merge_in_tree(groups) == whole
    assert _partitions.merge_in_tree([None, None]) is None and _partitions.merge_in_tree([]) is None
