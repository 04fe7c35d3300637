"""The tests shipped with scikit-learn, and its estimator checks, run with fusedgmm's classes.

They run once, in a separate process: the names in `sklearn.mixture` must be replaced before its
tests are imported, and the environment enables float32 and array-API dispatch. sklearn_excused.toml
lists the tests that cannot pass, with reasons.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

sklearn = pytest.importorskip("sklearn")

HERE = Path(__file__).parent
SHIPPED = ("test_gaussian_mixture", "test_bayesian_mixture", "test_mixture")
EXCUSED = tomllib.loads((HERE / "sklearn_excused.toml").read_text())["excused"]

# Replaces the names before the tests are imported, and records how each test ended.
PLUGIN = """
import json
from pathlib import Path

import fusedgmm
import sklearn.mixture

NAMES = ("GaussianMixture", "BayesianGaussianMixture")
for name in NAMES:
    setattr(sklearn.mixture, name, getattr(fusedgmm, name))
outcomes = []

def pytest_collection_modifyitems(items):
    for item in items:
        tested = {name: getattr(item.module, name) for name in NAMES if hasattr(item.module, name)}
        assert tested and all(tested[name] is getattr(fusedgmm, name) for name in tested), item

    def is_ours(item):  # tensors of PyTorch and the like: where scikit-learn supports them itself
        params = getattr(item, "callspec", None) and item.callspec.params
        return not params or params.get("array_namespace") in (None, "numpy")

    items[:] = filter(is_ours, items)

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        path, _, name = report.location
        outcomes.append([f"{Path(path).stem}::{name}", report.outcome, report.longreprtext])

def pytest_sessionfinish():
    Path("outcomes.json").write_text(json.dumps(outcomes))
"""


def version(text):
    return tuple(map(int, text.split(".")[:2]))


VERSION = version(sklearn.__version__)


def function(test):
    return test.partition("[")[0]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """(test, outcome, output) of each test; names are "module::name[parameters]"."""
    place = tmp_path_factory.mktemp("shipped")
    (place / "rebinding.py").write_text(PLUGIN)
    (place / "pytest.ini").write_text("[pytest]\n")
    modules = [f"sklearn.mixture.tests.{name}" for name in SHIPPED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "rebinding"]
        + ["-p", "no:cacheprovider", "-c", "pytest.ini", "--rootdir", "."]
        + ["--pyargs", *modules, str(HERE / "estimator_checks.py")],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(place), *filter(None, [os.getenv("PYTHONPATH")])]),
            "SKLEARN_RUN_FLOAT32_TESTS": "1",
            "SCIPY_ARRAY_API": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads((place / "outcomes.json").read_text())


def test_all_of_scikit_learns_tests_pass_but_the_excused(outcomes, record_property):
    applies = [
        entry["test"]
        for entry in EXCUSED
        if version(entry.get("since", "0")) <= VERSION <= version(entry.get("until", "99"))
    ]
    known = {function(test) for test, *_ in outcomes}
    assert set(applies) <= known, "listed, but not among scikit-learn's tests"
    unexcused = {
        test: said
        for test, outcome, said in outcomes
        if outcome != "passed" and function(test) not in applies
    }
    assert not unexcused, "\n".join(f"{test}\n{said}" for test, said in unexcused.items())
    passed = [test for test, outcome, _ in outcomes if outcome == "passed"]
    needless = [test for test in passed if function(test) in applies]
    assert not needless, "excused, but they pass"
    shipped = [test for test in passed if test.startswith(SHIPPED)]
    record_property("shipped", len(shipped))  # for .ci/compatibility
    record_property("excused", sum(function(test) in applies for test, *_ in outcomes))
    assert len(shipped) >= (100 if VERSION >= (1, 8) else 60)
    assert VERSION < (1, 7) or sum("float32" in test for test in shipped) >= 10


def test_every_excuse_has_a_reason_and_its_stand_in_exists():
    for entry in EXCUSED:
        assert len(entry["reason"].split()) >= 5, entry
        module, _, name = entry.get("stand_in", "").partition("::")
        assert not module or f"\ndef {name}(" in (HERE / f"{module}.py").read_text(), entry


@pytest.mark.parametrize("kind", ["GaussianMixture", "BayesianGaussianMixture"])
def test_scikit_learns_estimator_checks_pass(outcomes, kind, record_property):
    checks = {
        test: (outcome, said)
        for test, outcome, said in outcomes
        if test.startswith(f"estimator_checks::test_estimator_check[{kind}(")
    }
    assert not {test: found for test, found in checks.items() if found[0] != "passed"}
    assert sum("sample_weight" in test for test in checks) >= 4
    assert len(checks) >= 36
    record_property("checks", len(checks))
