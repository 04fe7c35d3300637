"""The scripts in examples/: those that can run here give the result of `fit`."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusedgmm import GaussianMixture

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not here"),
]


def expected(n_parts):
    spec = importlib.util.spec_from_file_location("on_processes", EXAMPLES / "on_processes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    start = GaussianMixture(2, random_state=0).fit(module.rows_of(0)).parameters
    model = GaussianMixture(
        2,
        weights_init=start.weights,
        means_init=start.means,
        covariances_init=start.covariances,
    )
    return model.fit(np.concatenate([module.rows_of(part) for part in range(n_parts)]))


@pytest.mark.parametrize(
    "script, n_parts, needs, program",
    [
        ("on_processes", 6, None, None),
        ("on_files", 3, None, None),
        ("on_spark", 3, "pyspark", "java"),
        ("on_ray", 3, "ray", None),
        ("on_mpi", 3, "mpi4py", "mpirun"),
    ],
)
def test_an_example_gives_the_result_of_fit(script, n_parts, needs, program):
    if needs is not None:
        pytest.importorskip(needs)
    if program is not None and shutil.which(program) is None:
        pytest.skip(f"there is no {program}")
    code = f"""if True:
        import json
        import {script}
        import numpy as np
        if __name__ == "__main__":
            model = {script}.main()
            found = [model.means_.tolist(), model.covariances_.tolist(), model.n_iter_]
            print("result " + json.dumps(found))
    """
    command = [sys.executable, "-c", code]
    if program == "mpirun":
        command = ["mpirun", "--oversubscribe", "-n", str(n_parts), *command]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    found = next(line for line in done.stdout.splitlines() if line.startswith("result "))
    model = expected(n_parts)
    means, covariances, n_iter = json.loads(found.removeprefix("result "))
    np.testing.assert_allclose(means, model.means_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(covariances, model.covariances_, rtol=0, atol=1e-9)
    assert n_iter == model.n_iter_
