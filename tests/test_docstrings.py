"""The examples in docstrings and in the README run, and the classes document what they have."""

import doctest
import inspect
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from fusedgmm import BatchResult, BatchStatus, GaussianMixture, batch, fit_batch, mixture

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("module", [mixture, batch], ids=lambda module: module.__name__)
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL))
def test_the_readme_runs(block, tmp_path, monkeypatch):
    if "matplotlib" in block:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert all(f'"{path.name}"' in block for path in tmp_path.iterdir())


def entries(docstring, indent):
    """The names that a numpydoc section documents."""
    names = re.findall(rf"^ {{{indent}}}([\w, ]+?)(?: : .*)?$", docstring, re.MULTILINE)
    return {name for line in names for name in line.split(", ")}


def test_every_parameter_and_attribute_is_documented():
    documented = set(re.findall(r"^    (\w+) : ", GaussianMixture.__doc__, re.MULTILINE))
    fitted = GaussianMixture().fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert set(vars(fitted)) <= documented
    assert documented == set(vars(fitted)) | {"feature_names_in_"}


def test_the_batch_is_documented():
    assert set(inspect.signature(fit_batch).parameters) <= entries(fit_batch.__doc__, 4)
    assert {field.name for field in fields(BatchResult)} <= entries(BatchResult.__doc__, 4)
    public = [n for n in vars(BatchResult) if not n.startswith("_")]
    assert all(getattr(BatchResult, n).__doc__ for n in public if callable(getattr(BatchResult, n)))
    assert all(status.meaning for status in BatchStatus)
