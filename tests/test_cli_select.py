"""The commands that choose a model and that segment a photo, and answers as JSON."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusedgmm import GaussianMixture, select
from fusedgmm._cli import main
from fusedgmm.datasets import load_faithful


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "geyser.csv"
    np.savetxt(path, load_faithful(), delimiter=",", header="eruptions,waiting", comments="")
    return path


@pytest.fixture
def run(capsys):
    def call(*args, status=0):
        try:
            found = main([str(arg) for arg in args])
        except SystemExit as end:  # argparse
            found = end.code
        out, err = capsys.readouterr()
        assert found == status, out + err
        return err if status else out

    return call


def test_select_is_the_function(table, tmp_path, run):
    model = tmp_path / "best.npz"
    out = run("select", table, "-k", "1-3,5", "--covariance", "full,tied", "-o", model)
    expected = select(load_faithful(), [1, 2, 3, 5], ["full", "tied"], random_state=0)
    assert repr(expected) in out
    for row in expected.table:
        assert f"{row.criterion:.4f}" in out
    saved = GaussianMixture.load(model)
    np.testing.assert_array_equal(saved.means_, expected.best_.means_)
    assert saved.covariance_type == expected.best_.covariance_type
    labels = run("predict", model, table).split()[1:]
    assert labels == [str(k) for k in expected.best_.predict(load_faithful())]


@pytest.mark.parametrize("criterion", ["aic", "cv"])
def test_select_as_json(table, run, criterion):
    found = json.loads(
        run("select", table, "-k", "1-2", "--criterion", criterion, "--json", "--seed", 3)
    )
    expected = select(load_faithful(), [1, 2], criterion=criterion, random_state=3)
    assert found["criterion"] == criterion and len(found["candidates"]) == 8
    for row, candidate in zip(found["candidates"], expected.table, strict=True):
        assert row == {**candidate._asdict(), "status": candidate.status.name.lower()}
    assert found["best"]["means"] == expected.best_.means_.tolist()


def test_a_candidate_that_fails_is_null_and_a_dash(tmp_path, run):
    path = tmp_path / "three.csv"
    path.write_text("x\n1\n1\n2\n2\n4\n")
    args = ("select", path, "-k", "1,3", "--covariance", "spherical")
    assert run(*args).splitlines()[4].split() == ["3", "-"]
    assert json.loads(run(*args, "--json"))["candidates"][1]["criterion"] is None


def test_select_plots_the_criterion(table, tmp_path, run):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "bic.svg"
    assert "figure  ->" in run("select", table, "-k", "1-2", "--plot", picture)
    assert picture.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("-k", "9-1"), "1 is less than 9"),
        (("-k", "0-3"), "0 is less than 1"),
        (("-k", "1,1-2"), "names a number twice"),
        (("-k", "two"), "invalid numbers value: 'two'"),
        (("--covariance", "full,round"), "unknown type 'round'; known: full, tied"),
        (("--covariance", "full,full"), "names a type twice"),
        (("--criterion", "bicc"), "invalid choice"),
        (("-k", "1-300"), "-k 300: there are only 272 rows"),
        (("-o", "model.txt"), "must end in .npz"),
    ],
)
def test_bad_requests_are_explained(table, run, args, words):
    assert words in run("select", table, *args, status=2)


def test_fit_as_json(table, run):
    found = json.loads(run("fit", table, "-k", 2, "--json", "--reg-covar", "0.01"))
    model = GaussianMixture(2, reg_covar=0.01, random_state=0).fit(load_faithful())
    assert found["means"] == model.means_.tolist() and found["columns"] == ["eruptions", "waiting"]
    assert found["covariances"] == model.covariances_.tolist() and found["n_rows"] == 272
    assert found["bic"] == pytest.approx(model.bic(load_faithful()))


@pytest.mark.parametrize("header", [",a,b", '"id","a","b"'])
def test_labels_keep_the_ids_of_the_rows(tmp_path, run, header):
    path, labels = tmp_path / "t.csv", tmp_path / "l.csv"
    ids = [f"person {i}" for i in range(20)]
    rows = [f"{name},{i % 2 * 5 + i / 100},{i / 50}" for i, name in enumerate(ids)]
    path.write_text("\n".join([header, *rows]))
    run("fit", path, "-k", 2, "--index", "--labels", labels)
    with open(labels, newline="") as file:
        names, *found = csv.reader(file)
    assert names == ["id", "label", "probability"] and [row[0] for row in found] == ids
    assert {row[1] for row in found[::2]} != {row[1] for row in found[1::2]}
    run("fit", path, "-k", 2, "--columns", "a,b", "--labels", labels)
    assert labels.read_text().startswith("label,probability\n" if "id" in header else "id,label")


def test_the_version_and_the_console_script(capsys):
    from fusedgmm import __version__

    for command in ([sys.executable, "-m", "fusedgmm"], [Path(sys.executable).parent / "fusedgmm"]):
        if Path(command[0]).exists():
            out = subprocess.run(
                [*command, "--version"], capture_output=True, text=True, check=True
            )
            assert out.stdout == f"fusedgmm {__version__}\n"


# ---- segment ----


@pytest.fixture
def photo(tmp_path):
    """A red square on a blue ground, with noise."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = np.full((40, 60, 3), (20, 30, 200)) + rng.normal(0, 4, size=(40, 60, 3))
    pixels[10:30, 10:30] += (180, 0, -180)
    path = tmp_path / "photo.png"
    image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return path


def opened(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def test_segment_paints_the_mean_colors(photo, tmp_path, run):
    out = run("segment", photo, "-o", tmp_path / "out.png")
    assert "60 x 40 pixels" in out and "0.833" in out and "0.167" in out
    picture = opened(tmp_path / "out.png")
    assert picture.shape == (40, 60, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2
    np.testing.assert_allclose(picture[15, 15], (200, 30, 20), atol=2)
    np.testing.assert_allclose(picture[0, 0], (20, 30, 200), atol=2)


@pytest.mark.parametrize("kept", [0, 1])
def test_segment_keeps_one_component(photo, tmp_path, run, kept):
    found = json.loads(run("segment", photo, "--keep", kept, "-o", tmp_path / "o.png", "--json"))
    assert (found["width"], found["height"]) == (60, 40)
    picture, pixels = opened(tmp_path / "o.png"), opened(photo)
    inside = np.zeros((40, 60), dtype=bool)
    inside[10:30, 10:30] = True
    np.testing.assert_array_equal(picture[..., 3] == 255, inside == bool(kept))
    np.testing.assert_array_equal(picture[..., :3], pixels)


def test_segment_refuses_what_is_no_photo(table, photo, tmp_path, run):
    out = tmp_path / "out.png"
    assert "cannot read it as an image" in run("segment", table, "-o", out, status=2)
    assert "no such file" in run("segment", tmp_path / "none.jpg", "-o", out, status=2)
    assert "must end in .png" in run("segment", photo, "-o", tmp_path / "o.jpg", status=2)
    assert "would replace the photo" in run("segment", photo, "-o", photo, status=2)
    assert "--keep 2" in run("segment", photo, "--keep", 2, "-o", out, status=2)
    assert not out.exists()


def test_segment_without_pillow_names_the_extra(photo, tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install fusedgmm[image]" in run(
        "segment", photo, "-o", tmp_path / "o.png", status=2
    )
