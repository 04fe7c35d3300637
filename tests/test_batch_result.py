"""BatchResult: its parts, its models, its predictions, its summary and its data frames."""

import re
import sys

import numpy as np
import pytest

from fusedgmm import BatchResult, BatchStatus, GaussianMixture, fit_batch
from helpers.batches import GOOD, TWO, assert_same_model, cube, interleaved, rows


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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
@pytest.mark.parametrize("k", [2, [1, 2, 3]], ids=str)
def test_answers_are_those_of_the_models_in_every_form(
    method, k, covariance_type, dtype, four_cpus
):
    X = cube(9, 50, dtype=dtype)
    X[4] = 1e30  # a constant problem, with or without a mixture
    result = fit_batch(X, k, covariance_type=covariance_type, random_state=0)
    empty = fit_batch(X, k, covariance_type=covariance_type, random_state=0)
    empty.n_components[2] = 0  # as if its fit had failed
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
    chosen = text.split("n_components chosen:")[1].split("\n")[0]
    shares = dict(re.findall(r"(\d) \((\d+) problems?\)", chosen))
    assert sum(map(int, shares.values())) == 4
    assert re.search(r"iterations: median [\d.]+, most \d+", text)
    assert repr(result) in f"<{text.splitlines()[0]}>"


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
    for i, label in enumerate(result.groups):
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
