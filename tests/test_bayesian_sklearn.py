"""BayesianGaussianMixture compared with scikit-learn's: the same fit from the same start."""

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture
from helpers import quiet_fit, tolerance
from helpers.bayesian import GROUPS, X, assert_close, bayes, ours_of, priors, their_start
from helpers.beside_sklearn import without_times


def test_parameters_are_scikit_learns_and_n_threads():
    mixture = pytest.importorskip("sklearn.mixture")
    ours = BayesianGaussianMixture().get_params()
    assert ours.pop("n_threads") is None
    assert ours == mixture.BayesianGaussianMixture().get_params()


@pytest.mark.parametrize("given", [False, True], ids=["default", "given"])
def test_agrees_with_scikit_learn_from_the_same_start(covariance_type, prior_type, given):
    theirs = their_start(
        X,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        **(priors(covariance_type, 3) if given else {}),
    )
    ours = ours_of(theirs)
    quiet_fit(ours, X), quiet_fit(theirs, X)
    rtol = tolerance("Bayesian fit, scikit-learn")
    bound = tolerance("Bayesian bounds, scikit-learn")
    assert_close(ours, theirs, rtol)
    np.testing.assert_allclose(ours.lower_bounds_, np.ravel(theirs.lower_bounds_), rtol=bound)
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_) == (6, False)
    assert ours.lower_bound_ == ours.lower_bounds_[-1]
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=rtol)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=bound)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=rtol)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    (rows, labels), (their_rows, their_labels) = ours.sample(40), theirs.sample(40)
    np.testing.assert_array_equal(labels, their_labels)
    rtol = tolerance("sample, scikit-learn")
    np.testing.assert_allclose(rows, their_rows, rtol=rtol, atol=rtol)


def test_has_the_attributes_of_scikit_learns(covariance_type, prior_type):
    options = dict(covariance_type=covariance_type, weight_concentration_prior_type=prior_type)
    theirs = their_start(X, **options)
    ours = quiet_fit(bayes(n_components=4, **options), X)
    fitted = [{n for n in vars(model) if n.endswith("_")} for model in (ours, theirs)]
    assert fitted[0] == fitted[1]
    for name, value in vars(theirs).items():
        if name.endswith("_") and name != "lower_bound_":  # an array of size 1 if tied
            assert isinstance(getattr(ours, name), (tuple, list)) == isinstance(
                value, (tuple, list)
            ), name
            if not isinstance(value, list):
                assert np.shape(getattr(ours, name)) == np.shape(value), name


def test_stops_where_scikit_learn_stops(prior_type):
    theirs = their_start(
        GROUPS, weight_concentration_prior_type=prior_type, n_components=2, random_state=0
    ).set_params(tol=1e-2, max_iter=100)
    ours = ours_of(theirs).fit(GROUPS)
    theirs.fit(GROUPS)
    assert ours.converged_ and ours.n_iter_ == theirs.n_iter_ < 100


@pytest.mark.slow
@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_prints_what_scikit_learn_prints(capsys, verbose):
    theirs = their_start(X).set_params(verbose=verbose, verbose_interval=2, max_iter=5, n_init=2)
    quiet_fit(ours_of(theirs), X)
    ours = without_times(capsys.readouterr().out)
    quiet_fit(theirs, X)
    assert ours == without_times(capsys.readouterr().out)
    assert ours.count("Iteration") == (2 if verbose else 0)
