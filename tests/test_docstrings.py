"""The examples in docstrings and on the pages run, and every public name is documented."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import fusedgmm
from fusedgmm import (
    BatchResult,
    BatchStatus,
    BayesianGaussianMixture,
    GaussianMixture,
    fit_batch,
)

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "COMPATIBILITY.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
)
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fusedgmm.__path__, "fusedgmm.")
    if not name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    needs = {"fusedgmm.dask": "dask", "fusedgmm.patch": "sklearn", "fusedgmm.plots": "matplotlib"}
    package = ".".join(name.split(".")[:2])
    if package in needs:
        pytest.importorskip(needs[package])
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def blocks(page, language):
    """The fenced blocks of a language; for the shell, also the indented lines."""
    text = (ROOT / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if language == "sh":
        outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        found += re.findall(r"(?:^|\n)((?:    \S.*\n)+)", outside)
    return found


def printed_after(page, block):
    """The text block after a Python block: its output."""
    rest = (ROOT / page).read_text().split(f"```python\n{block}```\n", 1)[1]
    found = re.match(r"\n```text\n(.*?)^```", rest, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize(
    "page, block", [(page, block) for page in PAGES for block in blocks(page, "python")]
)
def test_the_python_of_the_pages_runs(page, block, tmp_path, monkeypatch, capsys):
    if "dask" in block:
        pytest.importorskip("dask")
    if "matplotlib" in block:
        pytest.importorskip("matplotlib")
        paragraph = (ROOT / page).read_text().split(f"```python\n{block}")[0].split("\n\n")[-2]
        assert 'pip install "fusedgmm[plot]"' in " ".join(paragraph.split())
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert capsys.readouterr().out == printed_after(page, block)
    assert all(f'"{path.name}"' in block for path in tmp_path.iterdir())


def test_every_block_of_the_pages_is_of_a_kind_that_is_tested():
    languages = [
        fence
        for page in PAGES
        for fence in re.findall(
            r"^```(.*)\n(?:.*\n)*?^```", (ROOT / page).read_text(), re.MULTILINE
        )
    ]
    assert "python" in languages and set(languages) <= {"python", "text", "sh"}
    assert sum(len(blocks(page, "sh")) for page in PAGES) >= 5


def commands():
    """Every shell command on the pages, including those inside a sentence."""
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        lines += re.findall(
            r"`(python -m [^`]*|python bench[^`]*|\.ci/run[^`]*)`", (ROOT / page).read_text()
        )
        for line in lines:
            for command in re.split(r"&&|\|", line):
                words = shlex.split(command, comments=True)
                if words:
                    yield page, tuple(words)


OF_THE_SYSTEM = {"cmake", "ctest", "git", "cd", "apt-get"}
OPTION = re.compile(r"(?:--|-)[a-z][\w-]*")


@pytest.mark.parametrize("page, words", sorted(set(commands())), ids=str)
def test_the_commands_of_the_pages_exist(page, words):
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # its environment variables
        words = words[1:]
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program == "fusedgmm":
        program, rest = "python", ["-m", "fusedgmm", *rest]
    if program == "pip":
        assert rest[0] == "install"
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    elif program in ("python", "python3") and rest[0] == "-m":
        if rest[1] in ("venv", "pytest"):
            assert all((ROOT / word).exists() for word in rest[2:] if word.startswith("tests"))
            return
        importlib.import_module(rest[1])
        given = [word for word in rest[2:] if OPTION.fullmatch(word)]
        if given:
            done = subprocess.run(
                [sys.executable, "-m", *rest[1:3], "--help"], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            known = set(OPTION.findall(done.stdout))
            assert set(given) <= known, set(given) - known
    elif program in ("python", "python3"):
        assert (ROOT / rest[0]).is_file()
    elif program not in OF_THE_SYSTEM:
        assert (ROOT / program).is_file(), program


def entries(docstring):
    """The names that a numpydoc docstring documents; some Python versions keep its indentation."""
    names = re.findall(r"^([\w, ]+?)(?: : .*)?$", inspect.cleandoc(docstring), re.MULTILINE)
    return {name for line in names for name in line.split(", ")}


def sections(docstring):
    """A dict of the sections of a numpydoc docstring and their texts."""
    parts = re.split(r"^(\w[\w ]+)\n-{3,}\n", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names_in(section):
    """The names at the left margin of a section."""
    lines = re.findall(r"^([\w, *]+?),?(?: : .*)?$", section, re.MULTILINE)
    return {name.strip(" *") for line in lines for name in line.split(",")} - {""}


@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
def test_every_parameter_and_attribute_is_documented(kind):
    parts = sections(kind.__doc__)
    documented = names_in(parts["Parameters"]) | names_in(parts["Attributes"])
    fitted = kind().fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert set(vars(fitted)) <= documented
    assert documented == set(vars(fitted)) | {"feature_names_in_"}


def public_callables():
    """(name, function) of every public function, constructor and method defined in this package."""
    for name in fusedgmm.__all__:
        thing = getattr(fusedgmm, name)
        if inspect.isfunction(thing):
            yield name, thing
        for method, value in inspect.getmembers(thing) if inspect.isclass(thing) else ():
            function = getattr(value, "__func__", value)
            own = getattr(function, "__module__", "") or ""
            if (
                not method.startswith("_")
                and inspect.isfunction(function)
                and (own.startswith("fusedgmm"))
            ):
                yield f"{name}.{method}", function


@pytest.mark.parametrize(
    "name, function", list(public_callables()), ids=lambda value: str(value)[:40]
)
def test_functions_document_their_parameters_and_results(name, function):
    assert function.__doc__, name
    parts = sections(function.__doc__)
    signature = inspect.signature(function)
    parameters = {p.name for p in signature.parameters.values()} - {"self", "cls"}
    assert parameters == names_in(parts.get("Parameters", "")), name
    returns = signature.return_annotation not in (None, "None")
    assert ("Returns" in parts) == returns, name


@pytest.mark.parametrize(
    "name", [n for n in fusedgmm.__all__ if callable(getattr(fusedgmm, n))], ids=str
)
def test_classes_and_functions_have_examples(name):
    docstring = getattr(fusedgmm, name).__doc__
    assert ">>> " in sections(docstring)["Examples"]


def test_every_public_name_says_what_it_is():
    for name in fusedgmm.__all__:
        thing = getattr(fusedgmm, name)
        assert name == "__version__" or inspect.getdoc(thing)
        for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
            if isinstance(value, property) and not attribute.startswith("_"):
                assert value.__doc__, f"{name}.{attribute}"


def test_the_batch_is_documented():
    assert set(inspect.signature(fit_batch).parameters) <= entries(fit_batch.__doc__)
    assert {field.name for field in fields(BatchResult)} <= entries(BatchResult.__doc__)
    public = [n for n in vars(BatchResult) if not n.startswith("_")]
    assert all(getattr(BatchResult, n).__doc__ for n in public if callable(getattr(BatchResult, n)))
    assert all(status.meaning for status in BatchStatus)
