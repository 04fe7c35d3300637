"""python -m fusedgmm predict: predictions of a saved model for a file."""

import os

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, fit_batch
from fusedgmm._cli import main
from fusedgmm.datasets import load_faithful

X = load_faithful()
HEADER = "eruptions,waiting"


@pytest.fixture
def run(capsys):
    """Run a command in this process: (standard output, standard error)."""

    def call(*args, status=0):
        assert main([str(arg) for arg in args]) == status
        out, err = capsys.readouterr()
        if status:
            assert len(err.splitlines()) == 1 and err.startswith("fusedgmm: error: ")
            assert out == ""
        return err if status else out

    return call


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "geyser.csv"
    np.savetxt(path, X, delimiter=",", header=HEADER, comments="")
    return path


@pytest.fixture
def model(tmp_path, table, run):
    path = tmp_path / "model.npz"
    run("fit", table, "-k", 2, "-o", path)
    return path


def test_fit_writes_what_load_reads(model):
    loaded = GaussianMixture.load(model)
    expected = GaussianMixture(2, random_state=0).fit(X)
    np.testing.assert_array_equal(loaded.means_, expected.means_)
    assert loaded.get_params() == expected.get_params()
    assert loaded.feature_names_in_.tolist() == ["eruptions", "waiting"]


def test_labels_go_to_standard_output_in_the_order_of_the_rows(model, table, run):
    header, *labels = run("predict", model, table).splitlines()
    assert header == "label"
    expected = GaussianMixture(2, random_state=0).fit(X).predict(X)
    assert [int(label) for label in labels] == expected.tolist()


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
@pytest.mark.parametrize(
    ("flag", "method"),
    [
        (None, "predict"),
        ("--responsibilities", "predict_proba"),
        ("--log-likelihood", "score_samples"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_answers_are_the_models_own_to_the_bit(tmp_path, run, suffix, flag, method, dtype):
    data, model, out = tmp_path / "x.npy", tmp_path / "m.npz", tmp_path / f"out{suffix}"
    np.save(data, X.astype(dtype))
    fitted = BayesianGaussianMixture(n_components=3, random_state=0, max_iter=500)
    fitted.fit(X.astype(dtype)).save(model)
    said = run("predict", model, data, "-o", out, *([flag] if flag else []))
    assert said == f"272 rows -> {out}\n"
    expected = getattr(fitted, method)(X.astype(dtype))
    if suffix == ".npy":
        found = np.load(out)
    else:
        header, *lines = out.read_text().splitlines()
        cells = [line.split(",") for line in lines]
        found = np.array(cells, dtype=expected.dtype).reshape(expected.shape)
        names = {None: ["label"], "--log-likelihood": ["log-likelihood"]}
        assert header.split(",") == names.get(flag, [f"component {k}" for k in range(3)])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_columns_are_found_by_name(tmp_path, model, table, run):
    """In any order, among other columns, which may contain text."""
    expected = run("predict", model, table)
    shuffled = tmp_path / "shuffled.csv"
    lines = [f"{w},{i},{e}" for i, (e, w) in enumerate(X.tolist())]
    shuffled.write_text("\n".join(["waiting,name,eruptions", *lines]).replace(",1,", ",one,"))
    assert run("predict", model, shuffled) == expected
    assert run("predict", model, shuffled, "--columns", "eruptions,waiting") == expected
    error = run("predict", model, shuffled, "--columns", "waiting,eruptions", status=2)
    assert "waiting, eruptions; the model was fitted to eruptions, waiting" in error


def test_data_without_names_are_taken_by_position(tmp_path, model, table, run):
    expected = run("predict", model, table)
    np.save(tmp_path / "x.npy", X)
    np.savetxt(tmp_path / "x.csv", X, delimiter=",")
    assert run("predict", model, tmp_path / "x.npy") == expected
    assert run("predict", model, tmp_path / "x.csv") == expected
    np.save(tmp_path / "wide.npy", np.c_[X[:, 1], X])
    error = run("predict", model, tmp_path / "wide.npy", status=2)
    assert "there are 3 columns, the model was fitted to 2" in error
    assert run("predict", model, tmp_path / "wide.npy", "--columns", "1,2") == expected


def test_a_model_without_names_takes_columns_by_position(tmp_path, table, run):
    path = tmp_path / "nameless.npz"
    fitted = GaussianMixture(2, random_state=0).fit(X)
    fitted.save(path)
    labels = run("predict", path, table).split()[1:]
    assert [int(label) for label in labels] == fitted.predict(X).tolist()
    assert not hasattr(GaussianMixture.load(path), "feature_names_in_")


def test_errors_are_one_line(tmp_path, model, table, run):
    other = tmp_path / "other.csv"
    other.write_text("eruptions,depth\n1,2\n")
    twice = tmp_path / "twice.csv"
    twice.write_text("eruptions,waiting,waiting\n1,2,3\n")
    batch = tmp_path / "batch.npz"
    fit_batch([X[:, :1]], 1).save(batch)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(model.read_bytes()[:500])
    missing = tmp_path / "missing.csv"
    missing.write_text(f"{HEADER}\n1,2\n,3\n")
    for args, words in [
        ((tmp_path / "none.npz", table), "none.npz: no such file"),
        ((tmp_path, table), "is not a file"),
        ((table, table), "geyser.csv: not a whole file of fusedgmm"),
        ((broken, table), "broken.npz: not a whole file"),
        ((batch, table), "batch.npz: holds a BatchResult, which cannot predict"),
        ((model, tmp_path / "none.csv"), "none.csv: no such file"),
        ((model, other), "other.csv: no column 'waiting', to which the model was fitted"),
        ((model, twice), "twice.csv: 2 columns 'waiting', to which the model was fitted"),
        ((model, missing), "data row 2, column 'eruptions'"),
        ((model, table, "-o", tmp_path / "out.txt"), "must end in .csv or .npy"),
        ((model, table, "-o", table), "would replace the data or the model"),
        ((model, table, "-o", tmp_path / "no" / "x.csv"), "does not exist"),
    ]:
        assert words in run("predict", *args, status=2)


def test_a_model_is_not_data(tmp_path, model, run):
    for args in (("fit", model, "-k", 2), ("predict", model, model)):
        error = run(*args, status=2)
        assert f"{model}: is a saved GaussianMixture, not data" in error
        assert f"python -m fusedgmm predict {model} DATA" in error
    batch = tmp_path / "batch.npz"
    fit_batch([X[:, :1]], 1).save(batch)
    error = run("fit", batch, "-k", 2, status=2)
    assert error.endswith("batch.npz: is a saved BatchResult, not data\n")


def test_labels_and_responsibilities_exclude_each_other(model, table, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["predict", str(model), str(table), "--responsibilities", "--log-likelihood"])
    assert exit.value.code == 2 and "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "words"), [("0", "less than 1"), ("many", "invalid int value")])
def test_numbers_of_starts(table, capsys, text, words):
    with pytest.raises(SystemExit) as exit:
        main(["fit", str(table), "-k", "1", "--n-init", text])
    assert exit.value.code == 2 and words in capsys.readouterr().err


def test_numbers_of_starts_are_kept(tmp_path, table, run):
    for text, expected in (("auto", "auto"), ("3", 3)):
        run("fit", table, "-k", 2, "--n-init", text, "-o", tmp_path / "m.npz")
        assert GaussianMixture.load(tmp_path / "m.npz").n_init == expected


def test_a_failure_leaves_the_old_answer(tmp_path, model, table, run, monkeypatch):
    out = tmp_path / "labels.csv"
    out.write_text("old")
    before = sorted(os.listdir(tmp_path))

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("fusedgmm._data_files.write_csv", fail)
    assert "disk full" in run("predict", model, table, "-o", out, status=2)
    assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == before
