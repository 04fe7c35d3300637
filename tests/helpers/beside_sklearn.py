"""Models of fusedgmm and scikit-learn, for comparison. Files that import this are skipped without
scikit-learn."""

import re

import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture

sklearn = pytest.importorskip("sklearn")
import sklearn.mixture  # noqa: E402, F811
from sklearn.base import clone  # noqa: E402

__all__ = ["THEIRS", "clone", "sklearn", "without_times"]

# scikit-learn's own classes, even while a patch replaces them
THEIRS = {
    GaussianMixture: sklearn.mixture.GaussianMixture,
    BayesianGaussianMixture: sklearn.mixture.BayesianGaussianMixture,
}


def without_times(text):
    """Remove the parts of a verbose fit's output that differ from run to run."""
    if sklearn.__version__.startswith("1.4."):  # its final message is different
        text = re.sub(r"Initialization (converged|did not).*\n", "", text)
    return re.sub(r"time lapse [\d.]+s", "time lapse", text)
