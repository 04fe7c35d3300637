"""The types that users see: calls that mypy accepts or rejects, and the stub of the compiled
module."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("mypy")
HERE = Path(__file__).parent


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=HERE
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_typed_calls():
    run("mypy", "--strict", "--warn-unused-ignores", "--cache-dir", "/dev/null", "typed_calls.py")


def test_stub_of_the_core():
    run("mypy.stubtest", "fusedgmm._core")
