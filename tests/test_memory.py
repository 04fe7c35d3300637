"""What a fit and a prediction need besides the data: never N x K, never N x d."""

import subprocess
import sys

import pytest

SCRIPT = """
import warnings
from pathlib import Path
import numpy as np
import fusedgmm

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

def rise(call):
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    call()
    return megabytes("VmHWM") - before

warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(1_000_000, 8))
model = fusedgmm.GaussianMixture(8, covariance_type="{kind}", max_iter=2, random_state=0)
fit = rise(lambda: model.fit(X))
print(fit, rise(lambda: model.predict(X)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_peak_memory_above_the_data(kind):
    script = SCRIPT.replace("{kind}", kind)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if "clear_refs" in done.stderr:
        pytest.skip("the high-water mark cannot be reset here")
    assert done.returncode == 0, done.stderr
    fit, predict = map(float, done.stdout.split())
    assert fit < 32  # N x K alone would be 64
    assert predict < 32  # its labels are 8
