"""GaussianMixtureSearch: select as an estimator."""

import numpy as np
import pytest

from fusedgmm import GaussianMixtureSearch, select
from helpers.batches import assert_same_model, rows

X = rows(300, 2, k=3)


def test_it_is_the_selection():
    weight = np.random.default_rng(0).random(len(X))
    options = dict(n_components=[1, 2, 3], criterion="icl", random_state=1, n_init=2)
    search = GaussianMixtureSearch(**options).fit(X, sample_weight=weight)
    best = select(X, sample_weight=weight, **options).best_
    assert_same_model(search.best_estimator_, best)
    assert search.best_estimator_ is search.selection_.best_
    assert (search.n_components_, search.covariance_type_) == (
        best.n_components, best.covariance_type
    )  # fmt: skip
    for name in ("predict", "predict_proba", "score_samples"):
        np.testing.assert_array_equal(getattr(search, name)(X), getattr(best, name)(X))
    for name in ("score", "aic", "bic"):
        assert getattr(search, name)(X) == getattr(best, name)(X)
    assert search.score(X, sample_weight=weight) == best.score(X, sample_weight=weight)
    np.testing.assert_array_equal(search.sample(5)[0], best.sample(5)[0])
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_",
                 "converged_", "n_iter_", "lower_bound_", "n_features_in_"):  # fmt: skip
        np.testing.assert_array_equal(getattr(search, name), getattr(best, name))


def test_before_the_fit():
    search = GaussianMixtureSearch()
    assert repr(search) == "GaussianMixtureSearch()"
    assert not hasattr(search, "means_") and not hasattr(search, "n_features_in_")
    with pytest.raises(ValueError, match="not fitted yet"):
        search.predict(X)


def test_a_fit_that_fails_changes_nothing():
    search = GaussianMixtureSearch([1, 2], random_state=0).fit(X)
    before = search.best_estimator_
    with pytest.raises(ValueError, match="no candidate could be fitted"):
        search.fit(np.ones((9, 2)))
    assert search.best_estimator_ is before


def test_no_convergence_is_a_warning():
    with pytest.warns(UserWarning, match="did not converge: increase max_iter or tol"):
        GaussianMixtureSearch(3, covariance_types="full", max_iter=1, tol=0.0).fit(X)


def test_in_scikit_learns_tools():
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    search = GaussianMixtureSearch([1, 2, 3], random_state=0)
    pipeline = make_pipeline(StandardScaler(), search)
    labels = pipeline.fit_predict(X)
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    assert np.isfinite(cross_val_score(search, X)).all()
    copy = clone(search)
    assert copy.get_params() == search.get_params() and not hasattr(copy, "selection_")
    frame = pandas.DataFrame(X, columns=["a", "b"])
    assert copy.fit(frame).feature_names_in_.tolist() == ["a", "b"]
