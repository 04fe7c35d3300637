"""The input that fit_batch accepts: cubes, lists, offsets and groups in any layout; and what it
rejects."""

from datetime import datetime

import numpy as np
import pytest

from fusedgmm import BatchStatus, fit_batch
from helpers.batches import TWO, assert_same, assert_same_model, cube, interleaved, rows, single


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_any_form_of_input(dtype, weighted):
    X = cube(dtype=dtype)
    P, n, d = X.shape
    w = np.random.default_rng(0).uniform(0, 2, (P, n, 1)) if weighted else None
    flat_w = None if w is None else w.reshape(-1)
    fit = dict(n_components=3, random_state=0)
    expected = fit_batch(list(X), sample_weight=None if w is None else list(w[..., 0]), **fit)
    cube_w = None if w is None else w[..., 0]
    assert_same(expected, fit_batch(X, sample_weight=cube_w, **fit))
    flat, cuts = X.reshape(-1, d), np.arange(P + 1) * n
    assert_same(expected, fit_batch(flat, offsets=cuts, sample_weight=flat_w, **fit))
    mixed, groups = interleaved(X, range(P))
    mixed_w = None if w is None else interleaved(w, range(P))[0][:, 0]
    grouped = fit_batch(mixed, groups=groups, sample_weight=mixed_w, **fit)
    assert_same(expected, grouped)
    assert grouped.groups.tolist() == list(range(P))


def strided_cubes(X):
    """The same problems in every memory layout that NumPy supports."""
    P, n, d = X.shape
    wide = np.zeros((2 * P, 3 * n, 2 * d), X.dtype)
    wide[::2, ::3, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    return {
        "Fortran": np.asfortranarray(X),
        "rows first": np.ascontiguousarray(X.swapaxes(0, 1)).swapaxes(0, 1),
        "features first": np.ascontiguousarray(np.moveaxis(X, 2, 0)).transpose(1, 2, 0),
        "strided": wide[::2, ::3, ::2],
        "reversed": X[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        "read-only": read_only,
        "byte-swapped": X.astype(X.dtype.newbyteorder()),
        "list": X.tolist(),
    }


@pytest.mark.parametrize("layout", strided_cubes(cube()))
def test_every_layout_of_a_cube(layout):
    X = cube()
    expected = fit_batch(X, 2, random_state=0)
    given = strided_cubes(X)[layout]
    assert_same(expected, fit_batch(given, 2, random_state=0))
    if layout != "list":
        assert_same(expected, fit_batch(list(given), 2, random_state=0))


def test_a_single_row_or_problem_may_have_any_stride():
    X = cube(5, 40)
    for part in (X[:1], X[:, :1], X[:, :, :1], X[2:3, :1], X[::4, ::39, ::1], X[:0], X[:, :0]):
        expected = fit_batch(list(part.copy()), 1, random_state=0)
        if part.size:
            assert_same(expected, fit_batch(part, 1, random_state=0))
        np.testing.assert_array_equal(
            fit_batch(part, 1, random_state=0).status,
            BatchStatus.TOO_FEW_ROWS if part.shape[1] < 2 else BatchStatus.CONVERGED,
        )


def test_the_dtypes_of_a_list():
    single_, double = rows(50, 2, dtype=np.float32), rows(40, 2)
    alone = fit_batch([single_], 2, random_state=[5])
    assert alone.dtype == np.float32 and fit_batch([double], 2).dtype == np.float64
    joined = fit_batch([double, single_], 2, random_state=[1, 5])
    assert joined.dtype == np.float64
    assert_same_model(single(single_.astype(float), 2, 5), joined[1])
    # an empty list is float64 with one column, but must not change how the others are computed
    for empty in ([], np.zeros((0, 7)), np.zeros(0)):
        result = fit_batch([empty, single_], 2, random_state=[1, 5])
        assert result.dtype == np.float32
        assert_same(alone, result[1:])
    assert fit_batch([], 2).dtype == fit_batch([[], []], 2).dtype == np.float64


def test_converted_arrays_are_kept_alive():
    """The core points into copies that only the batch refers to."""
    X = [rows(3000, 3, seed=i).astype(">f8") for i in range(30)]
    weights = [np.full(3000, 2, dtype=np.int32) for _ in X]
    result = fit_batch(X, 2, sample_weight=weights, random_state=0)
    plain = [x.astype(float) for x in X]
    doubled = [w.astype(float) for w in weights]
    assert_same(result, fit_batch(plain, 2, sample_weight=doubled, random_state=0))


@pytest.mark.parametrize(
    "labels",
    [
        list("abcdefg"),
        np.array(list("gfedcba"), dtype=object),
        [7, 5, 3, 1, -1, -3, -5],
        np.array([0.5, 1.5, -2, 3, 4, 5, np.inf]),
        [(1, 2), (1, 3), (2, 1), (2, 2), (3, 0), (3, 1), (4, 4)],
        np.array("2020-01-01", "M8[D]") + np.arange(7),
    ],
    ids=["strings", "objects", "ints", "floats", "tuples", "dates"],
)
def test_labels_of_any_kind_in_any_order(labels):
    X = cube()
    values = np.empty(len(X), dtype=object)
    values[:] = list(labels)
    at = np.random.default_rng(0).permutation(np.repeat(np.arange(len(X)), X.shape[1]))
    flat = np.empty((len(at), 2))
    for i in range(len(X)):
        flat[at == i] = X[i]
    groups = values[at] if isinstance(labels, list) else np.asarray(labels)[at]
    if isinstance(labels, list) and not isinstance(labels[0], tuple):
        groups = groups.tolist()
    result = fit_batch(flat, 2, groups=groups, random_state=0)
    order = sorted(range(len(X)), key=lambda i: labels[i])
    assert_same(result, fit_batch(X[order], 2, random_state=0))
    assert [str(x) for x in result.groups] == [str(labels[i]) for i in order]
    # a part, in another order, and with problems that have no rows
    part = result[[3, 0, 5]]
    mine = np.isin(at, [order[3], order[0]])
    chosen = [g for g, m in zip(groups, mine, strict=True) if m]
    if not isinstance(groups, list):
        chosen = groups[mine]
    np.testing.assert_array_equal(
        part.score_samples(flat[mine], groups=chosen),
        result.score_samples(flat, groups=groups)[mine],
    )


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float64("nan"), np.datetime64("NaT", "s"), "pandas"], ids=str
)
def test_a_row_without_a_group_is_refused(missing):
    if missing == "pandas":
        missing = pytest.importorskip("pandas").NA
    for groups in (["a", "b", missing, "a"], np.array(["a", "b", missing, "a"], dtype=object)):
        with pytest.raises(ValueError, match="row 2 has no group"):
            fit_batch(np.zeros((4, 1)), 1, groups=groups)
    if isinstance(missing, float):
        with pytest.raises(ValueError, match="row 1 has no group"):
            fit_batch(np.zeros((2, 1)), 1, groups=[1.0, missing])


def test_groups_of_pandas():
    pandas = pytest.importorskip("pandas")
    X = cube()
    flat, groups = interleaved(X, list("gfedcba"))
    expected = fit_batch(flat, 2, groups=groups, random_state=0)
    frame = pandas.DataFrame(flat, columns=["x", "y"]).assign(group=groups)
    for column in (frame["group"], frame["group"].astype("category"), frame["group"].astype(str)):
        result = fit_batch(frame[["x", "y"]], 2, groups=column, random_state=0)
        assert_same(expected, result)
        assert result.groups.tolist() == list("abcdefg")
    parts = [part[["x", "y"]] for _, part in frame.groupby("group")]
    assert_same(expected, fit_batch(parts, 2, random_state=0))
    frame.loc[3, "group"] = None
    for column in (frame["group"], frame["group"].astype("category")):
        with pytest.raises(ValueError, match="row 3 has no group"):
            fit_batch(flat, 2, groups=column)


@pytest.mark.parametrize(
    "X, options, message",
    [
        (TWO, {}, "exactly one of offsets and groups"),
        (TWO, dict(offsets=[0, 4], groups=[0] * 4), "exactly one of offsets and groups"),
        (np.zeros((2, 3, 1)), dict(offsets=[0, 2]), "one problem per entry"),
        (np.zeros((1, 1, 1, 1)), {}, "one, two or three dimensions"),
        (TWO, dict(offsets=[0, 3]), "from 0 to the number of rows, 4; they run from 0 to 3"),
        (TWO, dict(offsets=[1, 4]), "from 1 to 4"),
        (TWO, dict(offsets=[0, 3, 1, 4]), r"offsets\[2\] < offsets\[1\]"),
        # two numbers so far apart that their difference overflows to a positive number
        (TWO, dict(offsets=[0, 2**63 - 1, -5, 4]), r"offsets\[2\] < offsets\[1\]"),
        (TWO, dict(offsets=[0.0, 4.0]), "row numbers.*float64"),
        (TWO, dict(offsets=[]), "row numbers"),
        (TWO, dict(groups=[0, 1]), "one label per row, 4"),
        (TWO, dict(groups=[0, 1, 1, 0], sample_weight=np.ones(3)), r"\(4,\).*\(3,\)"),
        ([TWO, np.zeros((3, 1))], {}, "problem 1 has 1 features, problem 0 has 2"),
        ([[], TWO, np.zeros((3, 1))], {}, "problem 2 has 1 features, problem 1 has 2"),
        ([TWO, 5.0], {}, "problem 1 must have one or two dimensions"),
        ([TWO, np.zeros((4, 0))], {}, "problem 1 has 0 features"),
        ([np.zeros((4, 0))], {}, "0 features"),
        (np.zeros((3, 4, 0)), {}, "0 features"),
        (np.zeros((4, 0)), dict(offsets=[0, 4]), "0 features"),
        ([TWO, [["a", "b"]]], {}, "problem 1 has dtype"),
        ([TWO, TWO], dict(sample_weight=[np.ones(4)]), "1 problems, X has 2"),
        ([TWO], dict(sample_weight=[np.ones(3)]), r"problem 0.*\(4,\).*\(3,\)"),
        ([TWO], dict(n_components=[]), "different numbers"),
        ([TWO], dict(n_components=[1, 2, 1]), "different numbers"),
        ([TWO], dict(n_components=0), "n_components must be an int >= 1, got 0"),
        ([TWO], dict(n_components=[1, 2.0]), "n_components must be an int >= 1, got 2.0"),
        ([TWO], dict(n_components=[1, 2], means_init=TWO), "a single n_components"),
        ([TWO], dict(criterion="icl"), "unknown criterion 'icl'; known: bic, aic"),
        ([TWO], dict(on_error="ignore"), "unknown on_error"),
        ([TWO], dict(covariance_type="round"), "unknown covariance_type"),
        ([TWO], dict(init_params="best"), "unknown init_params"),
        ([TWO], dict(tol=-1), "tol must be"),
        ([TWO], dict(max_iter=1.5), "max_iter must be"),
        ([TWO], dict(n_threads=0), "n_threads must be an int >= 1, got 0"),
        ([TWO], dict(random_state=[1, 2]), r"1 ints, one per problem; got shape \(2,\)"),
        ([TWO], dict(random_state=[0.5]), "float64"),
        ([TWO], dict(random_state=[-1]), "between 0 and"),
        ([TWO], dict(random_state=[2**32]), "between 0 and"),
        ([TWO] * 2, dict(means_init=np.zeros((3, 2, 2))), r"\(2, 2, 2\).*\(3, 2, 2\)"),
        ([TWO] * 2, dict(weights_init=[[0.5, 0.5], [0.5, 0.6]]), "in problem 1"),
        (
            [TWO] * 2,
            dict(precisions_init=[np.stack([np.eye(2)] * 2), np.stack([np.eye(2), -np.eye(2)])]),
            "not in problem 1, component 1",
        ),
        (
            [TWO] * 2,
            dict(covariance_type="tied", precisions_init=[np.eye(2), -np.eye(2)]),
            "not in problem 1",
        ),
    ],
    ids=lambda value: None,
)
def test_what_is_refused(X, options, message):
    with pytest.raises(ValueError, match=message):
        fit_batch(X, **{"n_components": 2, **options})


def test_types_that_are_refused():
    with pytest.raises(TypeError, match="labels that can be sorted"):
        fit_batch(TWO, 1, groups=np.array([1, "a", 1, "a"], dtype=object))
    with pytest.raises(TypeError, match="labels that can be sorted"):
        fit_batch(TWO, 1, groups=["a", 1, 1, "a"])
    with pytest.raises(TypeError, match="sample_weight must be a list like X, got 5"):
        fit_batch([TWO], 1, sample_weight=5)


def test_a_batch_takes_a_number_of_starts():
    with pytest.raises(ValueError, match="fit_batch takes n_init as an int .*, got 'auto'"):
        fit_batch([np.zeros((9, 1))], 1, n_init="auto")


# ---------------------------------------------------------------- groups of several columns

WELLS = ["b", "a", "b", "b", "a", "b", "a", "a"]
DAYS = [2, 1, 1, 2, 1, 1, 3, 3]
DISTINCT = [("a", 1), ("a", 3), ("b", 1), ("b", 2)]


def columns_as(form):
    rows = list(zip(WELLS, DAYS, strict=True))
    if form == "tuples":
        return rows
    if form == "columns":
        return [WELLS, np.array(DAYS)]
    if form == "records":
        return np.array(rows, dtype=[("well", "U1"), ("day", int)])
    if form == "objects":
        return np.array(rows, dtype=object)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"well": WELLS, "day": DAYS})
    if form == "polars":
        return pytest.importorskip("polars").DataFrame({"well": WELLS, "day": DAYS})
    return pandas.MultiIndex.from_frame(frame) if form == "MultiIndex" else frame


FORMS = ("tuples", "columns", "records", "objects", "frame", "MultiIndex", "polars")


@pytest.mark.parametrize("form", FORMS)
def test_groups_of_several_columns(form, tmp_path):
    x = np.arange(8.0) ** 2
    groups = columns_as(form)
    result = fit_batch(x, 1, groups=groups, random_state=0)
    assert result.groups.tolist() == DISTINCT
    names = ("well", "day") if form in FORMS[4:] + ("records",) else ("group_0", "group_1")
    assert result.groups.dtype.names == names
    assert result.groups[names[1]].tolist() == [1, 3, 1, 2]
    one = fit_batch(x, 1, groups=[f"{w}{d}" for w, d in zip(WELLS, DAYS, strict=True)])
    np.testing.assert_array_equal(result.means, one.means)
    np.testing.assert_array_equal(
        result.score_samples(x, groups=groups),
        one.score_samples(x, groups=[f"{w}{d}" for w, d in zip(WELLS, DAYS, strict=True)]),
    )
    np.testing.assert_array_equal(result.of(("b", 1)).means_, [[(2**2 + 5**2) / 2]])
    for i, label in enumerate(result.groups):
        np.testing.assert_array_equal(result.of(label).means_, result[i].means_)
    with pytest.raises(KeyError, match="no group"):
        result.of(("b", 3))
    assert "group ('b', 2)" in result._name(3)
    result.save(tmp_path / "result.npz")
    loaded = type(result).load(tmp_path / "result.npz")
    assert loaded.groups.tolist() == DISTINCT and loaded.groups.dtype.names == names
    assert loaded[1:3].groups.tolist() == DISTINCT[1:3]
    frame = result.to_frame()
    assert list(frame.columns)[:3] == [*names, "component"]
    assert list(frame[names[0]]) == ["a", "a", "b", "b"]


def test_columns_of_groups_are_found_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"weight": WELLS, "day": DAYS})
    x = np.arange(8.0) ** 2
    result = fit_batch(x, 1, groups=frame, random_state=0)
    np.testing.assert_array_equal(
        result.predict(x, groups=frame[["day", "weight"]]), result.predict(x, groups=frame)
    )
    assert list(result.to_frame().columns)[:4] == ["group_weight", "day", "component", "weight"]
    with pytest.raises(ValueError, match=r"no problem was fitted for group \('c', 1\)"):
        result.predict([1.0], groups=[("c", 1)])
    one = fit_batch(x, 1, groups=frame[["day"]])  # one column is no tuple
    assert one.groups.tolist() == [1, 2, 3] and one.of(np.int64(3)).means_[0, 0] == (36 + 49) / 2


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["a", "b"], [1, 2, 3]], "one label per row, 3; got shape"),
        ([("a", 1), ("b", 2)], "one label per row, 3; got shape"),
        ([("a", 1), ("b",), ("c", 3)], "same number of labels in each row"),
        ([("a", 1), ("b", None), ("c", 3)], "row 1 has no group"),
        (np.zeros((3, 0)), "groups has no columns"),
        (np.zeros((3, 2, 2)), "one label per row, 3; got shape"),
    ],
)
def test_columns_that_are_no_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        fit_batch([1.0, 2.0, 3.0], 1, groups=groups)


def test_results_by_label():
    x = np.array([1.0, 5.0, 2.0, 7.0])
    dates = np.array(["2026-01-02", "2026-01-01"] * 2, dtype="M8[ns]")
    result = fit_batch(x, 1, groups=dates)
    assert result.of(np.datetime64("2026-01-01")).means_[0, 0] == 6.0
    assert result.of("2026-01-02").means_[0, 0] == 1.5
    with pytest.raises(KeyError, match="no group 'tomorrow'"):
        result.of("tomorrow")
    for unit in ("ns", "s"):  # tolist gives ints, or datetimes
        columns = [["a", "a", "b", "b"] * 2, np.tile(dates, 2).astype(f"M8[{unit}]")]
        result = fit_batch(np.tile(x, 2), 1, groups=columns)
        for date in ("2026-01-01", np.datetime64("2026-01-01"), datetime(2026, 1, 1)):
            assert result.of(("b", date)).means_[0, 0] == 7.0
        for label in (*result.groups, result.groups[0].item()):
            assert result.of(label).n_components == 1
        for label in (("c", "2026-01-01"), ("b", "tomorrow"), ("b",), "b", ("b", "2026-01-01", 1)):
            with pytest.raises(KeyError, match="no group"):
                result.of(label)
        assert "group ('b', '2026-01-01T00:00:00" in result._name(2)
        with pytest.raises(ValueError, match=r"for group \('c', '2026-01-01T00:00:00"):
            result.predict([1.0], groups=[["c"], dates[1:2]])
    result = fit_batch(x, 1, groups=[10, 10, 20, 30])
    assert result.of(10).means_[0, 0] == 3.0
    with pytest.raises(ValueError, match="group.* has no mixture"):
        result.of(20)
    for label in (2, "10", [10]):
        with pytest.raises(KeyError, match="no group"):
            result.of(label)
    with pytest.raises(ValueError, match="the fit had no groups"):
        fit_batch([x], 1).of(0)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_rows_of_a_frame_that_are_problems(library):
    module = pytest.importorskip(library)
    cells = np.random.default_rng(0).normal(size=(5, 20))
    frame = module.DataFrame({f"t{i}": cells[:, i] for i in range(20)})
    with pytest.raises(ValueError, match=r"pass X\.to_numpy\(\)\[:, :, None\]"):
        fit_batch(frame, 1)
    assert len(fit_batch(frame.to_numpy()[:, :, None], 1)) == 5


# ---------------------------------------------------------------- the order of components


@pytest.mark.parametrize("sort", ["means", "weights"])
def test_components_in_order(sort, covariance_type, dtype):
    rng = np.random.default_rng(0)
    X = [
        np.concatenate([rng.normal(size=(n * s, 2)) + 8 * s for s in rng.permutation([1, 2, 3])])
        for n in (20, 60, 90, 0, 40, 30, 35)
    ]
    X = [x.astype(dtype) for x in X]
    options = dict(covariance_type=covariance_type, random_state=0)
    plain = fit_batch(X, [1, 2, 3], **options)
    ordered = fit_batch(X, [1, 2, 3], **options, sort=sort)
    np.testing.assert_array_equal(ordered.n_components, plain.n_components)
    changed = False
    for i in np.flatnonzero(plain.ok):
        a, b = plain[i], ordered[i]
        key = a.means_[:, 0] if sort == "means" else -a.weights_
        order = np.argsort(key, kind="stable")
        changed |= (np.diff(order) < 0).any()
        for name in ("weights_", "means_"):
            np.testing.assert_array_equal(getattr(b, name), getattr(a, name)[order])
        if covariance_type != "tied":
            np.testing.assert_array_equal(b.covariances_, a.covariances_[order])
            np.testing.assert_array_equal(b.precisions_cholesky_, a.precisions_cholesky_[order])
        np.testing.assert_array_equal(order[b.predict(X[i])], a.predict(X[i]))
    assert changed
    for i, labels in enumerate(ordered.predict(X)):
        if plain.ok[i]:
            np.testing.assert_array_equal(labels, ordered[i].predict(X[i]))
    with pytest.raises(ValueError, match="unknown sort 'size'"):
        fit_batch(X, 1, sort="size")
