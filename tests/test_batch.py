"""fit_batch: a loop of single fits, bit for bit, whatever the form, the order and the threads."""

import re
import subprocess
import sys
import warnings
from dataclasses import fields
from textwrap import dedent

import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, measure_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from fusedgmm import BatchResult, BatchStatus, GaussianMixture, fit_batch, threads

PER_PROBLEM = [f.name for f in fields(BatchResult)][:13]
OF_A_MODEL = (
    "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_",
    "lower_bound_", "converged_", "n_iter_", "n_features_in_",
)  # fmt: skip
INITS = ["kmeans", "k-means++", "random", "random_from_data"]


@pytest.fixture
def four_cpus(monkeypatch):
    """n_threads is clamped to the CPUs; the bits must not depend on those that are really there."""
    monkeypatch.setattr(threads, "available_cpus", lambda: 4)


def rows(n, d, k=3, dtype=np.float64, seed=0):
    """Rows of k groups that overlap a little."""
    rng = np.random.default_rng([seed, n, d])
    centres = rng.normal(size=(k, d)) * 3
    return (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def cube(p=7, n=60, d=2, dtype=np.float64):
    return np.stack([rows(n, d, dtype=dtype, seed=i) for i in range(p)])


def ragged(sizes, d=2, dtype=np.float64):
    return [rows(n, d, dtype=dtype, seed=i) for i, n in enumerate(sizes)]


def single(X, k, seed, weight=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(k, n_starts=1, random_state=int(seed), **options)
        return model.fit(X, sample_weight=weight)


def assert_same_model(a, b):
    for name in OF_A_MODEL:
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name
    assert a.lower_bounds_[-1:] == b.lower_bounds_[-1:]


def assert_same(a, b, names=PER_PROBLEM):
    for name in names:
        x, y = getattr(a, name), getattr(b, name)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name


def assert_is_a_loop(X, k, weights=None, given=lambda i: {}, options=None, **more):
    """Every problem has the model that it would have alone, or is too small for one."""
    options = options or {}
    result = fit_batch(X, k, sample_weight=weights, random_state=3, **options, **more)
    for i, x in enumerate(X):
        if len(x) < max(k, 2):
            assert result.status[i] == BatchStatus.TOO_FEW_ROWS and not result.ok[i]
            continue
        weight = None if weights is None else weights[i]
        alone = single(x, k, result.seeds[i], weight, **options, **given(i))
        assert_same_model(alone, result[i])
        rtol = 1e-5 if alone.means_.dtype == np.float32 else 1e-12
        if weight is None:
            np.testing.assert_allclose(result.bic[i], alone.bic(x), rtol=rtol)
            np.testing.assert_allclose(result.aic[i], alone.aic(x), rtol=rtol)
    return result


# ---- the same bits ----


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
@pytest.mark.parametrize("names", ["w", "m", "p", "wm", "wmp"])
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
    """Also where one problem is large enough to have all threads inside it."""
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
    few = order[:5]  # nor does it matter who else is there
    assert_same(result[few], fit_batch([X[i] for i in few], 3, random_state=seeds[few]))


def interleaved(X, labels, seed=0):
    """Rows of the problems of a cube in turns, each problem's own in their order; their labels."""
    P, n, d = X.shape
    problem = np.random.default_rng(seed).permutation(np.repeat(np.arange(P), n))
    out = np.empty((P * n, d), X.dtype)
    for i in range(P):
        out[problem == i] = X[i]
    return out, np.asarray(labels)[problem]


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
    assert grouped.labels.tolist() == list(range(P))


def strided_cubes(X):
    """The same problems, laid out in memory in every way NumPy knows."""
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


def test_one_row_and_one_problem_carry_any_stride():
    X = cube(5, 40)
    for part in (X[:1], X[:, :1], X[:, :, :1], X[2:3, :1], X[::4, ::39, ::1], X[:0], X[:, :0]):
        expected = fit_batch(list(part.copy()), 1, random_state=0)
        if part.size:
            assert_same(expected, fit_batch(part, 1, random_state=0))
        np.testing.assert_array_equal(
            fit_batch(part, 1, random_state=0).status,
            BatchStatus.TOO_FEW_ROWS if part.shape[1] < 2 else BatchStatus.CONVERGED,
        )


def test_one_problem_under_many_seeds():
    x = rows(200, 2)
    result = fit_batch(np.broadcast_to(x, (20, 200, 2)), 4, random_state=0, init_params="random")
    assert len(np.unique(result.lower_bound)) > 10
    assert_same_model(single(x, 4, result.seeds[11], init_params="random"), result[11])


def test_the_dtypes_of_a_list():
    single_, double = rows(50, 2, dtype=np.float32), rows(40, 2)
    alone = fit_batch([single_], 2, random_state=[5])
    assert alone.dtype == np.float32 and fit_batch([double], 2).dtype == np.float64
    joined = fit_batch([double, single_], 2, random_state=[1, 5])
    assert joined.dtype == np.float64
    assert_same_model(single(single_.astype(float), 2, 5), joined[1])
    # an empty list is float64 of one column, and no reason to compute the others otherwise
    for empty in ([], np.zeros((0, 7)), np.zeros(0)):
        result = fit_batch([empty, single_], 2, random_state=[1, 5])
        assert result.dtype == np.float32
        assert_same(alone, result[1:])
    assert fit_batch([], 2).dtype == fit_batch([[], []], 2).dtype == np.float64


def test_converted_arrays_are_kept_alive():
    """The core points into copies that only the batch knows of."""
    X = [rows(3000, 3, seed=i).astype(">f8") for i in range(30)]
    weights = [np.full(3000, 2, dtype=np.int32) for _ in X]
    result = fit_batch(X, 2, sample_weight=weights, random_state=0)
    plain = [x.astype(float) for x in X]
    doubled = [w.astype(float) for w in weights]
    assert_same(result, fit_batch(plain, 2, sample_weight=doubled, random_state=0))


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
        result = result[np.array(sizes) > 0]  # there is no label without a row
    together = np.concatenate(X)
    again = fit_batch(together, k, random_state=result.seeds, **options, **how)
    assert_same(result, again)
    np.testing.assert_array_equal(again.predict(together, **how), np.concatenate(labels))


# ---- groups ----


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
    assert [str(x) for x in result.labels] == [str(labels[i]) for i in order]
    # of a part, in another order, and where some problems have no rows
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
        assert result.labels.tolist() == list("abcdefg")
    parts = [part[["x", "y"]] for _, part in frame.groupby("group")]
    assert_same(expected, fit_batch(parts, 2, random_state=0))
    frame.loc[3, "group"] = None
    for column in (frame["group"], frame["group"].astype("category")):
        with pytest.raises(ValueError, match="row 3 has no group"):
            fit_batch(flat, 2, groups=column)


# ---- what is refused ----

TWO = np.zeros((4, 2))


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
        # two numbers so far apart that their difference wraps to one that is positive
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


# ---- one bad problem never hurts another ----

GOOD = [rows(150, 2, seed=i) for i in range(6)]
LINE = np.arange(40.0)[:, None] * [1, 2]
FAR = dict(
    means_init=np.array([[[0.0, 0], [1, 1]]] * 7),
    precisions_init=np.array([[np.eye(2)] * 2] * 7),
    weights_init=np.full((7, 2), 0.5),
)
FAR["means_init"][3] = [[0, 0], [5e3, 5e3]]


def with_entry(value, n=60):
    X = rows(n, 2)
    X[n // 2, 1] = value
    return X


@pytest.mark.parametrize(
    "status, bad, k, options",
    [
        ("TOO_FEW_ROWS", np.zeros((0, 2)), 1, {}),
        ("TOO_FEW_ROWS", np.ones((1, 2)), 1, {}),
        ("TOO_FEW_ROWS", rows(2, 2), 3, {}),
        ("TOO_FEW_ROWS", rows(2, 2), [4, 3], {}),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, {}),
        ("ROWS_NOT_FINITE", with_entry(np.inf), 2, {}),
        ("ROWS_NOT_FINITE", with_entry(-np.inf), [1, 2, 3], {}),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, dict(max_iter=0)),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, FAR | dict(max_iter=0)),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, dict(init_params="random")),
        ("COLLAPSED_COMPONENT", LINE, 2, dict(reg_covar=0)),
        ("COLLAPSED_COMPONENT", LINE, 1, dict(reg_covar=0, covariance_type="tied")),
        ("CONSTANT_ROWS", np.ones((30, 2)), 2, dict(reg_covar=0)),
        ("CONSTANT_ROWS", np.ones((30, 2)), 1, {}),
        ("CONSTANT_ROWS", np.ones((30, 2)), 3, {}),
        ("TOO_FEW_DISTINCT_ROWS", np.repeat(rows(2, 2), 20, axis=0), 3, {}),
        ("TOO_FEW_DISTINCT_ROWS", np.repeat(rows(2, 2), 20, axis=0), 3, dict(reg_covar=0)),
        ("ROWS_OUT_OF_REACH", np.array([[1e200, 0], [0, 0], [1, 1]]), 2, FAR),
        ("LOST_COMPONENT", rows(40, 2), 2, FAR),
    ],
)
def test_a_bad_problem_is_named_and_the_others_untouched(status, bad, k, options, four_cpus):
    seeds = np.arange(7)
    result = fit_batch([*GOOD[:3], bad, *GOOD[3:]], k, random_state=seeds, **options)
    assert BatchStatus(result.status[3]).name == status
    others = [0, 1, 2, 4, 5, 6]
    mine = {n: a[others] if n in FAR else a for n, a in options.items()}
    assert_same(result[others], fit_batch(GOOD, k, random_state=seeds[others], **mine))
    assert result.ok[others].all()
    if result.ok[3]:
        model = result[3]
        assert np.isfinite(model.means_).all() and np.isfinite(model.covariances_).all()
        assert_same_model(
            single(bad, k, 3, **{n: a[3] if n in FAR else a for n, a in options.items()}), model
        )
    else:
        for name in ("weights", "means", "covariances", "precisions_cholesky", "lower_bound"):
            assert np.isnan(getattr(result, name)[3]).all()
        for name in ("bic", "aic", "criteria"):
            assert np.isnan(getattr(result, name)[3]).all()
        assert result.n_components[3] == result.n_iter[3] == result.converged[3] == 0


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, 0])
def test_bad_sample_weights_are_named(value):
    weights = [np.ones(len(x)) for x in GOOD]
    expected = fit_batch(GOOD, 2, sample_weight=weights, random_state=0)
    weights[2] = np.full(len(GOOD[2]), value) if value == 0 else weights[2].copy()
    weights[2][0] = value
    result = fit_batch(GOOD, 2, sample_weight=weights, random_state=0)
    assert result.status[2] == BatchStatus.BAD_SAMPLE_WEIGHT
    others = [0, 1, 3, 4, 5]
    assert_same(result[others], expected[others])
    none = fit_batch([np.zeros((0, 2)), GOOD[0]], 2, sample_weight=[[], weights[0]])
    assert none.status[0] == BatchStatus.TOO_FEW_ROWS  # not: all weights are zero


def test_rows_of_weight_zero_are_not_distinct():
    X = np.repeat(rows(3, 2), 20, axis=0)
    w = np.repeat([1.0, 0, 0], 20)
    assert fit_batch([X], 1, sample_weight=[w]).status[0] == BatchStatus.CONSTANT_ROWS


def test_not_converged():
    result = fit_batch(GOOD, 3, max_iter=2, tol=0.0, random_state=0)
    assert (result.status == BatchStatus.NOT_CONVERGED).all()
    assert result.ok.all() and not result.converged.any() and (result.n_iter == 2).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_out_of_memory():
    code = """
        import resource
        import numpy as np
        from pathlib import Path
        from fusedgmm import BatchStatus, fit_batch

        X = np.random.default_rng(0).normal(size=(1, 20, 2000))
        fit_batch(X[:, :, :2], 2, n_threads=1)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        result = fit_batch(X, 2, n_threads=1)  # 128 MB of result, twice that to work in
        assert result.status.tolist() == [BatchStatus.OUT_OF_MEMORY], result.status
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_squares_out_of_range_are_said_to_need_a_scale():
    with pytest.raises(ValueError, match="problem 0 has no mixture.*scale the data"):
        fit_batch([LINE * 1e200], 2, on_error="raise")


def test_every_status_has_a_meaning():
    assert all(status.meaning for status in BatchStatus)


def test_on_error_raise():
    X = [GOOD[0], with_entry(np.nan), GOOD[1], np.zeros((0, 2))]
    with pytest.raises(ValueError, match="problem 1 has no mixture: NaN or infinity") as caught:
        fit_batch(X, 2, on_error="raise", random_state=0)
    assert_same(caught.value.partial, fit_batch(X, 2, random_state=0))
    flat, cuts = np.concatenate(X), np.repeat(list("dbca"), [len(x) for x in X])
    with pytest.raises(ValueError, match=r"problem 0 \(group np.str_\('b'\)\) has no|group 'b'"):
        fit_batch(flat, 2, groups=cuts, on_error="raise")
    assert fit_batch(X[::2], 2, on_error="raise").ok.all()


# ---- the result ----


@pytest.fixture(scope="module")
def mixed():
    """A result with several numbers of components, and a problem without a mixture."""
    X = [*ragged([300, 40], 2), np.zeros((1, 2)), *ragged([90, 3], 2)]
    return X, fit_batch(X, [1, 2, 3], random_state=0)


def test_indexing(mixed):
    X, result = mixed
    assert len(result) == 5 and result.ok.tolist() == [True, True, False, True, True]
    assert_same_model(result[-1], result[4])
    assert_same_model(result[np.int64(1)], result[1])
    for index in (slice(1, 4), slice(None, None, -2), [3, 1], np.array([4, 4]), result.ok, []):
        part = result[index]
        assert isinstance(part, BatchResult)
        chosen = np.arange(5)[index] if not isinstance(index, list) or index else []
        assert len(part) == len(chosen)
        for mine, i in zip(range(len(part)), chosen, strict=True):
            if result.ok[i]:
                assert_same_model(part[mine], result[i])
        answers = part.predict([X[i] for i in chosen])
        for answer, i in zip(answers, chosen, strict=True):
            np.testing.assert_array_equal(answer, result.predict(X)[i])
    assert len(list(result[result.ok])) == 4
    with pytest.raises(ValueError, match="problem 2 has no mixture: fewer rows"):
        result[2]
    for index in (5, -6, np.zeros((1, 1), int)):
        with pytest.raises(IndexError):
            result[index]
    for index in (1.0, None, "a"):
        with pytest.raises(TypeError):
            result[index]


def test_a_model_is_a_full_estimator(mixed):
    X, result = mixed
    model = result[0]
    again = GaussianMixture(**model.get_params()).fit(X[0])
    assert_same_model(again, model)
    assert model.sample(5)[0].shape == (5, 2)
    model.means_[:] = 0
    assert result.means[0].any()  # its own copy


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
@pytest.mark.parametrize("k", [2, [1, 2, 3]], ids=str)
def test_answers_are_those_of_the_models_in_every_form(
    method, k, covariance_type, dtype, four_cpus
):
    X = cube(9, 50, dtype=dtype)
    X[4] = 1e30  # a constant problem, that has a mixture or not
    result = fit_batch(X, k, covariance_type=covariance_type, random_state=0)
    empty = fit_batch(X, k, covariance_type=covariance_type, random_state=0)
    empty.n_components[2] = 0  # as if it had failed
    most = result.means.shape[1]

    def of(i, model):
        x, answer = X[i], getattr(model, method)(X[i])
        if method == "predict_proba":
            wide = np.full((len(x), most), np.nan, dtype)
            wide[:, : answer.shape[1]] = answer
            return wide
        return answer

    expected = np.stack([of(i, m) if result.ok[i] else np.nan for i, m in enumerate(result)])
    call = getattr(result, method)
    got = call(X)
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    parts = call(list(X))
    assert isinstance(parts, list)
    np.testing.assert_array_equal(np.stack(parts), expected)
    flat = X.reshape(-1, 2)
    np.testing.assert_array_equal(
        call(flat, offsets=np.arange(10) * 50).reshape(expected.shape), expected
    )
    lost = getattr(empty, method)(X)
    assert (lost[2] == -1).all() if method == "predict" else np.isnan(lost[2]).all()
    np.testing.assert_array_equal(np.delete(lost, 2, 0), np.delete(expected, 2, 0))
    mixed_rows, groups = interleaved(X, range(9))
    named = fit_batch(mixed_rows, k, groups=groups, covariance_type=covariance_type, random_state=0)
    got = getattr(named, method)(mixed_rows, groups=groups)
    for i in range(9):
        np.testing.assert_array_equal(got[groups == i], expected[i])


def test_answers_for_large_problems_with_padding(four_cpus):
    X = [rows(40_000, 2, k=1), rows(30_000, 2), rows(5, 2)]
    result = fit_batch(X, [1, 3], random_state=0)
    assert len(set(result.n_components)) == 2
    for model, x, p in zip(result, X, result.predict_proba(X), strict=True):
        K = model.n_components
        np.testing.assert_array_equal(p[:, :K], model.predict_proba(x))
        assert np.isnan(p[:, K:]).all() and p.shape == (len(x), 3)


def test_other_rows_than_those_of_the_fit(mixed):
    X, result = mixed
    fewer = [x[:2] for x in X]
    assert [len(a) for a in result.predict(fewer)] == [len(x) for x in fewer]
    single_ = result.score_samples([x.astype(np.float32) for x in X])
    assert all(a.dtype == np.float32 for a in single_)
    with pytest.raises(ValueError, match="X has 4 problems, the fit had 5"):
        result.predict(X[:4])
    with pytest.raises(ValueError, match="X has 1 features, the fit had 2"):
        result.predict([x[:, 0] for x in X])
    with pytest.raises(ValueError, match="the fit had no groups"):
        result.predict(X[0], groups=np.zeros(300))
    with pytest.raises(ValueError, match="problem 3 has NaN or infinity"):
        result.predict([*X[:3], np.full((2, 2), np.nan), X[0] * np.inf])
    with pytest.raises(ValueError, match="no problem was fitted for group 3"):
        fit_batch(TWO, 1, groups=[0, 0, 1, 1]).predict(TWO, groups=[0, 3, 0, 1])
    X[2][:] = np.nan  # a problem without a mixture may hold anything
    assert result.predict(X)[2].tolist() == [-1]
    X[2][:] = 0


def test_a_result_that_was_tampered_with_is_not_read():
    result = fit_batch(GOOD, 2, random_state=0)
    result.n_components[1] = 1000
    with pytest.raises(ValueError, match="not tried"):
        result.predict(GOOD)


def test_no_problems():
    for X, more in (([], {}), (np.zeros((0, 5, 2)), {}), (TWO[:0], dict(offsets=[0]))):
        result = fit_batch(X, [1, 2], progress=lambda *_: None, **more)
        assert len(result) == 0 and list(result) == []
        assert len(result.predict(X, **more)) == 0
        assert result._columns()["weight"].shape == (0,)
        result.summary()


def test_summary(mixed, capsys):
    _, result = mixed
    result.summary()
    text = capsys.readouterr().out
    assert "5 problems, 4 with a mixture; n_components up to 3, n_features 2, 'full'" in text
    assert re.search(r"\n +4  converged\n", text)
    assert re.search(
        r"\n +1  fewer rows than components, or fewer than two; first: problem 2", text
    )
    shares = dict(re.findall(r"(\d): (\d+)", text.split("components chosen:")[1].split("\n")[0]))
    assert sum(map(int, shares.values())) == 4
    assert re.search(r"iterations: median [\d.]+, most \d+", text)
    assert repr(result) in f"<{text.splitlines()[0]}>"


# ---- data frames ----


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_to_frame(library, covariance_type):
    module = pytest.importorskip(library)
    X = cube()
    flat, groups = interleaved(X, list("gfedcba"))
    flat[groups == "c"] = np.nan
    result = fit_batch(
        flat, [1, 2, 3], groups=groups, covariance_type=covariance_type, random_state=0
    )
    frame = result.to_frame(library)
    assert type(frame) is module.DataFrame
    assert len(frame) == np.maximum(result.n_components, 1).sum()
    c = list(frame.columns)
    parts = {
        "full": ["covariance_0_0", "covariance_1_0", "covariance_1_1"],
        "tied": ["covariance_0_0", "covariance_1_0", "covariance_1_1"],
        "diag": ["variance_0", "variance_1"],
        "spherical": ["variance"],
    }[covariance_type]
    end = ["status", "converged", "n_iter", "lower_bound", "bic", "aic"]
    assert c == ["problem", "component", "weight", "mean_0", "mean_1", *parts, *end]
    column = {name: np.asarray(frame[name]) for name in c}
    at = 0
    for i, label in enumerate(result.labels):
        K = int(result.n_components[i])
        mine = slice(at, at + max(K, 1))
        at = mine.stop
        assert set(column["problem"][mine]) == {label}
        assert set(column["status"][mine]) == {BatchStatus(result.status[i]).name.lower()}
        if K == 0:
            assert label == "c" and np.isnan(column["mean_0"][mine].astype(float)).all()
            continue
        model = result[i]
        np.testing.assert_array_equal(column["component"][mine], np.arange(K))
        np.testing.assert_array_equal(column["weight"][mine], model.weights_)
        np.testing.assert_array_equal(column["mean_1"][mine], model.means_[:, 1])
        last = model.covariances_[..., 1, 1] if len(parts) == 3 else model.covariances_
        last = last[:, 1] if len(parts) == 2 else last
        np.testing.assert_array_equal(column[parts[-1]][mine], np.broadcast_to(last, K))
        np.testing.assert_array_equal(column["bic"][mine], result.bic[i])


def test_to_frame_without_a_library(mixed, monkeypatch):
    _, result = mixed
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas: pip install fusedgmm\[pandas\]"):
        result.to_frame("pandas")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"pandas or polars: pip install fusedgmm\[pandas\]"):
        result.to_frame()
    with pytest.raises(ValueError, match="unknown library 'dplyr'; known: pandas, polars"):
        result.to_frame("dplyr")


# ---- files ----


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
    assert loaded.candidates == (1, 2, 3) and loaded.dtype == dtype
    assert loaded.criterion == "bic"
    assert loaded.template.get_params() == result.template.get_params()
    assert_same_model(loaded[3], result[3])
    np.testing.assert_array_equal(loaded.predict(X, **how), result.predict(X, **how))
    with np.load(tmp_path / "batch.npz", allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind != "O" for name in archive.files)
    assert [p.name for p in tmp_path.iterdir()] == ["batch.npz"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    result = fit_batch(GOOD, 2, random_state=0)
    path = tmp_path / "batch.npz"
    result.save(path)
    before = path.read_bytes()

    def fail(where, **arrays):
        with open(where, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        result.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 1 has none")
def test_labels_of_numpys_string_dtype_are_saved_as_strings(tmp_path):
    labels = np.array(["b", "a", "a", "b"], dtype=np.dtypes.StringDType())
    result = fit_batch(TWO, 1, groups=labels)
    result.save(tmp_path / "batch.npz")
    loaded = BatchResult.load(tmp_path / "batch.npz")
    assert loaded.labels.tolist() == ["a", "b"]
    assert loaded.predict(TWO, groups=labels).tolist() == [0] * 4


def test_what_cannot_be_saved(tmp_path):
    groups = np.empty(4, dtype=object)
    groups[:] = [(0, 1), (0, 1), (2, 3), (2, 4)]
    result = fit_batch(TWO, 1, groups=groups)
    with pytest.raises(TypeError, match="make them strings"):
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
        {"header": lambda a: np.array(str(a).replace('"candidates": [1, 2]', '"candidates": [9]'))},
        {"header": lambda a: np.array(str(a).replace('"candidates": [1, 2]', '"candidates": "x"'))},
        {"header": lambda a: np.array(str(a).replace("float64", "int64"))},
        {"header": lambda a: np.array(str(a).replace("BatchResult", "Forest"))},
        {"header": lambda a: np.array(str(a).replace('"format": 1', '"format": 2'))},
        {"header": lambda a: np.array(str(a).replace('"full"', '"round"'))},
        {"header": lambda a: np.array(str(a).replace('"tol"', '"toll"'))},
        {"header": lambda a: np.array(str(a)[:-3])},
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "batch.npz"
    fit_batch(GOOD, [1, 2], random_state=0).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    before = str(arrays["header"])
    for name, edit in change.items():
        if edit is None:
            del arrays[name]
        else:
            arrays[name] = edit(arrays.get(name))
    assert name != "header" or str(arrays["header"]) != before
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"batch\.npz: "):
        BatchResult.load(path)


# ---- progress, interrupts, memory ----


def test_progress_is_reported():
    seen = []
    fit_batch(cube(3000, 50, 1), [1, 2, 3], progress=lambda *now: seen.append(now))
    done = [d for d, total in seen if total == 3000]
    assert len(done) == len(seen) and done == sorted(done) and seen[-1] == (3000, 3000)


@pytest.mark.parametrize("at", [0, 1000, 20_000])
def test_a_progress_callable_that_raises(at, four_cpus):
    count = 20_000
    X = np.random.default_rng(0).normal(size=(count, 50, 1))
    calls = []

    def fail(done, total):
        if done >= at:
            calls.append(done)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fit_batch(X, [1, 2, 3], progress=fail, random_state=0)
    assert len(calls) == 1
    partial = caught.value.partial
    ran = partial.status != BatchStatus.NOT_RUN
    assert at <= ran.sum() and ran.all() == (at == count)
    some = np.flatnonzero(ran)[-20:]
    assert_same(partial[some], fit_batch(X[some], [1, 2, 3], random_state=partial.seeds[some]))
    idle = partial[~ran]
    assert not idle.ok.any() and np.isnan(idle.criteria).all() and np.isnan(idle.weights).all()


def test_the_bar(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    fit_batch(GOOD, 2, progress=True)
    assert "6/6" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit_batch(GOOD, 2, progress=True)
    assert capsys.readouterr().err.endswith("\r6/6 fits\n")


INTERRUPT = """
    import os, signal, sys, threading, time
    import numpy as np
    from fusedgmm import BatchStatus, fit_batch, threads

    threads.available_cpus = lambda: 2
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    options = dict(tol=0, max_iter=10**9, random_state=0, n_threads=2)
    {setup}
    fit_batch(rng.normal(size=(8, 50, 1)), 1, n_threads=2)  # the threads' start takes time too
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.4, send).start()
    try:
        fit_batch(X, k, **options)
    except KeyboardInterrupt as error:
        took = time.monotonic() - sent[0]
        partial = error.partial
    assert took < 5, took
    ran = partial.status != BatchStatus.NOT_RUN
    assert (partial.ok <= ran).all(), "a problem that was stopped has a mixture"
    assert np.isnan(partial.criteria[~ran]).all() and np.isnan(partial.means[~ran]).all()
    {check}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    "setup, check",
    [
        (
            "X, k = rng.normal(size=(400_000, 20, 1)), [1, 2]; options['max_iter'] = 50",
            """
    assert 0 < ran.sum() < len(ran)
    some = np.flatnonzero(ran)[::-1][:50]
    again = fit_batch(X[some], k, **options | dict(random_state=partial.seeds[some]))
    for name in ("weights", "means", "status", "bic", "criteria", "n_components"):
        assert getattr(again, name).tobytes() == getattr(partial, name)[some].tobytes(), name
            """,
        ),
        (  # stopped when the first candidate is done, and the second far from it
            "X, k = [rng.normal(size=(200_000, 8))], [1, 30]; options['tol'] = 1e-12",
            "assert not ran.any()",
        ),
        ("X, k = [rng.normal(size=(300, 2))], [1, 2]", "assert not ran.any()"),
        *[  # one fails after its k-means, and its thread waits for the other: be it this or that
            (
                f"""
    options['reg_covar'] = 0
    flat = rng.normal(size=({n}, 9)) @ rng.normal(size=(9, 10))
    X, k = [rng.normal(size=(3450, 10)), flat], 30
                """,
                "assert ran.tolist() == [False, True]",
            )
            for n in (3400, 3500)
        ],
    ],
    ids=["many", "one huge", "one small", "a thread deep in the first", "in the second"],
)
def test_ctrl_c(setup, check):
    code = (
        dedent(INTERRUPT)
        .replace("{setup}", dedent(setup).strip())
        .replace("{check}", dedent(check).strip())
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


MEMORY = """
import numpy as np
from fusedgmm import fit_batch

X = np.random.default_rng(0).normal(size=(200, 100_000, 1))
problems = X.swapaxes(0, 1)  # of strides that no plain array of rows has
fit_batch(problems[:1000], 2, max_iter=2)
results = []
print(rise(lambda: results.append(fit_batch(problems, 2, max_iter=2))))
print(sum(a.nbytes for a in results[0]._arrays().values()) / 2**20)
"""


def test_memory_is_that_of_the_output():
    rise, output = measure_memory(MEMORY)
    assert output < 12
    assert rise < 2 * output + 8  # the rows are 153


# ---- pictures ----


def test_plot_batch(mixed):
    pytest.importorskip("matplotlib")
    from fusedgmm.plots import plot_batch

    X = [rows(80, 1, seed=i) for i in range(3)] + [np.full((5, 1), np.nan), np.zeros((0, 1))]
    for kind in COVARIANCE_TYPES:
        result = fit_batch(X, [1, 2, 3], covariance_type=kind, criterion="aic", random_state=0)
        figure = plot_batch(X, result, unit="cm")
        figure.canvas.draw()
        titles = [axes.get_title() for axes in figure.axes]
        for i in range(3):
            K = result.n_components[i]
            plural = "s" if K > 1 else ""
            assert titles[i].startswith(f"{i}: {K} component{plural}\nAIC of 1: ")
            (line,) = figure.axes[i].lines
            at, density = line.get_data()
            assert np.sum(density) * (at[1] - at[0]) == pytest.approx(1, abs=0.1)
            bars = figure.axes[i].patches
            assert bars[0].get_x() <= X[i].min()
            assert bars[-1].get_x() + bars[-1].get_width() >= X[i].max()
        assert titles[3] == "3\nNaN or infinity in the rows" and titles[4].startswith("4\nfewer")
    with pytest.raises(ValueError, match="draws one feature, the fits have 2"):
        plot_batch(mixed[0], mixed[1])
    with pytest.raises(ValueError, match="5 problems, X has 4"):
        plot_batch(X[:4], result)


def test_rows_whose_density_float32_cannot_hold_are_out_of_reach():
    X = (np.array([[1.0], [-1.0]]) * 1e20).astype(np.float32)
    options = dict(covariance_type="spherical", max_iter=0, random_state=0)
    double = fit_batch([X.astype(np.float64)], 1, **options)
    assert double.ok[0] and np.isfinite(double.bic[0])
    single = fit_batch([X], 1, **options)
    assert single.status[0] == BatchStatus.ROWS_OUT_OF_REACH and not single.ok[0]
