"""GaussianMixture inside scikit-learn: its tools work, and it behaves like scikit-learn's own
class."""

import pickle
import warnings

import numpy as np
import pytest

from fusedgmm import GaussianMixture, MixtureParameters
from helpers import (
    FITTED,
    assert_close,
    mixture_data,
    of_type,
    precisions_of,
    quiet_fit,
    tolerance,
)
from helpers.beside_sklearn import without_times

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.mixture import GaussianMixture as Theirs  # noqa: E402

X = mixture_data(600, 3, 3)[0]


def start(covariance_type):
    _, weights, means, covariances = mixture_data(1, 3, 3)
    precisions = precisions_of(of_type(covariances, covariance_type), covariance_type)
    return dict(
        n_components=3,
        covariance_type=covariance_type,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
    )


# ---------------------------------------------------------------- parameters, tools


def test_parameters_are_scikit_learns_and_five_more():
    ours, theirs = GaussianMixture().get_params(), Theirs().get_params()
    added = {name: ours.pop(name) for name in sorted(ours.keys() - theirs.keys())}
    assert added == {
        "acceleration": None, "covariances_init": None, "degenerate": "raise", "n_threads": None,
        "stopping": "change"
    }  # fmt: skip
    assert ours.pop("n_init") == "auto" and theirs.pop("n_init") == 1
    assert list(ours.items()) == list(theirs.items())
    assert repr(GaussianMixture(2, tol=0.1)) == "GaussianMixture(n_components=2, tol=0.1)"
    with pytest.raises(ValueError, match="nonsense"):
        GaussianMixture().set_params(nonsense=1)


def test_clone():
    model = GaussianMixture(**start("diag"), tol=0.5, random_state=3).fit(X)
    copy = clone(model)
    assert not hasattr(copy, "means_")
    for name, value in model.get_params().items():
        np.testing.assert_array_equal(getattr(copy, name), value, err_msg=name)


def test_pipeline():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0))
    labels = pipeline.fit_predict(X)
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    np.testing.assert_array_equal(labels, pipeline.predict_proba(X).argmax(axis=1))
    assert np.isfinite(pipeline.score(X))


def test_grid_search_finds_the_number_of_components():
    from sklearn.model_selection import GridSearchCV

    rows = np.random.default_rng(0).normal(size=(300, 2)) + np.repeat([[0], [20], [-20]], 100, 0)
    grid = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2, 3]}, cv=3)
    rows = np.random.default_rng(1).permutation(rows)
    assert grid.fit(rows).best_params_ == {"n_components": 3}
    by_bic = GridSearchCV(
        GaussianMixture(random_state=0),
        {"n_components": [1, 2, 3, 4]},
        scoring=lambda model, X, y=None: -model.bic(X),
    )
    assert by_bic.fit(rows).best_params_ == {"n_components": 3}


@pytest.mark.slow
def test_pickle(covariance_type):
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    copy = pickle.loads(pickle.dumps(model))
    assert_close(copy, model)
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.lower_bounds_ == model.lower_bounds_


def test_sample_weight_need_not_be_an_array():
    from sklearn.utils.estimator_checks import check_sample_weights_not_an_array

    check_sample_weights_not_an_array("GaussianMixture", GaussianMixture())


def test_is_a_density_estimator():
    assert isinstance(GaussianMixture(), sklearn.base.DensityMixin)
    with pytest.raises(NotFittedError, match="This GaussianMixture instance is not fitted yet"):
        GaussianMixture().predict(X)


# ---------------------------------------------------------------- fits


def test_warm_start_60_times_1_is_1_times_60(covariance_type):
    options = start(covariance_type) | dict(tol=0, reg_covar=0)
    whole = quiet_fit(GaussianMixture(**options, max_iter=60), X)
    steps = GaussianMixture(**options, max_iter=1, warm_start=True)
    bounds = [quiet_fit(steps, X).lower_bound_ for _ in range(60)]
    assert steps.n_iter_ == 1 and whole.n_iter_ == len(whole.lower_bounds_)
    # with tol=0 a fit may stop early only if its bound no longer changes
    np.testing.assert_allclose(bounds[: whole.n_iter_], whole.lower_bounds_, rtol=tolerance("sums"))
    rtol = tolerance("same fit")
    np.testing.assert_allclose(steps.means_, whole.means_, rtol=rtol, atol=rtol)


def test_a_warm_start_of_a_converged_fit_converges_at_once(covariance_type):
    model = GaussianMixture(2, covariance_type=covariance_type, warm_start=True, random_state=0)
    assert model.fit(X).n_iter_ > 1
    assert model.fit(X).n_iter_ == 1 and model.converged_


@pytest.mark.parametrize(
    "changed",
    [dict(n_components=3), dict(covariance_type="diag"), dict(n_features=2)],
    ids=lambda changed: next(iter(changed)),
)
def test_warm_start_after_a_change_of_shape_starts_anew(changed):
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(X)
    rows = X[:, : changed.pop("n_features", 3)]
    model.set_params(**changed)
    with pytest.warns(UserWarning, match="has changed since the last fit") as caught:
        model.fit(rows)
    assert [w.filename for w in caught] == [__file__]
    assert_close(model, clone(model).fit(rows))
    assert model.n_features_in_ == rows.shape[1]


def test_n_init_keeps_the_best():
    options = dict(n_components=4, init_params="random_from_data", tol=1e-4, max_iter=15)
    more = [quiet_fit(GaussianMixture(**options, n_init=n, random_state=5), X) for n in range(1, 9)]
    bounds = [model.lower_bound_ for model in more]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) > 1
    for fewer, model in zip(more, more[1:], strict=False):
        assert model.lower_bounds_[-1] == model.lower_bound_
        if model.lower_bound_ == fewer.lower_bound_:  # the new start was no better
            assert_close(model, fewer)


@pytest.mark.parametrize("given", [True, False])
def test_no_iterations_is_the_start(covariance_type, given):
    options = start(covariance_type)
    if not given:
        options = dict(n_components=3, covariance_type=covariance_type, random_state=0)
    model = GaussianMixture(**options, max_iter=0).fit(X)
    assert (model.n_iter_, model.converged_, model.lower_bounds_) == (0, False, [])
    assert model.lower_bound_ == -np.inf
    if given:
        np.testing.assert_allclose(model.weights_, options["weights_init"])
        np.testing.assert_allclose(model.means_, options["means_init"])
        rtol = tolerance("precisions")
        np.testing.assert_allclose(model.precisions_, options["precisions_init"], rtol=rtol)
        assert not np.shares_memory(model.means_, options["means_init"])
    assert model.predict(X).shape == (len(X),)
    assert np.isfinite(model.bic(X))


def test_convergence_warning_points_at_the_caller():
    model = GaussianMixture(3, max_iter=1, tol=0, random_state=0)
    for fit in (model.fit, model.fit_predict):
        with pytest.warns(ConvergenceWarning, match="did not converge") as caught:
            fit(X)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixture(3, random_state=0).fit(X)


@pytest.mark.slow
@pytest.mark.parametrize("verbose", [0, 1, 2, True])
@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("max_iter", [4, 100])
def test_verbose_prints_what_scikit_learn_prints(capsys, verbose, interval, max_iter):
    options = start("full") | dict(
        verbose=verbose, verbose_interval=interval, max_iter=max_iter, n_init=2
    )
    quiet_fit(GaussianMixture(**options), X)
    ours = without_times(capsys.readouterr().out)
    quiet_fit(Theirs(**options), X)
    assert ours == without_times(capsys.readouterr().out)
    assert bool(ours) == bool(verbose)


# ---------------------------------------------------------------- use of a fitted model


def test_criteria_are_scikit_learns(covariance_type):
    options = start(covariance_type) | dict(tol=0, max_iter=3)
    ours, theirs = (quiet_fit(kind(**options), X) for kind in (GaussianMixture, Theirs))
    assert ours._n_parameters() == theirs._n_parameters()
    rtol = tolerance("scores, scikit-learn")
    np.testing.assert_allclose(ours.aic(X), theirs.aic(X), rtol=rtol)
    np.testing.assert_allclose(ours.bic(X), theirs.bic(X), rtol=rtol)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=rtol)


def test_sample_draws_what_scikit_learn_draws(covariance_type):
    options = start(covariance_type) | dict(tol=0, max_iter=3, random_state=0)
    ours, theirs = (quiet_fit(kind(**options), X) for kind in (GaussianMixture, Theirs))
    (rows, labels), (their_rows, their_labels) = ours.sample(50), theirs.sample(50)
    np.testing.assert_array_equal(labels, their_labels)
    rtol = tolerance("sample, scikit-learn")
    np.testing.assert_allclose(rows, their_rows, rtol=rtol, atol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("random_state", [0, np.random.default_rng(0)], ids=["int", "Generator"])
def test_sample_has_the_moments_of_the_mixture(covariance_type, dtype, random_state):
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=random_state)
    model.fit(X.astype(dtype))
    rows, labels = model.sample(40_000)
    assert rows.shape == (40_000, 3) and labels.shape == (40_000,) and labels.dtype == np.int64
    for k in range(3):
        mine = rows[labels == k]
        spread = mine.std(axis=0)
        assert abs(len(mine) / len(rows) - model.weights_[k]) < 0.02
        np.testing.assert_allclose((mine.mean(axis=0) - model.means_[k]) / spread, 0, atol=0.06)
        c = model.covariances_ if covariance_type == "tied" else model.covariances_[k]
        full = np.eye(3) * c if covariance_type in ("diag", "spherical") else c
        scale = np.outer(spread, spread)
        np.testing.assert_allclose((np.cov(mine.T) - full) / scale, 0, atol=0.08)
    assert model.sample()[0].shape == (1, 3)
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="n_samples"):
            model.sample(bad)


def test_float32_weights_that_round_above_one_can_be_sampled():
    weights = np.r_[np.full(10, 0.1), 0.0]
    model = GaussianMixture.from_parameters(
        MixtureParameters.from_covariances(weights, np.zeros((11, 1)), np.ones(11), "spherical")
    )
    model.weights_ = model.weights_.astype(np.float32)
    assert model.weights_[:10].sum(dtype=np.float64) > 1 + 1e-9
    assert len(model.sample(100)[0]) == 100


def test_attributes_set_by_the_user_are_honoured(covariance_type):
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    other = Theirs(2, covariance_type=covariance_type, random_state=1).fit(X[:200])
    for name in FITTED:
        setattr(model, name, getattr(other, name))
    atol = tolerance("fit, scikit-learn")
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), atol=atol)
    np.testing.assert_allclose(model.score(X), other.score(X))
    for name in FITTED:  # lists, as from JSON
        setattr(model, name, getattr(other, name).tolist())
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    np.testing.assert_allclose(model.bic(X), other.bic(X))
    assert model.sample(3)[0].shape == (3, 3)


def test_a_model_from_known_parameters(covariance_type):
    # the common way to avoid fit: set the attributes of a new object
    source = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    model = GaussianMixture(2, covariance_type=covariance_type)
    for name in FITTED:
        setattr(model, name, getattr(source, name))
    np.testing.assert_array_equal(model.predict_proba(X), source.predict_proba(X))


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (3,)])
def test_weights_that_are_set_have_one_axis(shape):
    """scikit-learn also predicts with shape (1, K); see COMPATIBILITY.md."""
    model = GaussianMixture(2, random_state=0).fit(X)
    model.weights_ = np.full(shape, 0.5)
    for method in (model.predict, model.predict_proba, model.score_samples):
        with pytest.raises(ValueError, match=r"weights_.* shape of \(2,\)"):
            method(X)


# ---------------------------------------------------------------- names, numbers of columns


@pytest.mark.parametrize("form", ["pyarrow", "polars", "pandas", "a table of another library"])
def test_feature_names_of_tables(form):
    """An Arrow table has its names in column_names; its columns are the data."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    data = {"a": X[:, 0], "b": X[:, 1]}
    if form == "pyarrow":
        table = pytest.importorskip("pyarrow").table(data)
    elif form == "a table of another library":

        class Table:
            column_names = ["a", "b"]
            columns = [X[:, 0], X[:, 1]]

            def __array__(self, dtype=None, copy=None):
                return X

        table = Table()
    else:
        table = pytest.importorskip(form).DataFrame(data)
    model = GaussianMixture(2, random_state=0).fit(table)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    if form != "a table of another library":
        theirs = sklearn.mixture.GaussianMixture(2, random_state=0).fit(table)
        assert theirs.feature_names_in_.tolist() == ["a", "b"]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    np.testing.assert_array_equal(model.predict(table), model.fit(X).predict(X))


def test_feature_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"] and model.n_features_in_ == 3
    model.predict(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["c", "b", "a"]])
    with pytest.raises(ValueError, match="now missing:\n- c"):
        model.predict(frame[["a", "b"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(pandas.DataFrame({"other": [np.nan, 1.0, 2.0]}))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")


def test_what_is_wrong_with_the_rows_is_the_first_thing_said():
    model = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 3"):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        model.predict(X[0])
    with pytest.raises(ValueError, match="NaN"):
        model.score(X * np.nan)
