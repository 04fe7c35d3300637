"""Run the core's tests with each usable instruction set, in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusedgmm import _core

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CONFIG = _core.config()
OTHERS = [i for i in CONFIG["usable_instruction_sets"] if i != CONFIG["instruction_set"]]


@pytest.mark.parametrize("isa", OTHERS)
def test_core_tests_pass_with(isa):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(HERE / "test_core.py"),
        ],
        env=os.environ | {"FUSEDGMM_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    forced = subprocess.run(
        [sys.executable, "-c", "from fusedgmm import _core; print(_core.config())"],
        env=os.environ | {"FUSEDGMM_ISA": isa},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"'instruction_set': '{isa}'" in forced.stdout


@pytest.mark.parametrize(
    ("name", "printed"), [("mmx", "mmx"), ("\udcff\udcfe", r"\udcff\udcfe"), ("avx2 ", "'avx2 '")]
)
def test_an_unknown_set_is_refused_with_the_usable_ones(name, printed):
    """Also a name whose bytes are not valid text."""
    done = subprocess.run(
        [sys.executable, "-c", "import fusedgmm._core"],
        env=os.environ | {"FUSEDGMM_ISA": name},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "\nImportError: " in done.stderr
    assert printed in done.stderr and "scalar" in done.stderr
