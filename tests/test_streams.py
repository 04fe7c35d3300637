"""Rows that come in chunks: the bits of `fit` whatever the chunks, sources, samples, scores."""

import itertools
import weakref

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, stream
from fusedgmm._chunks import survey

FITTED = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_")
TYPES = ("full", "tied", "diag", "spherical")


def rows(n=9_000, d=3, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 5 * rng.integers(2, size=(n, 1))
    return X.astype(dtype)


def cut(X, sizes, weight=None):
    """Chunks of these sizes in turn, as arrays or (X, weight)."""
    begin, sizes = 0, itertools.cycle(sizes)
    while begin < len(X):
        end = begin + next(sizes)
        yield X[begin:end] if weight is None else (X[begin:end], weight[begin:end])
        begin = end


def assert_same(a, b):
    for name in FITTED:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert getattr(a, "repairs_", None) == getattr(b, "repairs_", None)


def options(**others):
    return {"random_state": 0, "max_iter": 6, "tol": 1e-9} | others


pytestmark = pytest.mark.filterwarnings("ignore:Best performing", "ignore:degenerate components")


@pytest.mark.parametrize("sizes", [(1000,), (17, 1, 3000), (20_000,), (5, 0, 700)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_chunks_of_any_size_give_the_bits_of_fit(covariance_type, dtype, sizes):
    X = rows(dtype=dtype)
    model = GaussianMixture(3, covariance_type=covariance_type, **options(n_init=2))
    whole, parts = list(cut(X, (len(X),))), list(cut(X, sizes))
    assert_same(
        model.fit(whole[0]),
        GaussianMixture(**model.get_params()).fit_chunks(parts, start_rows=None),
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_start_reads_a_stream(start, weighted, threads):
    X = rows(40_000)
    weight = None
    if weighted:
        weight = np.random.default_rng(1).random(len(X))
        weight[::3] = 0
        weight[:50] = 0
    model = GaussianMixture(3, init_params=start, n_threads=threads, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X, sample_weight=weight)
    assert_same(model.fit_chunks(lambda: cut(X, (777, 5000), weight), start_rows=None), whole)


def test_a_small_weighted_stream_is_its_own_sample():
    X, weight = rows(600), np.ones(600)
    weight[:7] = 0
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X, sample_weight=weight)
    assert_same(model.fit_chunks(list(cut(X, (100,), weight)), start_rows=None), whole)


@pytest.mark.parametrize("d", [1, 40])
def test_columns_and_blocks_over_several_chunks(d):
    X = np.asfortranarray(rows(5_000, d))
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    assert_same(model.fit_chunks(list(cut(X, (1100, 1500))), start_rows=None), whole)


def test_a_repair_finds_its_row_in_a_stream():
    X = np.repeat(rows(6, 2), 900, axis=0)
    X[-1] = 40
    means = np.repeat(X[:1], 4, axis=0) + np.array([[0.0], [0.1], [500.0], [900.0]])
    model = GaussianMixture(
        4,
        degenerate="repair",
        means_init=means,
        weights_init=[0.25] * 4,
        precisions_init=[np.eye(2)] * 4,
        **options(n_init=1),
    )
    whole = GaussianMixture(**model.get_params()).fit(X)
    assert any(repair.row >= 0 for repair in whole.repairs_)
    assert_same(model.fit_chunks(list(cut(X, (1100, 1500))), start_rows=None), whole)


def test_far_from_zero_a_stream_keeps_its_digits():
    X = rows(4_000) + 1e8
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    assert_same(model.fit_chunks(list(cut(X, (1300,)))[:], start_rows=None), whole)
    assert np.allclose(np.linalg.eigvalsh(model.covariances_).min(axis=1), 1, atol=0.2)


def test_a_reader_with_one_buffer():
    X = rows(20_000)

    def read():
        buffer = np.empty((1500, 3))
        for chunk in cut(X, (1500,)):
            buffer[: len(chunk)] = chunk
            yield buffer[: len(chunk)]

    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    assert_same(model.fit_chunks(read, start_rows=None), whole)
    with pytest.raises(ValueError, match="share memory, so they cannot be read ahead"):
        model.fit_chunks(stream.ahead(read))
    assert_same(model, whole)


def test_a_short_chunk_just_below_a_long_one_is_another_buffer():
    memory = np.zeros((30, 2))
    pieces = memory[10:], memory[:10]
    assert survey(stream.chunks(lambda: pieces), 5, 0).chunks.is_stable
    assert not survey(stream.chunks(lambda: (memory[9:], memory[:10])), 5, 0).chunks.is_stable


def test_slices_of_columns_do_not_count_as_one_buffer():
    X = np.asfortranarray(rows(20_000))
    known = survey(stream.chunks(lambda: cut(X, (1500,))), 10, 0)
    assert known.chunks.is_stable


def test_the_sample_does_not_depend_on_the_chunks():
    X, weight = rows(20_000), np.random.default_rng(3).random(20_000)
    whole = survey(stream.chunks([X]), 500, 7)
    assert np.array_equal(whole.sample, survey(stream.chunks(X), 500, 7).sample)  # an array
    for sizes in ((1000,), (3, 7001)):
        assert np.array_equal(
            whole.sample, survey(stream.chunks(lambda s=sizes: cut(X, s)), 500, 7).sample
        )
    assert len(np.unique(whole.sample, axis=0)) == 500
    weighted = [
        survey(stream.chunks(list(cut(X, sizes, weight))), 500, 7).sample
        for sizes in ((1000,), (3, 7001))
    ]
    assert np.array_equal(*weighted)
    assert not np.array_equal(weighted[0], whole.sample)


def test_heavy_rows_are_sampled_more_often():
    X = np.arange(20_000.0)[:, None]
    weight = np.where(np.arange(20_000) < 10_000, 3.0, 1.0)
    weight[5_000:10_000] = 0
    sample = survey(stream.chunks([(X, weight)]), 1000, 1).sample[:, 0]
    assert not ((sample >= 5_000) & (sample < 10_000)).any()
    # 15,000 of a weight of 25,000: 600 expected, a standard deviation of 15
    assert 540 < (sample < 5_000).sum() < 660


def test_the_start_is_the_best_fit_of_the_sample():
    X = rows(30_000)
    model = GaussianMixture(2, random_state=0).fit_chunks(list(cut(X, (4096,))))
    again = GaussianMixture(2, random_state=0).fit_chunks(X)
    assert_same(model, again)
    assert model.converged_ and model.n_iter_ <= 4  # the sample's fit has made the others
    assert abs(model.score(X) - GaussianMixture(2, random_state=0).fit(X).score(X)) < 1e-3


def test_a_bayesian_mixture_takes_a_stream():
    X, weight = rows(), np.random.default_rng(0).random(9_000)
    model = BayesianGaussianMixture(n_components=3, random_state=0, max_iter=5)
    whole = BayesianGaussianMixture(**model.get_params()).fit(X)
    assert_same(model.fit_chunks(list(cut(X, (777,))), start_rows=None), whole)
    whole.fit(X, sample_weight=weight)  # the weights are summed in another order
    model.fit_chunks(list(cut(X, (777,), weight)), start_rows=None)
    assert np.allclose(model.means_, whole.means_, rtol=1e-10)
    model.fit_chunks(list(cut(X, (777,), weight)), start_rows=1000)
    assert abs(model.lower_bound_ - whole.lower_bound_) < 0.01 * abs(whole.lower_bound_)


def test_files(tmp_path):
    X = rows()
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    np.save(tmp_path / "a.npy", X[:4000])
    np.save(tmp_path / "b.npy", X[4000:])
    paths = [tmp_path / "a.npy", str(tmp_path / "b.npy")]
    assert_same(model.fit_chunks(paths, start_rows=None), whole)
    np.save(tmp_path / "c.npy", np.asfortranarray(X))
    assert_same(model.fit_chunks(tmp_path / "c.npy", start_rows=None), whole)
    assert_same(model.fit_chunks(stream.files(paths, load=np.load), start_rows=None), whole)
    with pytest.raises(ValueError, match="pass load="):
        model.fit_chunks(__file__)
    with pytest.raises(FileNotFoundError):
        model.fit_chunks(tmp_path / "none.npy")
    whole_file = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(whole_file[:-100])
    with pytest.raises(ValueError, match="b.npy is truncated") as caught:
        model.fit_chunks(paths)
    assert "b.npy" in "".join(caught.value.__notes__)
    assert_same(model, whole)


def test_parquet_and_arrow(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    X, weight = rows(), np.random.default_rng(0).random(9_000)
    table = pyarrow.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2000)
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    for source in (
        tmp_path / "t.parquet",
        table,
        parquet.ParquetFile(tmp_path / "t.parquet"),
        stream.parquet(tmp_path / "t.parquet", size=700),
        [batch for batch in table.to_batches(max_chunksize=1234)],
    ):
        assert_same(model.fit_chunks(source, start_rows=None), whole)
    weighted = GaussianMixture(**model.get_params()).fit(X[:, :2], sample_weight=weight)
    table = table.append_column("w", pyarrow.array(weight))
    source = stream.parquet(table, columns=["a", "b"], weight="w", size=999)
    assert_same(model.fit_chunks(source, start_rows=None), weighted)
    with_null = pyarrow.table({"a": [1.0, None, 3.0], "b": [1.0, 2.0, 4.0]})
    with pytest.raises(ValueError, match="row 1"):
        model.fit_chunks(with_null, start_rows=None)


def test_h5py(tmp_path):
    h5py = pytest.importorskip("h5py")
    X = rows()
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = X
        assert_same(model.fit_chunks(file["x"], start_rows=None), whole)


def test_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    X = rows()
    array = zarr.create_array(store=tmp_path / "x.zarr", data=X, chunks=(1000, 3))
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(X)
    assert_same(model.fit_chunks(array, start_rows=None), whole)


def test_a_reader_thread_passes_its_error_on_and_ends():
    def read():
        yield rows(100)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        GaussianMixture(2).fit_chunks(stream.ahead(read))
    chunks = iter(stream.ahead([rows(10)] * 50, n=1))
    next(chunks)
    chunks.close()  # must not wait for a thread that waits


def test_predictions_and_scores():
    X, weight = rows(), np.random.default_rng(0).random(9_000)
    model = GaussianMixture(2, random_state=0).fit(X)
    for method in ("predict", "predict_proba", "score_samples"):
        parts = list(model.predict_chunks(cut(X, (1000, 17)), method))
        assert [len(part) for part in parts] == [len(part) for part in cut(X, (1000, 17))]
        assert np.array_equal(np.concatenate(parts), getattr(model, method)(X))
    source = stream.chunks(lambda: cut(X, (1000, 17)))
    assert np.isclose(model.score(source), model.score(X), rtol=1e-13)
    assert np.isclose(model.bic(source), model.bic(X), rtol=1e-13)
    assert np.isclose(model.aic(source), model.aic(X), rtol=1e-13)
    weighted = stream.chunks(list(cut(X, (1000, 17), weight)))
    assert np.isclose(model.score(weighted), model.score(X, sample_weight=weight), rtol=1e-13)
    with pytest.raises(ValueError, match="unknown method 'sample'"):
        model.predict_chunks([X], "sample")
    X[8000, 1] = np.inf
    with pytest.raises(
        ValueError, match=r"chunk 8 .*row 0, column 1 of the chunk, row 8000 of the"
    ):
        list(model.predict_chunks(cut(X, (1000,))))


# ---- bad input ----


def bad_streams():
    X = rows(20_000)
    parts = list(cut(X, (1000,)))
    nan = [part.copy() for part in parts]
    nan[17][5, 2] = np.nan
    passes = itertools.count()
    once = iter(parts)
    ones = np.ones(1000)
    return {
        "iterator": (iter(parts), TypeError, "can be read only once.*lambda"),
        "int": (5, TypeError, "of type int"),
        "empty": ([], ValueError, "gave no rows"),
        "no rows": ([parts[0][:0]], ValueError, "gave no rows"),
        "columns": ([*parts[:5], X[:10, :2]], ValueError, "chunk 5 .rows 5000 to 5009.*2 features"),
        "dtype": (
            [parts[0].astype(np.float32), parts[1]],
            ValueError,
            "chunk 1 .rows 1000 to 1999 of the stream.: it has dtype float64",
        ),
        "nan": (
            nan,
            ValueError,
            "chunk 17 .*row 5, column 2 of the chunk, row 17005 of the stream",
        ),
        "fewer": (lambda: parts[: 20 - next(passes)], ValueError, "20000 rows.*only 19000"),
        "more": (lambda: parts[: 5 + next(passes)], ValueError, "and more in a later one"),
        "spent": (lambda: once, ValueError, "only 0.*a new iterator in every call"),
        "weights": ([(parts[0], ones), parts[1]], ValueError, "it has no sample weights"),
        "late weights": (
            [parts[0], (parts[1], ones)],
            ValueError,
            "first chunk does not have them",
        ),
        "negative": ([(parts[0], -ones)], ValueError, "chunk 0 .*negative"),
        "zero": ([(parts[0], 0 * ones)], ValueError, "zero in every row"),
        "text": ([parts[0], [["a"]]], ValueError, "chunk 1 .*not numeric"),
        "flat": ([parts[0][0]], ValueError, "chunk 0.*Expected 2D array"),
        "one row": ([parts[0][:1]], ValueError, "needs at least 2"),
        "few rows": ([parts[0][:2]], ValueError, "n_samples = 2"),
    }


@pytest.mark.parametrize("name", bad_streams())
def test_bad_streams_are_named_and_leave_the_model(name):
    given, error, message = bad_streams()[name]
    model = GaussianMixture(3, random_state=0, max_iter=20).fit(rows(500))
    before = model.means_.copy()
    with pytest.raises(error, match=message):
        model.fit_chunks(given)
    assert np.array_equal(model.means_, before)


def test_float32_chunks_after_float64_are_converted():
    X = rows()
    mixed = [X[:5000], X[5000:].astype(np.float32)]
    both = np.concatenate(mixed)
    model = GaussianMixture(2, **options(n_init=1))
    whole = GaussianMixture(**model.get_params()).fit(both)
    assert_same(model.fit_chunks(mixed, start_rows=None), whole)


def test_an_error_of_the_reader_says_where_it_was():
    def read():
        yield from cut(rows(3000), (1000,))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        GaussianMixture(2).fit_chunks(read)
    assert "chunk 3 (from row 3000 of the stream) in pass 1" in caught.value.__notes__[0]


def test_start_rows_must_hold_the_components():
    with pytest.raises(ValueError, match="start_rows must be an int >= 5"):
        GaussianMixture(5).fit_chunks(rows(), start_rows=4)


def test_decoded_chunks_are_held_a_few_at_a_time():
    X, sizes = rows(200_000, 16), []

    def counted():
        alive = []
        for chunk in cut(X, (16_384,)):  # of 2 MB
            copy = chunk.copy()
            alive.append(weakref.ref(copy))
            yield copy
            del copy
            sizes.append(sum(ref() is not None for ref in alive))

    # one thread: the chunks that a late helper may read would stay longer
    model = GaussianMixture(2, covariance_type="diag", random_state=0, n_threads=1, max_iter=3)
    model.fit_chunks(counted)
    last_pass = sizes[-12:]
    assert 1 < max(last_pass) <= 3  # the two that are held, and the next
