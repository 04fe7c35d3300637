"""Saved batches: loaded unchanged, and rejected if they are damaged or something else."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from fusedgmm import BatchResult, _files, fit_batch
from helpers.archives import replaced, rewrite
from helpers.batches import GOOD, TWO, assert_same, assert_same_model, cube, interleaved


@pytest.mark.parametrize("labels", [None, "strings", "objects", "ints", "dates"])
def test_save_and_load(tmp_path, covariance_type, dtype, labels):
    X = cube(dtype=dtype)
    names = {
        "strings": np.array(list("gfedcba")),
        "objects": np.array(list("gfedcba"), dtype=object),
        "ints": np.arange(7),
        "dates": np.array("2020-01-01", "M8[D]") + np.arange(7),
    }
    options = dict(covariance_type=covariance_type, tol=np.float32(1e-2), n_init=np.int64(2))
    how = {}
    if labels:
        X, groups = interleaved(X, names[labels])
        how = dict(groups=groups)
    result = fit_batch(X, [1, 2, 3], random_state=0, **options, **how)
    result.save(tmp_path / "batch.npz")
    loaded = BatchResult.load(tmp_path / "batch.npz")
    assert_same(result, loaded)
    assert loaded.n_components_tried == (1, 2, 3) and loaded.dtype == dtype
    assert loaded.criterion == "bic"
    assert loaded.template.get_params() == result.template.get_params()
    assert_same_model(loaded[3], result[3])
    np.testing.assert_array_equal(loaded.predict(X, **how), result.predict(X, **how))
    with np.load(tmp_path / "batch.npz", allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind != "O" for name in archive.files)
    assert [p.name for p in tmp_path.iterdir()] == ["batch.npz"]


def test_a_file_behind_a_link_of_another_ending_is_not_lost(tmp_path):
    result = fit_batch(GOOD, 2, random_state=0)
    (tmp_path / "m.npz").symlink_to("blob")
    result.save(tmp_path / "m.npz")
    result.save(tmp_path / "M2.NPZ")
    for name in ("m.npz", "blob", "M2.NPZ"):
        assert_same(BatchResult.load(tmp_path / name), result)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["M2.NPZ", "blob", "m.npz"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    result = fit_batch(GOOD, 2, random_state=0)
    path = tmp_path / "batch.npz"
    result.save(path)
    before = path.read_bytes()

    def fail(file, arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(_files, "_write_archive", fail)
    with pytest.raises(OSError, match="disk full"):
        result.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 1 has none")
def test_labels_of_numpys_string_dtype_are_saved_as_strings(tmp_path):
    labels = np.array(["b", "a", "a", "b"], dtype=np.dtypes.StringDType())
    result = fit_batch(TWO, 1, groups=labels)
    result.save(tmp_path / "batch.npz")
    loaded = BatchResult.load(tmp_path / "batch.npz")
    assert loaded.groups.tolist() == ["a", "b"]
    assert loaded.predict(TWO, groups=labels).tolist() == [0] * 4


DAY = datetime(2020, 2, 28, 23, 59, 59, 999_999)
TIMES = {
    "date": [date(1, 1, 1), date(2020, 2, 29), date(9999, 12, 31)],
    "datetime": [datetime(1, 1, 1), DAY, datetime(9999, 12, 31, 23, 59)],
    "timedelta": [timedelta(-3), timedelta(microseconds=1), timedelta(days=10_000)],
}


@pytest.mark.parametrize("kind", TIMES)
def test_groups_that_are_dates_and_times_of_python_come_back(tmp_path, kind):
    times = TIMES[kind]
    result = fit_batch(np.repeat(TWO, 2, axis=0)[:6], 1, groups=[t for t in times for _ in "ab"])
    result.save(tmp_path / "batch.npz")
    loaded = BatchResult.load(tmp_path / "batch.npz")
    assert loaded.groups.dtype.kind in "mM" and loaded.groups.tolist() == times
    for groups in (times[::-1], np.array(times[::-1], loaded.groups.dtype)):
        assert loaded.predict(np.repeat(TWO, 2, axis=0)[:3], groups=groups).tolist() == [0] * 3
    assert_same(result[0:0], loaded[0:0])


@pytest.mark.parametrize(
    "groups",
    [
        [DAY.replace(tzinfo=UTC)] * 4,
        [time(1)] * 4,
        [Decimal(1)] * 4,
        [1 << 70] * 4,
        [b"a\0"] * 4,
    ],
    ids=lambda groups: type(groups[0]).__name__,
)
def test_groups_that_would_come_back_changed_are_refused(tmp_path, groups):
    labels = np.empty(4, object)
    labels[:] = groups
    with pytest.raises(TypeError, match="convert them to strings"):
        fit_batch(TWO, 1, groups=labels).save(tmp_path / "batch.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("n_threads", ["x", 0, -1, 1.5, True, [1], {}]),
        ("warm_start", ["x", 1, None]),
        ("verbose", ["x", -1]),
        ("tol", ["x", -1, None, float("nan"), float("inf")]),
        ("n_init", [0, "many", None]),
        ("degenerate", ["x", None, 1]),
        ("means_init", ["x", [[1.0]]]),
        ("covariances_init", ["x"]),
        ("n_components", [0, None, "x"]),
        ("random_state", [3]),
    ],
)
def test_an_option_that_no_fit_takes_is_refused_when_it_is_read(tmp_path, option, values):
    path = tmp_path / "batch.npz"
    fit_batch(GOOD, [1, 2], random_state=0).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    for value in values:
        changed = json.loads(json.dumps(header))
        changed["meta"]["options"][option] = value
        np.savez(path, **arrays | {"header": json.dumps(changed)})
        with pytest.raises(ValueError, match=r"batch\.npz: not a whole BatchResult"):
            BatchResult.load(path)
    for name in header["meta"]["options"]:
        changed = json.loads(json.dumps(header))
        del changed["meta"]["options"][name]
        np.savez(path, **arrays | {"header": json.dumps(changed)})
        with pytest.raises(ValueError, match=r"batch\.npz: not a whole BatchResult"):
            BatchResult.load(path)


def test_what_cannot_be_saved(tmp_path):
    groups = np.empty(4, dtype=object)
    groups[:] = [(0, 1), (0, 1), (2, 3), (2, 4)]
    result = fit_batch(TWO, 1, groups=groups)
    with pytest.raises(TypeError, match="convert them to strings"):
        result.save(tmp_path / "batch.npz")
    with pytest.raises(ValueError, match="must end in .npz"):
        fit_batch(GOOD, 1).save(tmp_path / "batch.csv")
    assert list(tmp_path.iterdir()) == []


def test_truncated_and_other_files_are_refused(tmp_path):
    path = tmp_path / "batch.npz"
    fit_batch(GOOD, 2, random_state=0).save(path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a whole file of fusedgmm.BatchResult"):
            BatchResult.load(path)
    path.write_bytes(whole.replace(b"means", b"meens"))
    with pytest.raises(ValueError, match="not a whole BatchResult"):
        BatchResult.load(path)
    path.write_text("sepal,petal\n1,2\n")
    with pytest.raises(ValueError, match="not a whole file"):
        BatchResult.load(path)
    for content in (np.arange(3), np.array([{}], dtype=object)):
        with open(path, "wb") as file:
            np.save(file, content, allow_pickle=True)
        with pytest.raises(ValueError, match="not a whole file"):
            BatchResult.load(path)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(ValueError, match="not a whole file"):
        BatchResult.load(path)
    with pytest.raises(FileNotFoundError):
        BatchResult.load(tmp_path / "none.npz")


def of_int32(name):
    return {name: lambda a: a.astype(np.int32)}


@pytest.mark.parametrize(
    "change",
    [
        {"n_components": lambda a: a + 5},
        {"n_components": lambda a: -a},
        of_int32("n_components"),
        of_int32("weights"),
        {"means": lambda a: a[:, :1]},
        {"means": lambda a: a[:, :, 0]},
        {"weights": lambda a: a[0, 0]},
        {"covariances": lambda a: a[:2]},
        {"status": lambda a: a + 50},
        {"status": lambda a: a[0]},
        {"bic": None},
        {"seeds": None},
        {"extra": lambda a: np.ones(3)},
        {"header": replaced('"n_components_tried": [1, 2]', '"n_components_tried": [9]')},
        {"header": replaced('"n_components_tried": [1, 2]', '"n_components_tried": "x"')},
        {"header": replaced("float64", "int64")},
        {"header": replaced("BatchResult", "Forest")},
        {"header": replaced('"format": 1', '"format": 2')},
        {"header": replaced('"full"', '"round"')},
        {"header": replaced('"tol"', '"toll"')},
        {"header": lambda a: np.array(str(a)[:-3])},
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "batch.npz"
    fit_batch(GOOD, [1, 2], random_state=0).save(path)
    rewrite(path, **change)
    with pytest.raises(ValueError, match=r"batch\.npz: "):
        BatchResult.load(path)
