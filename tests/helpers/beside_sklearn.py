"""Models of fusedgmm beside scikit-learn's. A file that imports this is skipped without it."""

import re

import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture

sklearn = pytest.importorskip("sklearn")
import sklearn.mixture  # noqa: E402, F811
from sklearn.base import clone  # noqa: E402

__all__ = ["THEIRS", "clone", "sklearn", "without_times"]

# scikit-learn's own classes, also where a patch has replaced them
THEIRS = {
    GaussianMixture: sklearn.mixture.GaussianMixture,
    BayesianGaussianMixture: sklearn.mixture.BayesianGaussianMixture,
}


def without_times(text):
    """What a verbose fit prints, without what differs from run to run."""
    if sklearn.__version__.startswith("1.4."):  # it has other words for the end
        text = re.sub(r"Initialization (converged|did not).*\n", "", text)
    return re.sub(r"time lapse [\d.]+s", "time lapse", text)
