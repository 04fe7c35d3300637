"""The command line, run in a separate process as by a user."""

import io
import os
import re
import shlex
import subprocess
import sys
import zipfile
from textwrap import dedent

import numpy as np
import pytest

from fusedgmm import GaussianMixture
from helpers import measure_memory, measures_memory, on_linux, run_python


def run(*args, status=0, cwd=None):
    result = subprocess.run(
        [sys.executable, "-m", "fusedgmm", *map(str, args)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        cwd=cwd,
        timeout=120,
    )
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def table(tmp_path):
    from fusedgmm.datasets import load_faithful

    path = tmp_path / "geyser.csv"
    np.savetxt(path, load_faithful(), delimiter=",", header="eruptions,waiting", comments="")
    return path


def test_example():
    out = run().stdout
    for word in ("height", "log-likelihood", "BIC", "iterations", "recovered", "instruction set"):
        assert word in out


def test_fit_writes_everything_it_is_asked_for(table, tmp_path):
    model, labels = tmp_path / "m.npz", tmp_path / "l.csv"
    run("fit", table, "-k", 2, "-o", model, "--labels", labels)
    with np.load(model) as saved:
        assert saved["means_"].shape == (2, 2)
        np.testing.assert_allclose(np.sort(saved["weights_"]), [0.356, 0.644], atol=0.01)
    assert len(labels.read_text().splitlines()) == 273
    assert sorted(p.name for p in tmp_path.iterdir()) == ["geyser.csv", "l.csv", "m.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["waiting", "0,1"])
def test_plot(table, tmp_path, columns):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "f.png"
    run("fit", table, "-k", 2, "--columns", columns, "--plot", figure)
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_arrays(tmp_path, covariance):
    X = np.random.default_rng(0).normal(size=(100, 4)) + np.arange(100)[:, None] // 50 * 8
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", X=X, other=np.zeros(3))
    for name in ("x.npy", "x.npz"):
        run("fit", tmp_path / name, "-k", 2, "--covariance", covariance, "--dtype", "float32")


BAD = {
    "empty": ("", "empty"),
    "header only": ("a,b\n", "no data"),
    "text": ("name,a,b\nx,1,2\ny,3,4\n", "--columns a,b"),
    "missing": ("a,b\n1,2\n,3\n4,5\n", "data row 2"),
    "ragged": ("a,b\n1,2\n3\n", "line 3"),
    "names that Python takes for numbers": ("id,a\n1_0,2\n1_1,4\n", "'1_0' in line 2"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_tables(tmp_path, kind):
    content, word = BAD[kind]
    path = tmp_path / "bad.csv"
    path.write_text(content)
    error = run("fit", path, "-k", 1, status=2).stderr
    assert word in error
    assert len(error.splitlines()) == 1


def test_bad_requests(table, tmp_path):
    for args, word in [
        ((tmp_path / "none.csv", "-k", 2), "no such file"),
        ((table, "-k", 0), "less than 1"),
        ((table, "-k", 1000), "272 rows"),
        ((table, "-k", 2, "--columns", "depth"), "eruptions, waiting"),
        ((table, "-k", 2, "-o", tmp_path / "no" / "m.npz"), "does not exist"),
        ((table, "-k", 2, "--labels", table), "an output would replace the data"),
    ]:
        assert word in run("fit", *args, status=2).stderr
    assert len(table.read_text().splitlines()) == 273


def test_a_name_of_several_columns_is_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("a,b,a\n1,2,3\n4,5,7\n9,8,6\n")
    assert "use a number: 0, 2" in run("fit", path, "-k", 1, "--columns", "a", status=2).stderr
    assert "2 columns" in run("fit", path, "-k", 1, "--columns", "b,2").stdout


@pytest.mark.parametrize("text", ["-" * 9000, "-" * 3000, "{'descr': (", "(" * 300])
def test_a_header_that_breaks_the_parser_is_one_line(tmp_path, text):
    path = tmp_path / "x.npy"
    size = (len(text) + 1).to_bytes(2, "little")
    path.write_bytes(np.lib.format.magic(1, 0) + size + text.encode() + b"\n" + bytes(80))
    error = run("fit", path, "-k", 1, status=2).stderr
    assert error.startswith(f"fusedgmm: error: {path}") and len(error.splitlines()) == 1, error


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of Unix")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stdout", ["a pipe that nobody reads", "/dev/full", "closed"])
def test_files_are_written_whoever_reads_the_summary(table, tmp_path, stdout, unbuffered):
    model, labels = tmp_path / "m.npz", tmp_path / "l.csv"
    redirect = {"closed": ">&-", "/dev/full": ">/dev/full"}.get(stdout, "| true")
    fit = shlex.join(map(str, (sys.executable, "-m", "fusedgmm", "fit", table, "-k", 2)))
    result = subprocess.run(
        f"({fit} -o {model} --labels {labels}; echo status $? >&2) {redirect}",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        timeout=120,
    )
    message, status = {
        "/dev/full": ("fusedgmm: error: [Errno 28] No space left on device: 'standard output'", 2),
        "closed": ("", 0),
    }.get(stdout, ("", 141))  # the shell's exit status of a program that a broken pipe ended
    assert result.stderr.strip() == f"{message}\nstatus {status}".strip()
    assert len(labels.read_text().splitlines()) == 273
    assert GaussianMixture.load(model).means_.shape == (2, 2)


@pytest.mark.skipif(os.name != "posix", reason="pipes of Unix")
def test_notes_that_nobody_reads_stop_nothing(table, tmp_path):
    command = [sys.executable, "-m", "fusedgmm", "fit", table, "-k", 2, "--max-iter", 1]
    labels = tmp_path / "l.csv"
    fit = shlex.join(map(str, [*command, "--labels", labels]))
    result = subprocess.run(f"{fit} 2>&1 | true", shell=True, capture_output=True, timeout=120)
    assert not result.stdout and not result.stderr
    assert len(labels.read_text().splitlines()) == 273


@pytest.mark.skipif(os.name != "posix", reason="pipes of Unix")
def test_predictions_end_quietly_with_their_reader(table, tmp_path):
    model = tmp_path / "m.npz"
    run("fit", table, "-k", 2, "-o", model)
    np.save(tmp_path / "many.npy", np.tile([[2.0, 54.0], [4.0, 80.0]], (50_000, 1)))
    predict = (sys.executable, "-m", "fusedgmm", "predict", model, tmp_path / "many.npy")
    result = subprocess.run(
        f"{shlex.join(map(str, predict))} 2>&1 | head -n 2",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        timeout=120,
    )
    assert result.stdout == "label\n0\n" or result.stdout == "label\n1\n"
    assert result.stderr == ""


@measures_memory
def test_a_summary_of_many_columns_is_small(tmp_path):
    """Matrices would need 15,000**2 numbers per component: gigabytes."""
    X = np.random.default_rng(0).normal(size=(30, 15_000))
    np.save(tmp_path / "wide.npy", X)
    script = f"""
        import contextlib, io
        from fusedgmm._cli import main
        arguments = ["fit", {str(tmp_path / "wide.npy")!r}, "-k", "2", "--covariance", "diag"]
        with contextlib.redirect_stdout(io.StringIO()):
            used = rise(lambda: main(arguments))
        print(used)
    """
    (used,) = measure_memory(dedent(script))
    assert used < 200


@on_linux("limits as Linux has them")
def test_too_little_memory_is_one_line(tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((100, 6000)))
    code = f"""
        import contextlib, resource, sys
        from fusedgmm import GaussianMixture
        from fusedgmm._cli import main
        GaussianMixture(1).fit([[0.0], [1.0]])  # libraries and threads are there
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000,) * 2)
        with contextlib.redirect_stderr(sys.stdout):
            status = main(["fit", {str(tmp_path / "wide.npy")!r}, "-k", "20"])
        print(status)
    """
    error, status = run_python(code).splitlines()
    assert error.startswith("fusedgmm: error: not enough memory") and status == "2"


def test_cells_of_the_tables_are_apart(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3)) * [1, 1e-5, 1e9] + [0, -1234.5, -1e12]
    X[250:] += 20 * np.array([1, 1e-5, 1e9])
    path = tmp_path / "x.csv"
    np.savetxt(path, X, delimiter=",", header="a,a name of more than sixteen letters,c")
    lines = run("fit", path, "-k", 2).stdout.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.startswith("component")]
    for line in lines[start + 1 : start + 3]:
        assert len(re.split("  +", line.strip())) == 5, line
        assert re.fullmatch(r"\s*\d  +0\.\d{3}(  +\S+ ± \S+){3}", line)
    assert len({len(line) for line in lines[start : start + 3]}) == 1  # columns are aligned
    (start,) = [i for i, line in enumerate(lines) if line.startswith("iteration")]
    for i, line in enumerate(lines[start + 1 : lines.index("", start)]):
        assert len(line.split()) == (3 if i else 2), line


def test_notes_are_one_line_on_stderr(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("".join([",0,1\n", *(f"{i},{i % 7}.5,{i % 5}\n" for i in range(20))]))
    result = run("fit", path, "-k", 2, "--labels", tmp_path / "l.csv")
    assert "20 rows, 2 columns" in result.stdout
    (note,) = result.stderr.splitlines()
    assert note.startswith(f"note: {path}: the first column has no name: left out, as an index")
    assert len((tmp_path / "l.csv").read_text().splitlines()) == 21
    assert "3 columns" in run("fit", path, "-k", 2, "--no-index").stdout
    assert run("fit", path, "-k", 2, "--index").stderr == ""
    for args, message in [
        (("--delimiter", "ab"), "not one character"),
        (("--decimal", "x"), "invalid choice"),
        (("--columns", "0,x"), "no column 'x'"),
    ]:
        assert message in run("fit", path, "-k", 2, *args, status=2).stderr
    np.save(tmp_path / "x.npy", np.eye(3))
    error = run("fit", tmp_path / "x.npy", "-k", 1, "--no-header", status=2).stderr
    assert "--header: " in error and "is not a text file" in error


def broken_archives(tmp_path):
    """Damage for which NumPy raises errors other than ValueError."""
    X = np.random.default_rng(0).normal(size=(100, 2))
    np.savez_compressed(tmp_path / "good.npz", X=X)
    whole = (tmp_path / "good.npz").read_bytes()
    start = whole.index(b"X.npy") + 25
    yield "stream", whole[:start] + bytes(40 * [255]) + whole[start + 40 :]
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    yield "text", (tmp_path / "text.npz").read_bytes()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**14, 2)}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("X.npy", buffer.getvalue() + bytes(80))
    yield "large", (tmp_path / "large.npz").read_bytes()


def test_broken_archives(tmp_path):
    for name, content in broken_archives(tmp_path):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        error = run("fit", path, "-k", 1, status=2).stderr
        assert error.startswith(f"fusedgmm: error: {path}") and len(error.splitlines()) == 1, error


def test_values_beyond_float32_are_named(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, [[1.0], [1e300], [2.0]])
    error = run("fit", path, "-k", 1, "--dtype", "float32", status=2).stderr
    assert "First at row 1, column 0" in error and len(error.splitlines()) == 1


def test_a_dollar_sign_in_a_name_is_plain_text(tmp_path):
    pytest.importorskip("matplotlib")
    path, figure = tmp_path / "x.csv", tmp_path / "f.svg"
    path.write_text("$x_{$,b\n1,2\n4,5\n9,8\n")
    run("fit", path, "-k", 1, "--plot", figure)
    assert figure.exists()


def test_outputs_of_odd_names_and_links_are_what_was_asked_for(table, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    out.mkdir()
    for model, labels, figure, begin in (
        ("MODEL.NPZ", "LABELS.CSV", "FIGURE.SVG", b"<?xml"),
        ("m.npz", "l.csv", "f.pdf", b"%PDF"),
        ("m" * 251 + ".npz", "é 模.csv", "f.svg.png", b"\x89PNG"),
    ):
        if model == "m.npz":  # links to names with no extension, or another one
            for link, target in ((model, "blob"), (labels, "b.npz"), (figure, "p.svg")):
                (out / link).symlink_to(target)
        args = ("-o", out / model, "--labels", out / labels, "--plot", out / figure)
        run("fit", table, "-k", 2, *args)
        with np.load(out / model) as saved:
            assert saved["means_"].shape == (2, 2)
        run("predict", out / model, table, "-o", out / "P.NPY")
        assert np.load(out / "P.NPY").shape == (272,)
        (out / "P.NPY").unlink()
        assert (out / labels).read_text(encoding="utf-8").startswith("label,probability\n")
        assert (out / figure).read_bytes().startswith(begin)
    assert len(list(out.iterdir())) == 12
    assert all((out / link).is_symlink() for link in ("m.npz", "l.csv", "f.pdf"))


@pytest.mark.parametrize("option", ["-o", "--labels", "--plot", "data"])
def test_loops_of_links_and_names_too_long_are_one_line(table, tmp_path, option):
    ending = {"-o": ".npz", "--labels": ".csv", "--plot": ".png", "data": ".csv"}[option]
    loop, nowhere = tmp_path / f"loop{ending}", tmp_path / f"nowhere{ending}"
    loop.symlink_to(loop.name)
    nowhere.symlink_to("no/blob")
    for path in (loop, nowhere, tmp_path / ("n" * 252 + ending)):
        args = (path, "-k", 2) if option == "data" else (table, "-k", 2, option, path)
        error = run("fit", *args, status=2).stderr
        assert path.name in error and len(error.splitlines()) == 1


def test_an_output_that_is_the_data_by_a_link_is_refused(table, tmp_path):
    before = table.read_bytes()
    (tmp_path / "l.csv").symlink_to(table.name)
    (tmp_path / "m.npz").symlink_to(table.name)
    (tmp_path / "n.npz").symlink_to("l2.csv")
    for args, words in (
        (("--labels", tmp_path / "l.csv"), "would replace the data"),
        (("-o", tmp_path / "m.npz"), "would replace the data"),
        (("-o", tmp_path / "n.npz", "--labels", tmp_path / "l2.csv"), "the same name"),
    ):
        assert words in run("fit", table, "-k", 2, *args, status=2).stderr
    assert table.read_bytes() == before


@pytest.mark.parametrize("option", ["-o", "--labels", "--plot", "predict -o", "predict -o npy"])
def test_a_full_disk_is_one_line_and_leaves_the_old_output(table, tmp_path, capsys, option):
    resource = pytest.importorskip("resource")
    pytest.importorskip("matplotlib")
    import fusedgmm._cli as cli

    endings = {"-o": "npz", "--labels": "csv", "--plot": "png", "predict -o": "csv"}
    path = tmp_path / f"out.{endings.get(option, 'npy')}"
    path.write_text("old")
    command, model = ["fit", str(table), "-k", "2", option, str(path)], tmp_path / "model.npz"
    if option.startswith("predict"):
        run("fit", table, "-k", 2, "-o", model)
        command = ["predict", str(model), str(table), "-o", str(path)]
    before = sorted(p.name for p in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # in this process: a limited subprocess could not write the bytecode of its modules
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        status = cli.main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2 and path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    error = capsys.readouterr().err
    assert error.startswith("fusedgmm: error: ") and path.name in error
    assert len(error.splitlines()) == 1


def test_a_failure_leaves_the_old_output(tmp_path):
    from fusedgmm._files import write_whole

    path = tmp_path / "m.npz"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]
