"""Fits of real data against published values (mclust's vignette, at a tight tolerance)."""

import pytest

from fusedgmm import GaussianMixture
from fusedgmm.datasets import load_faithful


@pytest.mark.parametrize(
    "covariance_type, n_components, log_likelihood",
    [("full", 2, -1130.263960), ("tied", 3, -1126.315928)],
)
def test_old_faithful(covariance_type, n_components, log_likelihood):
    X = load_faithful()
    model = GaussianMixture(
        n_components, covariance_type=covariance_type, tol=1e-12, reg_covar=0,
        max_iter=5000, n_init=10, random_state=0,
    ).fit(X)  # fmt: skip
    assert model.score(X) * len(X) == pytest.approx(log_likelihood, abs=1e-5)


def test_heights_are_mended():
    from fusedgmm.datasets import load_heights

    heights, sex = load_heights()
    assert heights.shape == (200, 1) and len(sex) == 200
    assert heights.min() > 140  # row 12 was published as 57 cm
