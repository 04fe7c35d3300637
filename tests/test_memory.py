"""The memory of a fit and a prediction in addition to the data: never N x K, never N x d."""

import pytest

from helpers import measure_memory, measures_memory

SCRIPT = """
import warnings
import numpy as np
import fusedgmm

warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(1_000_000, 8))
model = fusedgmm.GaussianMixture(8, covariance_type="{kind}", max_iter=2, random_state=0)
print(rise(lambda: model.fit(X)), rise(lambda: model.predict(X)))
"""


@measures_memory
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_peak_memory_above_the_data(kind):
    fit, predict = measure_memory(SCRIPT.replace("{kind}", kind))
    assert fit < 32  # N x K alone would be 64
    assert predict < 32  # its labels are 8
