"""The models with scikit-learn's tools: pipelines, searches, clones, joblib, HTML
representations."""

import pickle
import types

import numpy as np
import pytest

from helpers import assert_same_state, mixture_data, public, quiet_fit
from helpers.beside_sklearn import clone, sklearn

X = mixture_data(400, 3, 3)[0]


def weights_of_rows():
    return np.random.default_rng(0).integers(0, 4, len(X)).astype(float)


def test_a_pipeline_routes_sample_weight(kind):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weight = weights_of_rows()
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(n_components=2, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = quiet_fit(make_pipeline(scaler, model), X, sample_weight=weight)
        with pytest.raises(ValueError, match="sample_weight"):  # its routing must be requested
            make_pipeline(scaler, kind()).fit(X, sample_weight=weight)
    rows = StandardScaler().fit_transform(X)
    alone = quiet_fit(clone(model), rows, sample_weight=weight)
    assert_same_state(routed[-1], alone)
    assert not np.array_equal(alone.means_, quiet_fit(clone(model), rows).means_)


def test_a_grid_search_routes_sample_weight(kind):
    from sklearn.model_selection import GridSearchCV, KFold

    weight, folds = weights_of_rows(), KFold(2)
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(n_components=2, random_state=0, max_iter=300)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        grid = GridSearchCV(model, {"covariance_type": ["full", "diag"]}, cv=folds)
        results = quiet_fit(grid, X, sample_weight=weight).cv_results_
    for i, covariance_type in enumerate(("full", "diag")):
        for fold, (fitted, held) in enumerate(folds.split(X)):
            alone = clone(model).set_params(covariance_type=covariance_type)
            quiet_fit(alone, X[fitted], sample_weight=weight[fitted])
            score = alone.score(X[held], sample_weight=weight[held])
            assert results[f"split{fold}_test_score"][i] == score


def test_has_an_html_representation(kind):
    for model in (kind(n_components=7), quiet_fit(kind(n_components=2), X)):
        html = model._repr_html_()
        assert "sk-top-container" in html and kind.__name__ in html and repr(model) in html
        assert kind.__name__ in model._repr_mimebundle_()["text/html"]


def test_a_clone_is_unfitted_and_alike(kind):
    model = quiet_fit(kind(n_components=2, covariance_type="tied", tol=0.5, n_threads=1), X)
    copy = clone(model)
    assert type(copy) is kind and not public(copy)
    assert copy.get_params() == model.get_params()


def test_joblib_keeps_a_model_also_mapped_from_a_file(kind, covariance_type, tmp_path):
    import joblib

    model = quiet_fit(kind(n_components=3, covariance_type=covariance_type, random_state=0), X)
    joblib.dump(model, tmp_path / "model.joblib")
    for mmap_mode in (None, "r"):
        copy = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
        assert_same_state(copy, model)
        np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_a_pickle_holds_plain_things_and_a_format_number(kind):
    model = quiet_fit(kind(n_components=2, random_state=0), X)
    state = model.__getstate__()
    assert state["_format"] == 1
    plain = (np.ndarray, bool, int, float, str, list, tuple, types.NoneType)
    assert {name: value for name, value in state.items() if type(value) not in plain} == {}
    for known in (2, None):
        with pytest.raises(ValueError, match="pickled by another version of fusedgmm"):
            kind().__setstate__(state | {"_format": known})
    copy = kind()
    copy.__setstate__(state)
    assert_same_state(pickle.loads(pickle.dumps(copy)), model, but=public(model))
    assert copy.get_params() == model.get_params()
