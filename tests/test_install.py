"""Errors about missing packages say what to install."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fusedgmm
from fusedgmm import GaussianMixture, fit_batch

X = np.random.default_rng(0).normal(size=(40, 2))


def plot_without_matplotlib():
    from fusedgmm.plots import plot_batch

    plot_batch(fit_batch([X[:, 0]], 1), [X[:, 0]])


@pytest.mark.parametrize(
    ("missing", "call", "words"),
    [
        (
            ["sklearn"],
            lambda: GaussianMixture().to_sklearn(),
            r"to_sklearn needs scikit-learn: pip install fusedgmm\[sklearn\]",
        ),
        (
            ["sklearn"],
            fusedgmm.patch_sklearn,
            r"needs scikit-learn: pip install fusedgmm\[sklearn\]",
        ),
        (
            ["pandas", "polars"],
            lambda: fit_batch([X], 1).to_frame(),
            r"needs pandas or polars: pip install fusedgmm\[pandas\]",
        ),
        (
            ["polars"],
            lambda: fit_batch([X], 1).to_frame("polars"),
            r"needs polars: pip install fusedgmm\[polars\]",
        ),
        (
            ["matplotlib"],
            plot_without_matplotlib,
            r"needs? matplotlib: pip install fusedgmm\[plot\]",
        ),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, missing, call, words):
    from fusedgmm import _sklearn

    monkeypatch.setattr(_sklearn, "_originals", {})
    for name in [*sys.modules, *missing]:
        if name.partition(".")[0] in missing:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=words):
        call()


def test_progress_needs_no_extra(monkeypatch, capsys):
    """Without tqdm the reports are plain text."""
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    assert fit_batch([X] * 3, 1, progress=True).ok.all()
    assert "3/3 fits" in capsys.readouterr().err


def test_sources_without_their_core_say_how_to_install_them(tmp_path):
    shutil.copytree(
        Path(fusedgmm.__file__).parent,
        tmp_path / "fusedgmm",
        ignore=shutil.ignore_patterns("_core*.so", "_core*.pyd", "__pycache__"),
    )
    done = subprocess.run(
        [sys.executable, "-c", "import fusedgmm"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "pip install ." in done.stderr and str(tmp_path) in done.stderr
