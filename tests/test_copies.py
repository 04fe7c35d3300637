"""Copies of the package besides the installed one, and Python's stricter modes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import fusedgmm

# Everything that imports, names or loads something: modules imported on demand, data in files, and
# classes that other processes find by name.
EVERYTHING = """
import io, os, pickle, runpy, sys
from contextlib import redirect_stderr, redirect_stdout
import numpy as np

X = np.random.default_rng(0).normal(size=(60, 2))
bad = X.copy()
bad[3, 1] = np.nan
folder = "."

def check(holds, found=""):  # an assert statement would be stripped
    if not holds:
        raise SystemExit(f"failed: {found}")

def again(value):
    copied = pickle.loads(pickle.dumps(value))
    check(type(copied) is type(value) and type(value).__module__.startswith(package.__name__))
    return copied

def refused(call, error, words):
    try:
        call()
    except error as caught:
        check(words in str(caught), str(caught))
    else:
        raise SystemExit(f"not refused: {words}")

def main(*args):
    out, sys.argv = io.StringIO(), ["program", *args]
    try:
        with redirect_stdout(out), redirect_stderr(out):
            runpy.run_module(package.__name__, run_name="__main__")
    except SystemExit as end:
        check(end.code == 0, out.getvalue())
    return out.getvalue()

model = again(package.GaussianMixture(2, random_state=0).fit(X))
for kind in (package.GaussianMixture, package.BayesianGaussianMixture):
    fitted = again(kind(n_components=2, random_state=0, max_iter=1000).fit(X))
    for method in (kind().fit, fitted.predict, fitted.score_samples):
        refused(lambda: method(bad), ValueError, "row 3, column 1")
again(package._core.NotFiniteError("x"))
result = again(package.fit_batch([X, X[:20]], [1, 2]))
result.save(os.path.join(folder, "b.npz"))
check(len(package.BatchResult.load(os.path.join(folder, "b.npz"))) == 2)
package.show_config()
check(package.reference.__name__ == f"{package.__name__}.reference")
from importlib import import_module
datasets = import_module(f"{package.__name__}.datasets")
check(len(datasets.load_heights()[0]) == 200 and len(datasets.load_iris()[0]) == 150)
data = os.path.join(folder, "x.csv")
np.savetxt(data, datasets.load_faithful(), delimiter=",")
check("recovered" in main())
model_file = os.path.join(folder, "m.npz")
check("converged" in main("fit", data, "-k", "2", "-o", model_file))
check(main("predict", model_file, data).startswith("label"))
for saved in (model, model.parameters, package.accumulate(X, model)):
    saved.save(model_file)
    check(type(type(saved).load(model_file)) is type(saved))
try:
    import sklearn.mixture
except ImportError:
    pass
else:
    theirs = sklearn.mixture.GaussianMixture
    check(type(model.to_sklearn()) is theirs)
    check(package.patch_sklearn()[0] == "sklearn.mixture.GaussianMixture")
    patched = again(sklearn.mixture.GaussianMixture(2).fit(X))
    check(isinstance(patched, package.GaussianMixture))
    package.unpatch_sklearn()
    check(sklearn.mixture.GaussianMixture is theirs)
    check("GaussianMixture" in repr(sklearn.base.clone(model)))
print("all of it works")
"""


def copied(folder):
    """Copies the package, and the libraries a repaired wheel installs beside it."""
    site = Path(fusedgmm.__file__).parents[1]
    for name in ("fusedgmm", "fusedgmm.libs"):
        if (site / name).is_dir():
            shutil.copytree(
                site / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )


def run(code, *options, folder):
    done = subprocess.run(
        [sys.executable, *options, "-c", f"import sys; sys.path.insert(0, '.')\n{dedent(code)}"],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("option", ["-OO", "-I"])
def test_python_in_stricter_modes(tmp_path, option):
    """-OO strips docstrings and assert statements, -I (with -P) the paths and the environment."""
    where = str(Path(fusedgmm.__file__).parents[1])  # which PYTHONPATH may have said
    code = f"sys.path.insert(0, {where!r})\nimport fusedgmm as package\n" + EVERYTHING
    assert run(code, option, folder=tmp_path).endswith("all of it works\n")


def test_a_vendored_copy_needs_no_other(tmp_path):
    (tmp_path / "vendor").mkdir()
    copied(tmp_path / "vendor")
    code = """
        sys.modules["fusedgmm"] = None  # who imports it fails
        import vendor.fusedgmm as package
    """
    code = dedent(code) + EVERYTHING
    assert run(code, folder=tmp_path).endswith("all of it works\n")


def test_two_copies_in_one_process(tmp_path):
    """Each has its own core, classes and pickles; results are identical, in threads and forks."""
    (tmp_path / "vendor").mkdir()
    copied(tmp_path / "vendor")
    code = """
        import os, pickle
        from threading import Thread
        import numpy as np
        import fusedgmm, vendor.fusedgmm

        copies = (fusedgmm, vendor.fusedgmm)
        assert fusedgmm._core.__file__ != vendor.fusedgmm._core.__file__
        X = np.random.default_rng(0).normal(size=(20_000, 3))
        means = []
        def fit():
            for package in copies:
                model = package.GaussianMixture(3, random_state=0).fit(X)
                assert type(pickle.loads(pickle.dumps(model))) is package.GaussianMixture
                means.append(model.means_.tobytes())
        threads = [Thread(target=fit) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(means) == 6 and len(set(means)) == 1
        if hasattr(os, "fork"):
            child = os.fork()
            if child == 0:
                fit()
                os._exit(0 if len(set(means)) == 1 else 1)
            assert os.waitpid(child, 0)[1] == 0
        print("same")
    """
    assert run(code, folder=tmp_path) == "same\n"


def test_two_copies_may_both_patch_scikit_learn(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "vendor").mkdir()
    copied(tmp_path / "vendor")
    code = """
        import pickle
        import numpy as np
        import sklearn.mixture
        import fusedgmm, vendor.fusedgmm

        theirs = sklearn.mixture.GaussianMixture
        for first, second in ((fusedgmm, vendor.fusedgmm), (vendor.fusedgmm, fusedgmm)):
            for begin, end in ((first, second), (second, first)):
                assert len(first.patch_sklearn()) == 4 and second.patch_sklearn() == []
                model = sklearn.mixture.GaussianMixture(2).fit(np.eye(5))
                assert isinstance(model, first.GaussianMixture) and isinstance(model, theirs)
                assert type(pickle.loads(pickle.dumps(model))) is type(model)
                begin.unpatch_sklearn()
                end.unpatch_sklearn()
                assert sklearn.mixture.GaussianMixture is theirs
        print("restored")
    """
    assert run(code, folder=tmp_path) == "restored\n"


def test_the_core_takes_no_name_but_its_own(tmp_path):
    """Cython also registers a module under its bare name, which a user's module `_core` may
    have."""
    (tmp_path / "_core.py").write_text("whose = 'the user'")
    code = """
        import fusedgmm, _core
        print(_core.whose, fusedgmm._core is sys.modules["fusedgmm._core"])
    """
    assert run(code, folder=tmp_path) == "the user True\n"


def test_a_copy_in_an_archive_says_that_it_cannot_work(tmp_path):
    copied(tmp_path / "content")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "content")
    code = """
        sys.path.insert(0, "archive.zip")
        try:
            import fusedgmm
        except ImportError as error:
            print(error)
    """
    printed = run(code, folder=tmp_path)
    assert "archive.zip" in printed and "unpack the archive" in printed
