#!/usr/bin/env python3
"""Mutation tests: plant faults in the sources, one at a time; a named test must fail for each.

    tools/mutations.py              plant all faults
    tools/mutations.py name ...     plant the faults with one of these words in their name
    tools/mutations.py --list       list the names
    tools/mutations.py --check      only check that each fault fits the sources and its tests exist
    tools/mutations.py -j 2         plant two faults at a time, each in its own copy of the tree

faults.toml, in the same folder, contains the faults and explains their fields. A fault is planted
in a copy of the tree that is compiled with -O1; only files that the fault changes are recompiled.
The tests named with the fault run first. If they pass, the whole suite runs, provided that it
passes without any fault. The exit status is 1 if a fault survives all tests, if a fault does not
fit the sources, or if a test fails without any fault. Requires what .ci/mutations installs.
FUSEDGMM_MUTATIONS names a build folder, which is kept.
"""

from __future__ import annotations

import argparse
import difflib
import filecmp
import fnmatch
import functools
import io
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tokenize
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300  # seconds for the tests of one fault; a hang counts as a failure


class Fault(NamedTuple):
    name: str
    find: str
    replace: str
    tests: tuple[str, ...]
    function: str = ""
    file: str = "*"
    alone: bool = False


class Place(NamedTuple):
    """A part of a source file: a function, a class or a macro; the whole file if it has no name."""

    file: str
    name: str
    begin: int
    end: int


# ---- locating functions ----


def blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def c_places(file: str, text: str) -> Iterator[Place]:
    """Yield the functions and macros of a C source."""
    # replace comments, strings and characters by spaces, so that offsets do not change
    text = re.sub(
        r"/\*.*?\*/|//[^\n]*|\"(\\.|[^\"\\\n])*\"|'(\\.|[^'\\\n])+'", blank, text, flags=re.S
    )
    directive = re.compile(r"^[ \t]*#(\\\n|[^\n])*", re.M)
    for match in directive.finditer(text):
        if macro := re.match(r"\s*#\s*define\s+(\w+)", match[0]):
            yield Place(file, macro[1], match.start(), match.end())
    text = directive.sub(blank, text)
    depth = begin = 0
    name = ""
    for match in re.finditer(r"[{};]", text):
        if match[0] == "{":
            if depth == 0:
                name = function_name(text[begin : match.start()])
            depth += 1
        elif match[0] == "}":
            depth -= 1
        if depth == 0:
            if match[0] == "}" and name:
                start = begin + len(text[begin:]) - len(text[begin:].lstrip())
                yield Place(file, name, start, match.end())
            begin, name = match.end(), ""


def function_name(head: str) -> str:
    """Return the name of the function that the text before a brace defines, "" if it defines
    none."""
    head = head.rstrip()
    if not head.endswith(")"):
        return ""
    depth = 0
    for i in range(len(head) - 1, -1, -1):
        depth += (head[i] == ")") - (head[i] == "(")
        if depth == 0:
            break
    found = re.search(r"(\w+)\s*$", head[:i])
    return found[1] if found else ""


def python_places(file: str, text: str) -> Iterator[Place]:
    """Yield the functions and classes of a Python or Cython source, as Class.method."""
    starts = [0]  # offsets of the lines
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    blocks: list[tuple[str, int]] = []  # enclosing blocks: name ("" for a loop), first character
    head: list[tokenize.TokenInfo] = []  # the last complete statement
    statement: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.INDENT:
            words = [t.string for t in head]
            stop = next((i for i, word in enumerate(words) if word in ("(", ":")), len(words))
            defines = words[0] in ("def", "class", "cdef", "cpdef", "async")
            row, column = head[0].start
            blocks.append((words[stop - 1] if defines else "", starts[row - 1] + column))
        elif token.type == tokenize.DEDENT:
            path = ".".join(name for name, _ in blocks if name)
            name, begin = blocks.pop()
            if name:
                yield Place(file, path, begin, starts[token.start[0] - 1])
        elif token.type == tokenize.NEWLINE:
            head, statement = statement, []
        elif token.type not in (tokenize.NL, tokenize.COMMENT):
            statement.append(token)


@functools.cache
def sources() -> dict[str, str]:
    """Return every source file and its text."""
    names = [ROOT / "CMakeLists.txt"]
    for pattern in ("src/**/*.[ch]", "src/*.pyx", "src/*.pxd", "python/**/*.py"):
        names += sorted(ROOT.glob(pattern))
    return {str(name.relative_to(ROOT)): name.read_text() for name in names}


@functools.cache
def places() -> list[Place]:
    """Return every function, class and macro."""
    found: list[Place] = []
    for file, text in sources().items():
        if file.endswith((".c", ".h")):
            found += c_places(file, text)
        elif file.endswith((".py", ".pyx")):
            found += python_places(file, text)
    return found


# ---- checking that a fault fits ----


SPACE = r"(?:\s|\\\n)"  # a macro's lines end with a backslash


def is_word(token: str) -> bool:
    return re.match(r"\w", token) is not None


def pattern(find: str) -> re.Pattern[str]:
    """Match whole words and signs, with any white space between them."""
    found = ""
    last = " "
    for token in re.findall(r"\w+|[^\w\s]", find):
        if found:
            found += SPACE + ("+" if is_word(last) and is_word(token) else "*")
        elif is_word(token):
            found = r"(?<!\w)"
        found += re.escape(token)
        last = token
    return re.compile(found + (r"(?!\w)" if is_word(last) else ""))


def meant(f: Fault) -> list[Place]:
    """Return the functions of this name, of any class; whole files if no function is named."""
    files = [file for file in sources() if fnmatch.fnmatch(file, f.file)]
    if not f.function:
        return [Place(file, "", 0, len(sources()[file])) for file in files]
    return [
        place
        for place in places()
        if place.file in files and f".{place.name}".endswith(f".{f.function}")
    ]


def hits(find: str, among: list[Place]) -> list[tuple[str, int, int]]:
    """Return the file, begin and end of each occurrence."""
    wanted = pattern(find)
    found = {
        (place.file, match.start(), match.end())
        for place in among
        for match in wanted.finditer(sources()[place.file], place.begin, place.end)
    }
    return sorted(found)


def line_of(file: str, offset: int) -> str:
    """Describe a position as a compiler does, with the innermost function around it."""
    inside = [p for p in places() if p.file == file and p.begin <= offset < p.end]
    name = min(inside, key=lambda p: p.end - p.begin).name if inside else "no function"
    return f"{file}:{sources()[file].count(chr(10), 0, offset) + 1} ({name})"


def misfit(f: Fault) -> list[str]:
    """Return why a fault cannot be planted, and what may be meant; empty if it fits."""
    among = meant(f)
    if not among:
        names = {place.name.rpartition(".")[2] for place in places()}
        near = difflib.get_close_matches(f.function.rpartition(".")[2], names, 3)
        wrong = [f"there is no `{f.function}` in the files `{f.file}`"]
        wrong += [f"a similar name: {name}" for name in near]
    elif len(found := hits(f.find, among)) == 1:
        return []
    elif found:
        wrong = [f"`{f.find}` is there {len(found)} times"]
        return wrong + [f"at {line_of(file, begin)}" for file, begin, _ in found[:5]]
    else:
        looked = ", ".join(sorted({line_of(p.file, p.begin) for p in among})[:5])
        wrong = [f"`{f.find}` is not in {looked if f.function else f.file}"]
        lines = {
            line.strip(): (place.file, place.begin)
            for place in among
            for line in sources()[place.file][place.begin : place.end].splitlines()
        }
        near = difflib.get_close_matches(f.find, lines, 3, 0.5)
        wrong += [f"a similar line: {line}" for line in near]
    everywhere = [Place(file, "", 0, len(text)) for file, text in sources().items()]
    elsewhere = hits(f.find, everywhere)
    return wrong + [f"`{f.find}` is at {line_of(file, at)}" for file, at, _ in elsewhere[:5]]


@functools.cache
def tests_by_name() -> dict[str, list[str]]:
    """Return the files below tests/ that contain each test name."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^\s*def (test_\w+)", path.read_text(), re.M):
            found.setdefault(name, []).append(str(path.relative_to(ROOT / "tests")))
    return found


def resolve(test: str) -> str:
    """Return the pytest id of a test, given its name; raises LookupError."""
    if test.startswith("c:"):
        if not (ROOT / "tests/c" / f"test_{test[2:]}.c").exists():
            raise LookupError(f"there is no tests/c/test_{test[2:]}.c")
        return test
    file, _, name = test.rpartition("::")
    word = name.partition("[")[0]
    files = [f for f in tests_by_name().get(word, []) if fnmatch.fnmatch(f, file or "*")]
    if len(files) != 1:
        near = difflib.get_close_matches(word, tests_by_name(), 3)
        raise LookupError(
            f"the test {test} is in several files: {', '.join(files)}"
            if files
            else f"there is no test {test}; similar: {', '.join(near) or 'none'}"
        )
    return f"{files[0]}::{name}"


def misfits(faults: list[Fault]) -> list[str]:
    report = []
    for f in faults:
        wrong = misfit(f)
        if [x.name for x in faults].count(f.name) > 1:
            wrong.append("two faults have this name")
        for test in f.tests:
            try:
                resolve(test)
            except LookupError as error:
                wrong.append(str(error))
        if wrong:
            report.append("\n    ".join((f.name, *wrong)))
    return report


# ---- the copy of the tree, and the programs that run in it ----


def renew(source: str, target: str) -> None:
    """Copy a file only if it differs, because the build compares modification times."""
    if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
        shutil.copy(source, target)


class Tree:
    """A copy of the sources, its build, and the built package."""

    def __init__(self, work: Path, jobs: int) -> None:
        self.source, self.build, self.site = work / "source", work / "build", work / "site"
        self.jobs = jobs
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, self.source, False, ignored, renew, dirs_exist_ok=True)
        settings = self.source / "CMakeLists.txt"  # this halves the compile time of the kernels
        settings.write_text(settings.read_text().replace("-O3 -ffp-contract", "-O1 -ffp-contract"))
        options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-compile", "--upgrade"]
        options += ["--disable-pip-version-check", "-C", f"build-dir={self.build}"]
        options += ["-C", "cmake.define.FG_C_TESTS=ON", "--target", str(self.site)]
        self._run(sys.executable, "-m", "pip", "install", *options, str(self.source))
        (self.core,) = (self.site / "fusedgmm").glob("_core*.so")
        self.stale = False  # whether a C source has changed since the module was last built

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-4000:]}")

    @contextmanager
    def planted(self, f: Fault) -> Iterator[None]:
        """Plant the fault in the copy; the build follows when tests need it."""
        ((file, begin, end),) = hits(f.find, meant(f))
        copies = [self.source / file]
        if file.startswith("python/"):
            copies.append(self.site / file.removeprefix("python/"))
        compiled = len(copies) == 1
        text = sources()[file]
        try:
            for copy in copies:
                copy.write_text(text[:begin] + f.replace + text[end:])
            self.stale |= compiled
            yield
        finally:
            for copy in copies:
                copy.write_text(text)
            self.stale |= compiled

    def make(self, target: str) -> None:
        command = ("cmake", "--build", str(self.build), "--parallel", str(self.jobs), "--target")
        self._run(*command, target)

    def fails(self, tests: tuple[str, ...]) -> str:
        """Return the first test that fails; empty if all pass."""
        for test in tests:
            if test.startswith("c:"):
                self.make(f"test_{test[2:]}")
                code, _ = self._code(str(self.build / "tests/c" / f"test_{test[2:]}"))
                if code:
                    return test
        python = [test for test in tests if not test.startswith("c:")]
        if not python:
            return ""
        if self.stale:
            self.make("_core")
            (built,) = self.build.glob("_core*.so")
            shutil.copyfile(built, self.core)
            self.stale = False
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        code, said = self._code(*pytest, "--tb=no", "--color=no", *python)
        if code in (0, 5):  # 5: all tests are for other machines
            return ""
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
        if code == 1 and found:
            return found[1].partition("[")[0].removeprefix("tests/")
        if code is not None and code > 1:
            raise SystemExit(f"pytest could not run {python}:\n{said[-3000:]}")
        return f"{python[0]} ({'hangs' if code is None else 'crashes'})"

    def _code(self, *command: str) -> tuple[int | None, str]:
        """Return a program's exit status (None after a timeout) and its output."""
        variables = {
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_WAIT_POLICY": "passive",
        }
        process = subprocess.Popen(
            command,
            cwd=self.source / "tests",
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=LIMIT)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            return None, ""
        finally:  # also ends processes that a test left running
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


SUITE = ("c:math", "c:pass", "c:fit", "c:guard", "c:memory", "c:interrupt", ".")


def run(wanted: list[Fault], work: Path, jobs: int) -> int:
    """Plant each fault; return the number that survive."""
    began = time.monotonic()
    trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()

    def report(f: Fault, since: float, outcome: str) -> None:
        print(f"{time.monotonic() - since:4.0f} s  {f.name}: {outcome}", flush=True)

    def killed(f: Fault) -> bool:
        since, tree = time.monotonic(), trees.get()
        try:
            with tree.planted(f):
                killer = tree.fails(tuple(map(resolve, f.tests)))
        finally:
            trees.put(tree)
        if killer:
            report(f, since, f"killed by {killer}")
        return bool(killer)

    first = Tree(work / "1", os.cpu_count() or 1)
    named = tuple(dict.fromkeys(resolve(test) for f in wanted for test in f.tests))
    if broken := first.fails(named):
        raise SystemExit(f"{broken} fails without any fault")
    print(f"built; {len(named)} tests pass: {time.monotonic() - began:.0f} s", flush=True)
    trees.put(first)
    together = [f for f in wanted if not f.alone] if jobs > 1 else []
    alone = [f for f in wanted if f not in together]
    left = []
    if together:
        for i in range(1, jobs):
            trees.put(Tree(work / str(i + 1), 1))
        first.jobs = 1
        with ThreadPoolExecutor(jobs) as pool:
            outcomes = pool.map(killed, together)
            left = [f for f, found in zip(together, outcomes, strict=True) if not found]
        first.jobs = os.cpu_count() or 1
    left += [f for f in alone if not killed(f)]
    if left and (broken := first.fails(SUITE)):
        raise SystemExit(f"{broken} fails without any fault")
    survivors = []
    for f in left:
        since = time.monotonic()
        with first.planted(f):
            killer = first.fails(SUITE)
        if killer:
            report(f, since, f"killed by {killer}, which is not named with it")
        else:
            report(f, since, "SURVIVED")
            survivors.append(f.name)
    seconds = time.monotonic() - began
    print(f"{len(wanted) - len(survivors)} of {len(wanted)} faults killed in {seconds:.0f} s")
    for name in survivors:
        print(f"SURVIVED: {name}")
    return len(survivors)


def main() -> int:
    parser = argparse.ArgumentParser(description="Plant faults that the tests must find.")
    parser.add_argument("name", nargs="*", help="word in the names of the faults to plant")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--check", action="store_true", help="only check that all faults fit")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="faults at a time")
    arguments = parser.parse_args()
    with (ROOT / "tools" / "faults.toml").open("rb") as file:
        faults = [Fault(**fields) for fields in tomllib.load(file)["fault"]]
    if arguments.list:
        print("\n".join(f.name for f in faults))
        return 0
    wrong = misfits(faults)
    if wrong or arguments.check:
        print("\n".join(wrong) or f"all {len(faults)} faults fit the sources")
        return bool(wrong)
    words = arguments.name
    wanted = [f for f in faults if not words or any(word in f.name for word in words)]
    if not wanted:
        print(f"no fault has one of {words} in its name")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        work = Path(os.environ.get("FUSEDGMM_MUTATIONS") or folder)
        return bool(run(wanted, work, arguments.jobs))


if __name__ == "__main__":
    sys.exit(main())
