"""scikit-learn's estimator checks; test_sklearn_shipped.py runs them in a separate process."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fusedgmm import BayesianGaussianMixture, GaussianMixture, GaussianMixtureSearch

pytestmark = pytest.mark.filterwarnings("error")


@parametrize_with_checks([GaussianMixture(), BayesianGaussianMixture(), GaussianMixtureSearch(1)])
def test_estimator_check(estimator, check):
    check(estimator)
