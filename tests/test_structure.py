"""The layers of the source files: a file uses only files of lower layers, and there are no cycles.

The layers are the two lists below. These tests fail for a new file until it has a place there:
below every file that includes or imports it, above every file that it includes or imports.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES, PACKAGE = ROOT / "src", ROOT / "python" / "fusedgmm"
pytestmark = pytest.mark.skipif(not SOURCES.exists(), reason="there are no sources here")

# From top to bottom. em.c and em.h are `em`; a folder has one name; `_core` stands for _core.pyx
# and core.pxd. Names on the same line must not use each other.
C_LAYERS = """
    _core
    batch
    fit
    start em
    kmeans repair accelerate
    step
    pass
    parameters dispatch problems arithmetic
    factor
    triangular
    kernels statistics
    covariance simd
    rows run
    memory
    draw parallel history
    team
    openmp thread
    random checks
    fusedgmm
"""
PYTHON_LAYERS = """
    __main__
    _cli
    _segment
    _commands
    _data_files _summary
    __init__
    dask
    patch _config _search _steps _partitions
    _bootstrap _ratio_test
    _batch _resampling _select
    _batch_result
    _selection
    _fits
    _mixture _bayesian
    _fitting _variational
    _fitted _statistics plots
    _callbacks _chunks _quality
    _parameters _problems _threads _model_files _alignment
    _scoring
    _covariance
    _core
    _estimator stream
    _frames
    _validation
    _files _tables _report _sklearn _em _progress datasets reference
    _typing
"""

Graph = dict[str, dict[str, str]]  # user -> used -> where that is written


def layers(text: str) -> dict[str, int]:
    """The height of each name; 0 is the top."""
    return {name: i for i, line in enumerate(text.split("\n")) for name in line.split()}


def room(path: Path, folder: Path) -> str:
    """The name of a file in the lists: its own, or that of its folder."""
    return path.relative_to(folder).parts[0].partition(".")[0]


def c_graph() -> Graph:
    graph: Graph = {}
    for path in sorted(SOURCES.rglob("*.*")):
        cython = path.suffix in (".pyx", ".pxd")
        pattern = r'^cdef extern from "([^"]+)"' if cython else r'^\s*#\s*include\s+"([^"]+)"'
        uses = graph.setdefault("_core" if cython else room(path, SOURCES), {})
        for name in re.findall(pattern, path.read_text(), re.M):
            uses[room(SOURCES / name, SOURCES)] = f"src/{path.relative_to(SOURCES)} includes {name}"
    return without_loops(graph)


def import_statements(path: Path) -> list[ast.stmt]:
    """The imports of a Python or Cython file, also within functions, except those for types
    only."""
    text = path.read_text()
    if path.suffix == ".pyx":  # which ast cannot parse
        found = re.findall(r"^\s*(from [\w.]+ import \w[\w, ]*\w|import [\w.]+)", text, re.M)
        return ast.parse("\n".join(found)).body
    nodes = list(ast.walk(ast.parse(text)))
    for_types = {
        inner
        for node in nodes
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    return [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) and n not in for_types]


def imported(statement: ast.stmt, package: tuple[str, ...]) -> list[list[str]]:
    """The names that a statement in this package imports, split into parts."""
    names = [alias.name.split(".") for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        start = list(package[: len(package) + 1 - statement.level]) if statement.level else []
        start += statement.module.split(".") if statement.module else []
        names = [start + name for name in names]
    return names


def python_graph() -> Graph:
    homes = {path: path for path in sorted(PACKAGE.rglob("*.py"))}
    homes |= {path: PACKAGE / path.name for path in sorted(SOURCES.glob("*.pyx"))}
    rooms = {room(home, PACKAGE) for home in homes.values()}
    graph: Graph = {name: {} for name in rooms}
    for path, home in homes.items():
        package = home.relative_to(PACKAGE.parent).parts[:-1]
        for statement in import_statements(path):
            for name in imported(statement, package):
                if name[0] == "fusedgmm":
                    used = (*name, "")[1]
                    used = used if used in rooms else "__init__"  # a name that the package has
                    where = f"{path.relative_to(ROOT)} imports {'.'.join(name)}"
                    graph[room(home, PACKAGE)][used] = where
    return without_loops(graph)


def without_loops(graph: Graph) -> Graph:
    return {name: {u: w for u, w in uses.items() if u != name} for name, uses in graph.items()}


def circle(graph: Graph) -> list[str]:
    """Return some names that form a cycle; empty if there is none."""
    left = {name: set(uses) & set(graph) for name, uses in graph.items()}
    while ends := [name for name, uses in left.items() if not uses & set(left)]:
        for name in ends:
            del left[name]
    path = list(left)[:1]
    while path and len(set(path)) == len(path):
        path.append(next(iter(left[path[-1]] & set(left))))
    return path[path.index(path[-1]) :] if path else []


GRAPHS = {"C_LAYERS": (c_graph, C_LAYERS), "PYTHON_LAYERS": (python_graph, PYTHON_LAYERS)}


@pytest.fixture(params=GRAPHS)
def structure(request):
    build, text = GRAPHS[request.param]
    return request.param, build(), layers(text)


def test_every_file_has_its_place(structure):
    which, graph, height = structure
    new = sorted(set(graph) - set(height))
    assert not new, (
        f"{', '.join(new)}: not in {which} of tests/test_structure.py. Add each in a line above "
        "all that it uses and below all that use it"
    )
    gone = sorted(set(height) - set(graph))
    assert not gone, f"{', '.join(gone)}: in {which} of tests/test_structure.py, but not a file"


def test_no_file_uses_a_higher_layer(structure):
    which, graph, height = structure
    wrong = [
        f"{where}, but {which} has {used} {'beside' if height[used] == height[name] else 'above'}"
        f" {name}"
        for name, uses in graph.items()
        for used, where in uses.items()
        if name in height and used in height and height[used] <= height[name]
    ]
    assert not wrong, "\n".join(wrong)


def test_there_is_no_cycle(structure):
    _, graph, _ = structure
    names = circle(graph)
    assert not names, "\n".join(graph[a][b] for a, b in zip(names, names[1:], strict=False))


def test_a_cycle_is_found():
    graph = {"a": {"b": ""}, "b": {"c": "", "d": ""}, "c": {"b": ""}, "d": {}}
    assert set(circle(graph)) == {"b", "c"}
    assert circle({"a": {"b": ""}, "b": {}}) == []


def code(path: Path) -> str:
    """The text of a C file without comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)


def test_only_one_file_uses_openmp():
    pattern = re.compile(r"#\s*pragma\s+omp|_Pragma\(\"omp|\bomp\.h\b|\bomp_\w+\s*\(")
    files = {path.name for path in SOURCES.rglob("*.[ch]") if pattern.search(code(path))}
    assert files == {"openmp.c"}


def test_only_core_uses_python():
    pattern = re.compile(r"\bPython\.h\b|\bPy[A-Z]\w*\b|\bnumpy\b")
    files = [path.name for path in SOURCES.rglob("*.[ch]") if pattern.search(code(path))]
    assert files == []
