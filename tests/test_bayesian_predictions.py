"""A fitted BayesianGaussianMixture: its predictions, its samples, its pickles."""

import pickle

import numpy as np
import pytest

from helpers import tolerance
from helpers.bayesian import GROUPS, X, assert_same_bits, bayes


def test_an_unfitted_model_says_so():
    for call in ("predict", "predict_proba", "score_samples", "score"):
        with pytest.raises(ValueError, match="This BayesianGaussianMixture instance is not fitted"):
            getattr(bayes(), call)(X)
    with pytest.raises(ValueError, match="not fitted"):
        bayes().sample()


def test_predictions_agree_with_each_other(covariance_type, prior_type, dtype):
    rows = X.astype(dtype)
    model = bayes(
        n_components=3, covariance_type=covariance_type, random_state=0, max_iter=1000,
        weight_concentration_prior_type=prior_type,
    )  # fmt: skip
    labels = model.fit_predict(rows)
    proba = model.predict_proba(rows)
    np.testing.assert_array_equal(labels, model.predict(rows))
    np.testing.assert_array_equal(labels, proba.argmax(axis=1))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=tolerance("sum of probabilities"))
    each = model.score_samples(rows)
    rtol = tolerance("sums", np.float32)  # in one case the predictions are float32
    np.testing.assert_allclose(model.score(rows), each.mean(dtype=np.float64), rtol=rtol)
    weight = np.arange(len(rows), dtype=float)
    np.testing.assert_allclose(
        model.score(rows, sample_weight=weight), np.average(each, weights=weight), rtol=rtol
    )


@pytest.mark.slow
def test_sample_has_the_moments_of_the_mixture(covariance_type):
    model = bayes(
        n_components=2, covariance_type=covariance_type, random_state=0, max_iter=500
    ).fit(GROUPS)
    rows, labels = model.sample(20_000)
    for k in range(2):
        mine = rows[labels == k]
        assert abs(len(mine) / 20_000 - model.weights_[k]) < 0.02
        np.testing.assert_allclose(mine.mean(axis=0), model.means_[k], atol=0.06)
        c = model.covariances_ if covariance_type == "tied" else model.covariances_[k]
        full = np.eye(2) * c if covariance_type in ("diag", "spherical") else c
        np.testing.assert_allclose(np.cov(mine.T), full, atol=0.08)


def test_pickle_keeps_everything(covariance_type, prior_type):
    model = bayes(
        n_components=3, covariance_type=covariance_type, random_state=0, max_iter=1000,
        weight_concentration_prior_type=prior_type,
    ).fit(X)  # fmt: skip
    copy = pickle.loads(pickle.dumps(model))
    assert_same_bits(copy, model)
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.lower_bounds_ == model.lower_bounds_ and copy.get_params() == model.get_params()
