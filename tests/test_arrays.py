"""The data that GaussianMixture accepts, how it converts them, and what it rejects."""

import pickle
import re
import sys
import warnings

import numpy as np
import pytest

from fusedgmm import GaussianMixture, MixtureParameters, accumulate, fit_batch
from fusedgmm._validation import as_floating
from helpers import FITTED, assert_close, tolerance

# Small integers: every dtype below can represent them, so every dtype must give the same fit.
ROWS = np.random.default_rng(0).integers(0, 9, size=(120, 3)) + np.repeat([[0], [30]], 60, axis=0)
DTYPES = [
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "longdouble", "object"),
    *(">i2", ">i8", ">f2", ">f4", ">f8", "<f4", "<f8"),
]


def fitted(X):
    return GaussianMixture(2, random_state=0).fit(X)


@pytest.mark.parametrize("name", DTYPES)
def test_every_real_dtype(name):
    X = ROWS.astype(name)
    model = fitted(X)
    single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    result = np.float32 if single else np.float64
    assert_close(model, fitted(ROWS.astype(result)))
    rtol = tolerance("float64, closely", np.float32) if single else 0.0
    assert_close(model, fitted(ROWS.astype(np.float64)), rtol)
    for attribute in FITTED:
        assert getattr(model, attribute).dtype == result, attribute
    assert model.predict_proba(X).dtype == model.score_samples(X).dtype == result
    assert model.predict(X).dtype == np.int64


def test_bool():
    X = ROWS % 2 == 0
    assert_close(fitted(X), fitted(X.astype(np.float64)))


def layouts(X):
    """The same rows in every memory layout that NumPy supports."""
    n, d = X.shape
    wide = np.zeros((2 * n, 3 * d), X.dtype)
    wide[::2, ::3] = X
    raw = bytearray(X.nbytes + 1)
    unaligned = np.frombuffer(raw, dtype=X.dtype, count=X.size, offset=1).reshape(X.shape)
    unaligned[...] = X
    packed = np.zeros(n, dtype=[("flag", "i1"), ("row", X.dtype, (d,))])
    packed["row"] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    backwards = X[::-1, ::-1].copy()
    return {
        "Fortran": np.asfortranarray(X),
        "strided": wide[::2, ::3],
        "negative": backwards[::-1, ::-1],
        "unaligned": unaligned,
        "packed": packed["row"],
        "read-only": read_only,
        "transposed": np.ascontiguousarray(X.T).T,
        "list": X.tolist(),
        "mask without a masked value": np.ma.masked_array(X),
        "matrix-like": np.asarray(X).view(type("Rows", (np.ndarray,), {})),
    }


@pytest.mark.parametrize("layout", layouts(ROWS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_every_layout(layout, dtype):
    X = ROWS.astype(dtype)
    given = layouts(X)[layout]
    expected = fitted(X.astype(np.float64) if layout == "list" else X)
    model = fitted(given)
    assert_close(model, expected)
    np.testing.assert_array_equal(model.predict_proba(given), expected.predict_proba(given))


def spellings(X):
    """The same bytes under every dtype that NumPy treats as equal."""
    dtype = X.dtype
    native = dtype.newbyteorder("<" if sys.byteorder == "little" else ">")
    half = f"u{dtype.itemsize // 2}"
    record = np.zeros(len(X), dtype=[("row", native, X.shape[1:])])
    record["row"] = X
    return {
        "byte order": X.view(native),
        "metadata": X.view(np.dtype(dtype, metadata={"unit": "cm"})),
        "fields": X.view(np.dtype((dtype, [("low", half), ("high", half)]))),
        "record": record["row"],
        "record array": record.view(np.recarray)["row"],
        "subclass": X.view(native).view(type("Rows", (np.ndarray,), {})),
        "strided": np.repeat(X.view(native), 2, axis=1)[:, ::2],
        "pickled": pickle.loads(pickle.dumps(X.view(native))),
        "a buffer": memoryview(X.view(native)),
        "an object with __array__": type("Z", (), {"__array__": lambda *_, **__: X.view(native)})(),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", spellings(ROWS.astype(np.float64)))
def test_every_spelling_of_a_dtype(tmp_path, dtype, name):
    X = ROWS.astype(dtype)
    given, expected = spellings(X)[name], fitted(X)
    if hasattr(given, "dtype"):
        assert given.dtype == X.dtype
    assert as_floating(given).dtype is np.dtype(dtype)
    if isinstance(given, np.ndarray):
        assert np.shares_memory(as_floating(given), given)
    assert_close(fitted(given), expected)
    for method in ("predict", "predict_proba", "score_samples"):
        answer = getattr(expected, method)(given)
        np.testing.assert_array_equal(answer, getattr(expected, method)(X))
        assert answer.dtype is getattr(expected, method)(X).dtype
    weight = ROWS[:, :1].astype(np.float64) + 1
    weights = np.asarray(spellings(weight)[name])[:, 0]
    assert_close(
        GaussianMixture(2, random_state=0).fit(X, sample_weight=weights),
        GaussianMixture(2, random_state=0).fit(X, sample_weight=weight[:, 0]),
    )
    parameters = MixtureParameters.from_covariances(
        expected.weights_, expected.means_, expected.covariances_
    )
    found, right = accumulate(given, parameters), accumulate(X, parameters)
    np.testing.assert_array_equal(found.sxx, right.sxx)
    cuts = [0, 50, len(X)]
    batch = fit_batch(X, 1, offsets=cuts, random_state=0)
    np.testing.assert_array_equal(
        fit_batch(given, 1, offsets=cuts, random_state=0).means, batch.means
    )
    parts = [np.asarray(given)[:50], np.asarray(given)[50:]]
    np.testing.assert_array_equal(fit_batch(parts, 1, random_state=0).means, batch.means)


@pytest.mark.parametrize("name", spellings(ROWS.astype(np.float64)))
def test_attributes_may_be_set_in_every_spelling(name):
    X = ROWS.astype(np.float64)
    model, expected = fitted(X), fitted(X)
    for attribute in ("means_", "weights_", "covariances_", "precisions_cholesky_"):
        value = getattr(model, attribute)
        spelled = np.asarray(spellings(value.reshape(len(value), -1))[name])
        setattr(model, attribute, spelled.reshape(value.shape))
    np.testing.assert_array_equal(model.score_samples(X), expected.score_samples(X))


@pytest.mark.parametrize("library", ["h5py", "zarr"])
def test_arrays_on_disk(tmp_path, library):
    module = pytest.importorskip(library)
    for i, dtype in enumerate((np.float64, np.float32, ">f8", "<f8")):
        X = ROWS.astype(dtype)
        if library == "h5py":
            given = module.File(tmp_path / f"{i}.h5", "w").create_dataset("x", data=X)
        else:
            given = module.array(X)
        expected = fitted(X)
        for rows in (given, given[:]):
            assert_close(fitted(rows), expected)
            np.testing.assert_array_equal(expected.predict(rows), expected.predict(X))


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memmap(tmp_path, mode):
    ROWS.astype(np.float64).tofile(tmp_path / "rows")
    X = np.memmap(tmp_path / "rows", np.float64, mode, shape=ROWS.shape)
    assert_close(fitted(X), fitted(ROWS.astype(np.float64)))


def test_a_single_row_or_column_may_have_any_stride():
    model = fitted(ROWS.astype(np.float64))
    wide = np.zeros((7, 9))
    wide[3, ::3] = ROWS[5]
    np.testing.assert_array_equal(
        model.score_samples(wide[3:4, ::3]), model.score_samples(ROWS[5:6].astype(np.float64))
    )
    column = ROWS[:, 0].astype(np.float64)
    assert_close(fitted(np.stack([column, column], 1)[:, :1]), fitted(column[:, None]))


def test_float64_and_float32_are_not_copied():
    for dtype in (np.float32, np.float64):
        X = np.asfortranarray(ROWS.astype(dtype))
        assert np.shares_memory(as_floating(X), X)


def test_data_frame():
    pandas = pytest.importorskip("pandas")
    expected = fitted(ROWS.astype(np.float64))
    frame = pandas.DataFrame(ROWS, columns=["a", "b", "c"])
    assert_close(fitted(frame), expected)
    assert_close(fitted(frame.astype("Int64")), expected)
    assert_close(fitted(frame.astype({"a": np.float64, "b": object})), expected)


REFUSED = {
    "complex": (ROWS.astype(complex), ValueError, "Complex data not supported.*complex128"),
    "string": (ROWS.astype(str), ValueError, r"X has dtype <U\d+.*asarray\(X, dtype=float\)"),
    "bytes": (ROWS.astype("S3"), ValueError, r"X has dtype \|S3.*asarray\(X, dtype=float\)"),
    "date": (ROWS.astype("M8[D]"), ValueError, r"X has dtype datetime64\[D\].*divide by a unit"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "inhomogeneous"),
    "3-D": (
        np.zeros((4, 3, 2)),
        ValueError,
        r"Expected 2D array, got 3D array instead.*reshape\(-1, 2\) if.*reshape\(4, -1\) if",
    ),
    "structured": (np.zeros(4, "f8, f8"), ValueError, "structured_to_unstructured"),
    "duration": (ROWS.astype("m8[s]"), ValueError, r"timedelta64\[s\].* divide it by a unit"),
    "1-D": (np.zeros(4), ValueError, r"got 1D array instead.*reshape\(-1, 1\)"),
    "0-D": (np.float64(3), ValueError, "got scalar array instead"),
    "None": (None, ValueError, "Expected 2D array|NaN"),
    "no rows": (np.zeros((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\)"),
    "no columns": (np.zeros((5, 0)), ValueError, r"0 feature\(s\) \(shape=\(5, 0\)\)"),
    "masked": (np.ma.masked_equal(ROWS, 4), ValueError, "masked values"),
    "sparse": (type("Sparse", (), {"tocsr": None})(), TypeError, "[Ss]parse data was passed"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind):
    X, error, message = REFUSED[kind]
    with pytest.raises(error, match=message):
        GaussianMixture().fit(X)
    model = fitted(ROWS)
    with pytest.raises(error, match=message):
        model.predict(X)


def test_scipy_sparse():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(ROWS), sparse.coo_array(ROWS)):
        with pytest.raises(TypeError, match="dense data is required"):
            GaussianMixture().fit(matrix)


@pytest.mark.parametrize(
    "value", ["7", "tall", b"7", 1j, [1, 2], {}], ids=lambda value: type(value).__name__
)
def test_an_object_array_names_what_is_no_number(value):
    X = ROWS.astype(object)
    X[17, 1] = value
    found = f"X contains {re.escape(repr(value))}, not a real number, row 17, column 1: .*"
    error = ValueError if isinstance(value, (str, bytes)) else TypeError
    with pytest.raises(error, match=found + type(value).__name__):
        GaussianMixture().fit(X)


@pytest.mark.parametrize("digits", [400, 5000])  # Python prints at most 4300 of them
def test_an_int_beyond_float64_is_no_finite_number(digits):
    X = ROWS.astype(object)
    X[17, 1] = -(10**digits)
    with pytest.raises(ValueError, match=r"contains infinity or a value too large.*row 17, col"):
        GaussianMixture().fit(X)


def test_none_in_an_object_array_is_missing():
    X = ROWS.astype(object)
    X[17, 1] = None
    with pytest.raises(ValueError, match=r"contains NaN or a missing.*First at row 17, column 1"):
        GaussianMixture().fit(X)


def frames_with_a_missing_value():
    """Row 17, column 1 is missing; by library and kind of column."""
    pandas, polars = (pytest.importorskip(name) for name in ("pandas", "polars"))
    plain = pandas.DataFrame(ROWS.astype(float), columns=["a", "b", "c"])
    for dtype in ("Float64", "Int64", object):
        frame = plain.astype(dtype)
        frame.iloc[17, 1] = pandas.NA
        yield f"pandas.NA of {dtype}", frame
        yield f"pandas.NA of {dtype} in a list", frame.to_numpy(dtype=object).tolist()
    frame = plain.astype(object)
    frame.iloc[17, 1] = pandas.NaT
    yield "pandas.NaT", frame
    flags = (plain % 2 == 0).astype("boolean")
    flags.iloc[17, 1] = pandas.NA
    yield "pandas.NA of flags", flags
    for dtype in (polars.Float32, polars.Int64, polars.Boolean):
        columns = {name: plain[name].tolist() for name in plain}
        columns["b"][17] = None
        yield f"null of {dtype}", polars.DataFrame(columns).cast(dtype)


def test_missing_values_of_frames_are_named_where_they_are():
    model = fitted(ROWS)
    for name, frame in frames_with_a_missing_value():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # column names that the model does not know
            for call in (GaussianMixture().fit, model.predict, model.score_samples):
                with pytest.raises(ValueError, match="NaN or a missing value.*row 17, column 1"):
                    call(frame)
                    pytest.fail(name)


class LazyFrame:
    def collect(self):
        return ROWS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (LazyFrame(), r"is a LazyFrame.*; call its \.collect\(\) first"),
        ((row for row in ROWS), r"is a generator.*; convert it to a list first: list\(X\)"),
        (map(list, ROWS), r"is a map.*list\(X\)"),
        (iter(ROWS.tolist()), r"is a list_iterator.*list\(X\)"),
        (set(ROWS[:, 0].tolist()), r"is a set.*list\(X\)"),
        (dict(a=ROWS[:, 0]).values(), r"is a dict_values.*list\(X\)"),
        (dict(a=ROWS[:, 0]), r"is a dict.*; pass its columns.*column_stack\(list\(X\.values"),
        (len, "is a builtin_function_or_method, which is not an array of real numbers$"),
        (object(), "is a object, which is not an array"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_array_says_what_to_call(given, words):
    for call in (GaussianMixture().fit, fitted(ROWS).predict):
        with pytest.raises(TypeError, match=f"X {words}"):
            call(given)
    with pytest.raises(TypeError, match="sample_weight " + words.replace("X", "sample_weight")):
        GaussianMixture().fit(ROWS, sample_weight=given)


def test_a_lazy_frame_of_polars():
    polars = pytest.importorskip("polars")
    lazy = polars.DataFrame(ROWS, schema=["a", "b", "c"]).lazy()
    with pytest.raises(TypeError, match=r"X is a LazyFrame.*\.collect\(\)"):
        GaussianMixture().fit(lazy)
    assert_close(fitted(lazy.collect()), fitted(ROWS))


def test_an_error_quotes_no_more_than_a_line_of_an_object():
    X = ROWS.astype(object)
    X[17, 1] = list(range(10_000))
    with pytest.raises(
        TypeError, match=r"contains \[0, 1, .*\.\.\., not a real number, row 17"
    ) as caught:
        GaussianMixture().fit(X)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
def test_not_finite_is_found(value, message, dtype, order):
    X = np.zeros((300_000, 2), dtype=dtype, order=order)
    X[::2] = 1
    X[299_998, 1] = value
    X[299_999, 0] = value
    with pytest.raises(ValueError, match=f"contains {message}.*row 299998, column 1"):
        GaussianMixture().fit(X)


def test_huge_but_finite_is_no_infinity():
    X = np.full((4, 2), np.finfo(np.float64).max)
    X[::2] *= -1
    np.testing.assert_array_equal(as_floating(X), X)
    big = np.array([[np.finfo(np.longdouble).max, 1], [0, 1]], dtype=np.longdouble)
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with pytest.raises(ValueError, match="infinity or a value too large.*row 0, column 0"):
            GaussianMixture().fit(big)


class Lazy:
    """What looks like an array of Dask's."""

    def __init__(self, rows, nbytes):
        self.rows, self.shape = rows, rows.shape
        self._nbytes = nbytes

    @property
    def nbytes(self):
        if self._nbytes is NotImplemented:  # as of Dask's frames
            raise NotImplementedError
        return self._nbytes

    def __dask_graph__(self):
        raise AssertionError("which may cost much")

    def compute(self):
        return self.rows

    def __array__(self, dtype=None, copy=None):
        return self.rows


def test_lazy_arrays_are_gathered_where_they_are_small():
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = GaussianMixture(2, random_state=0).fit(X)
    small, large = Lazy(X, X.nbytes), Lazy(X, 2_000_000_000)
    for method in (model.fit, model.predict, model.score_samples):
        method(small)  # without a word, as scikit-learn does
        with pytest.raises(
            ValueError, match=r"X is a .* Lazy of 2 GB, .*dask.* call X.compute\(\)"
        ):
            method(large)
    with pytest.raises(ValueError, match="sample_weight is a .* of 2 GB"):
        model.fit(X, sample_weight=Lazy(X[:, 0], 2e9))
    for unknown in (np.nan, NotImplemented, None, object()):
        with pytest.warns(UserWarning, match="unknown size: all of it is gathered") as caught:
            labels = model.predict(Lazy(X, unknown))
        np.testing.assert_array_equal(labels, model.predict(X))
        assert [warning.filename for warning in caught] == [__file__]


def test_xarrays_in_memory_are_no_lazy_ones():
    X = Lazy(np.random.default_rng(0).normal(size=(100, 2)), 2e9)
    X.chunks = None
    GaussianMixture(2, random_state=0).fit(X)
