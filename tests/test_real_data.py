"""Fits of real data compared with published values (mclust's vignette, with a tight tolerance)."""

import numpy as np
import pytest

from fusedgmm import GaussianMixture, fit_batch
from fusedgmm.datasets import load_faithful, load_iris


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


def test_heights_are_corrected():
    from fusedgmm.datasets import load_heights

    heights, sex = load_heights()
    assert heights.shape == (200, 1) and len(sex) == 200
    assert heights.min() > 140  # row 12 was published as 57 cm


def test_iris_is_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    X, species = load_iris()
    theirs = datasets.load_iris()
    np.testing.assert_array_equal(X, theirs.data)
    np.testing.assert_array_equal(species, theirs.target_names[theirs.target])


def test_bic_finds_two_kinds_of_petals_and_one_of_sepals():
    X, species = load_iris()
    result = fit_batch(list(X.T), [1, 2, 3], reg_covar=0.1**2 / 12, n_init=5, random_state=0)
    assert result.n_components.tolist() == [1, 1, 2, 2]
    for i in (2, 3):  # the smaller petals belong to one species
        model = result[i]
        small = model.predict(X[:, [i]]) == np.argmin(model.means_[:, 0])
        assert np.mean(small == (species == "setosa")) > 0.97
