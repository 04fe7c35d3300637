"""Together with scikit-learn: models go both ways, its tools, the patch, what is imported when."""

import os
import pickle
import subprocess
import sys
import types
import warnings
from textwrap import dedent

import numpy as np
import pytest
from conftest import mixture_data, of_type

import fusedgmm
from fusedgmm import BayesianGaussianMixture, GaussianMixture, fit_batch

sklearn = pytest.importorskip("sklearn")
import sklearn.mixture  # noqa: E402, F811
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

X, WEIGHTS, MEANS, COVARIANCES = mixture_data(400, 3, 3)
THEIRS = {
    GaussianMixture: sklearn.mixture.GaussianMixture,
    BayesianGaussianMixture: sklearn.mixture.BayesianGaussianMixture,
}
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


@pytest.fixture(params=list(THEIRS), ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def quiet_fit(model, rows=X, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows, **kwargs)


def public(model):
    """The fitted attributes of a model."""
    return {
        name: value
        for name, value in vars(model).items()
        if name.endswith("_") and not name.startswith("_")
    }


def assert_same_state(ours, theirs, but=()):
    """All fitted attributes are the same, to the bit, and neither owns memory of the other."""
    a, b = public(ours), public(theirs)
    assert a.keys() - set(but) == b.keys() - set(but)
    for name in a.keys() & b.keys():
        parts = [v if isinstance(v, tuple) else (v,) for v in (a[name], b[name])]
        for x, y in zip(*parts, strict=True):
            np.testing.assert_array_equal(x, y, strict=True, err_msg=name)
            assert not isinstance(x, np.ndarray) or not np.shares_memory(x, y), name


def given(covariance_type):
    """Covariances of a type, and their precisions."""
    covariances = of_type(COVARIANCES, covariance_type)
    whole = covariance_type in ("full", "tied")
    return covariances, np.linalg.inv(covariances) if whole else 1 / covariances


# ---------------------------------------------------------------- models, both ways


def assert_same_answers(a, b, rows):
    rtol = 1e-4 if rows.dtype == np.float32 else 1e-9
    np.testing.assert_array_equal(a.predict(rows), b.predict(rows))
    np.testing.assert_allclose(a.predict_proba(rows), b.predict_proba(rows), rtol=0, atol=rtol)
    np.testing.assert_allclose(a.score_samples(rows), b.score_samples(rows), rtol=rtol)
    with warnings.catch_warnings():
        # float32 covariances of scikit-learn's are symmetric to the last bits only, on some CPUs
        warnings.filterwarnings("ignore", "covariance is not symmetric")
        np.testing.assert_array_equal(a.sample(5)[1], b.sample(5)[1])


def test_a_model_of_scikit_learns_becomes_ours(kind, covariance_type, dtype):
    rows = X.astype(dtype)
    options = dict(covariance_type=covariance_type, max_iter=5, tol=0.5, random_state=3)
    theirs = quiet_fit(THEIRS[kind](n_components=3, **options), rows)
    ours = kind.from_sklearn(theirs)
    assert type(ours) is kind
    assert ours.get_params().items() >= theirs.get_params().items()
    assert_same_state(ours, theirs)
    assert_same_answers(ours, theirs, rows)


def test_a_model_of_ours_becomes_scikit_learns(kind, covariance_type, dtype):
    rows = X.astype(dtype)
    options = dict(covariance_type=covariance_type, max_iter=5, random_state=3)
    ours = quiet_fit(kind(n_components=3, **options), rows)
    theirs = ours.to_sklearn()
    assert type(theirs) is THEIRS[kind]
    assert theirs.get_params().items() <= ours.get_params().items()
    assert_same_state(ours, theirs)
    assert_same_answers(ours, theirs, rows)
    assert_same_state(kind.from_sklearn(theirs), ours)


def test_both_ways_go_without_a_fit_and_with_names(kind):
    assert not public(kind.from_sklearn(THEIRS[kind](n_components=4)))
    assert not public(kind(n_components=4).to_sklearn())
    assert kind.from_sklearn(THEIRS[kind](n_components=4)).n_components == 4
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    ours = quiet_fit(kind(n_components=2, random_state=0), frame)
    theirs = ours.to_sklearn()
    assert theirs.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(theirs.predict(frame), ours.predict(frame))


def test_a_model_that_went_over_can_be_fitted_on(kind):
    for model in (
        kind.from_sklearn(quiet_fit(THEIRS[kind](n_components=2, max_iter=2, warm_start=True))),
        quiet_fit(kind(n_components=2, max_iter=2, warm_start=True, random_state=0)).to_sklearn(),
    ):
        before = model.lower_bound_
        assert quiet_fit(model.set_params(max_iter=50)).lower_bound_ >= before


def test_what_a_subclass_fixes_goes_over(kind):
    """Its constructor, and so get_params, does not have it."""

    class Ours(kind):
        def __init__(self, n_components=2):
            super().__init__(n_components=n_components, covariance_type="diag", random_state=0)

    class Theirs(THEIRS[kind]):
        def __init__(self, n_components=2):
            super().__init__(n_components=n_components, covariance_type="diag", random_state=0)

    for model, other in (
        ((ours := quiet_fit(Ours())), ours.to_sklearn()),
        ((theirs := quiet_fit(Theirs())), kind.from_sklearn(theirs)),
    ):
        assert (other.covariance_type, other.random_state) == ("diag", 0)
        np.testing.assert_allclose(other.score_samples(X), model.score_samples(X))


def test_only_models_of_the_same_name_go_over():
    other = THEIRS[BayesianGaussianMixture]()
    with pytest.raises(TypeError, match="expected a GaussianMixture, got a BayesianGauss"):
        GaussianMixture.from_sklearn(other)
    with pytest.raises(TypeError, match="expected a BayesianGaussianMixture, got a dict"):
        BayesianGaussianMixture.from_sklearn({})
    # scikit-learn takes no Generator
    ours = GaussianMixture(random_state=np.random.default_rng(0))
    assert ours.to_sklearn().random_state is None


# ---------------------------------------------------------------- known parameters


def test_a_model_from_parameters(covariance_type):
    covariances, precisions = given(covariance_type)
    options = dict(covariance_type=covariance_type, tol=0.5, random_state=0)
    a = GaussianMixture.from_parameters(WEIGHTS, MEANS, covariances=covariances, **options)
    b = GaussianMixture.from_parameters(WEIGHTS, MEANS, precisions=precisions, **options)
    np.testing.assert_array_equal(a.covariances_, covariances)
    np.testing.assert_allclose(b.precisions_, precisions, rtol=1e-12)
    for model in (a, b):
        np.testing.assert_array_equal(model.weights_, WEIGHTS)
        np.testing.assert_array_equal(model.means_, MEANS)
        assert model.get_params().items() >= (options | {"n_components": 3}).items()
        assert model.n_features_in_ == 3
        theirs = model.to_sklearn()
        assert_same_answers(model, theirs, X)
        np.testing.assert_allclose(model.bic(X), theirs.bic(X))
        assert_same_state(pickle.loads(pickle.dumps(model)), model)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(X), rtol=1e-10)


def test_parameters_are_copied_and_may_be_lists():
    means = MEANS.copy()
    model = GaussianMixture.from_parameters(WEIGHTS, means, covariances=COVARIANCES)
    means[:] = 0
    np.testing.assert_array_equal(model.means_, MEANS)
    model = GaussianMixture.from_parameters(
        [0.5, 0.5], [[0], [1]], precisions=[1, 2], covariance_type="spherical"
    )
    assert model.predict([[-3.0], [1.0]]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(covariances=None), "exactly one of covariances and precisions"),
        (dict(precisions=COVARIANCES), "exactly one of covariances and precisions"),
        (dict(weights=WEIGHTS[:2]), r"'weights' should have the shape of \(3,\)"),
        (dict(weights=WEIGHTS / 2), r"normalized, but got sum\(weights\) = 0.5"),
        (
            dict(weights=[1.5, -0.25, -0.25]),
            r"range \[0, 1\].*first outside is 1.5, of component 0",
        ),
        (dict(weights=[0.5, -0.25, 0.75]), r"range \[0, 1\].*outside is -0.25, of component 1"),
        (dict(means=MEANS[0]), "means must have shape"),
        (dict(means=MEANS * np.nan), "means contains NaN"),
        (dict(means=MEANS[:, :2]), "'full covariance' should have the shape"),
        (dict(covariances=-COVARIANCES), "positive-definite; it is not in component 0"),
        (dict(covariances=COVARIANCES[0]), "'full covariance' should have the shape"),
        (dict(covariance_type="oval"), "oval"),
        (dict(tol=-1), "tol must be"),
        (dict(degenerate="ignore"), "degenerate"),
    ],
)
def test_parameters_that_are_no_mixtures_are_named(changed, message):
    known = dict(weights=WEIGHTS, means=MEANS, covariances=COVARIANCES) | changed
    with pytest.raises(ValueError, match=message):
        GaussianMixture.from_parameters(known.pop("weights"), known.pop("means"), **known)


def given_start(covariance_type, **more):
    return dict(
        n_components=3,
        covariance_type=covariance_type,
        weights_init=WEIGHTS,
        means_init=MEANS,
        **more,
    )


def test_given_precisions_are_the_ones_used(covariance_type, dtype):
    covariances, precisions = given(covariance_type)
    precisions = precisions.astype(dtype)
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    options = given_start(covariance_type, precisions_init=precisions, max_iter=0)
    model = GaussianMixture(**options).fit(X.astype(dtype))
    np.testing.assert_allclose(model.precisions_, precisions, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=rtol, atol=rtol)
    # the factor is scikit-learn's, upper triangular
    factors = model.precisions_cholesky_
    if covariance_type in ("full", "tied"):
        np.testing.assert_array_equal(factors, np.triu(factors))
        product = factors @ np.swapaxes(factors, -1, -2)
        np.testing.assert_allclose(product, precisions, rtol=rtol, atol=rtol)
    # alone, beside a start of our own
    alone = GaussianMixture(
        3, covariance_type=covariance_type, precisions_init=precisions, max_iter=0, random_state=0
    ).fit(X.astype(dtype))
    np.testing.assert_array_equal(alone.precisions_cholesky_, factors)


def test_precisions_whose_covariances_float64_cannot_hold(covariance_type):
    """A model cannot have them; a start can, in a fit and in a batch alike."""
    precisions = of_type(np.stack([np.eye(2)] * 2) * 1e-320, covariance_type)
    means = np.array([[0.0, 0.0], [5.0, 5.0]])
    with pytest.raises(ValueError, match="float64 cannot hold the covariances_"):
        GaussianMixture.from_parameters(
            [0.5, 0.5], means, precisions=precisions, covariance_type=covariance_type
        )
    options = dict(
        covariance_type=covariance_type, means_init=means, precisions_init=precisions, max_iter=500
    )
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = GaussianMixture(2, random_state=0, **options).fit(X)
    result = fit_batch([X], 2, random_state=[0], **options)
    np.testing.assert_array_equal(result.means[0], model.means_)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random_from_data"])
def test_given_precisions_spare_the_start_its_own(init, covariance_type):
    """As many components as rows: each starts at one, and has no width but the given."""
    _, precisions = given(covariance_type)
    options = dict(covariance_type=covariance_type, init_params=init, reg_covar=0, max_iter=0)
    model = GaussianMixture(3, **options, precisions_init=precisions, random_state=0).fit(X[:3])
    np.testing.assert_allclose(model.precisions_, precisions)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(3, **options, random_state=0).fit(X[:3])


def test_given_covariances_are_the_twin_of_precisions(covariance_type):
    covariances, precisions = given(covariance_type)
    a = quiet_fit(GaussianMixture(**given_start(covariance_type, covariances_init=covariances)))
    b = quiet_fit(GaussianMixture(**given_start(covariance_type, precisions_init=precisions)))
    assert a.n_iter_ == b.n_iter_
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-10)
    np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-7, atol=1e-9)
    start = GaussianMixture(
        **given_start(covariance_type, covariances_init=covariances, max_iter=0)
    )
    np.testing.assert_array_equal(start.fit(X).covariances_, covariances)
    with pytest.raises(ValueError, match="precisions_init or covariances_init, not both"):
        a.set_params(precisions_init=precisions).fit(X)
    with pytest.raises(ValueError, match=f"'{covariance_type} covariance' should be"):
        GaussianMixture(**given_start(covariance_type, covariances_init=-covariances)).fit(X)


def test_precisions_of_the_start_change_nothing(covariance_type, dtype):
    rows = X.astype(dtype)
    options = dict(n_components=3, n_starts=1, covariance_type=covariance_type, random_state=0)
    start = GaussianMixture(**options, max_iter=0).fit(rows)
    a = quiet_fit(GaussianMixture(**options), rows)
    b = quiet_fit(GaussianMixture(**options, precisions_init=start.precisions_), rows)
    assert a.n_iter_ == b.n_iter_
    rtol = 1e-7 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(a.precisions_cholesky_, b.precisions_cholesky_, rtol=rtol, atol=rtol)


def test_a_component_of_one_row_is_said_to_be_singular(covariance_type):
    if covariance_type == "tied":
        rows = np.repeat([[0.0, 1.0], [5.0, 7.0]], 10, axis=0)  # both of them are points
    else:
        rows = np.vstack([X[:, :2], [[300.0, 400.0]]])
    model = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0, random_state=0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        model.fit(rows)
    assert not public(model)


@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
def test_bayesian_starts_of_all_types_are_one(prior_type):
    def scatter(covariance_type):
        model = BayesianGaussianMixture(
            n_components=4,
            covariance_type=covariance_type,
            weight_concentration_prior_type=prior_type,
            max_iter=0,
            random_state=0,
        ).fit(X)
        freedom = np.asarray(model.degrees_of_freedom_)
        return model.covariances_ * freedom.reshape(
            freedom.shape + (1,) * (model.covariances_.ndim - freedom.ndim)
        )

    full, diag = scatter("full"), scatter("diag")
    np.testing.assert_allclose(scatter("tied"), full.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(diag, np.einsum("kii->ki", full), rtol=1e-9)
    np.testing.assert_allclose(scatter("spherical"), diag.mean(axis=1), rtol=1e-9)


def test_score_is_the_mean_of_score_samples(kind, covariance_type, dtype):
    rows = X.astype(dtype)
    model = quiet_fit(kind(n_components=3, covariance_type=covariance_type, random_state=0), rows)
    score = model.score(rows)
    assert type(score) is float and score == model.score_samples(rows).mean()
    ones = model.score(rows, sample_weight=np.ones(len(rows)))
    np.testing.assert_allclose(ones, score, rtol=1e-12 if dtype == np.float64 else 1e-6)


# ---------------------------------------------------------------- scikit-learn's tools


def weights_of_rows():
    return np.random.default_rng(0).integers(0, 4, len(X)).astype(float)


def test_a_pipeline_routes_sample_weight(kind):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weight = weights_of_rows()
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(n_components=2, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = quiet_fit(make_pipeline(scaler, model), sample_weight=weight)
        with pytest.raises(ValueError, match="sample_weight"):  # scikit-learn wants a word about it
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
        results = quiet_fit(grid, sample_weight=weight).cv_results_
    for i, covariance_type in enumerate(("full", "diag")):
        for fold, (fitted, held) in enumerate(folds.split(X)):
            alone = clone(model).set_params(covariance_type=covariance_type)
            quiet_fit(alone, X[fitted], sample_weight=weight[fitted])
            score = alone.score(X[held], sample_weight=weight[held])
            assert results[f"split{fold}_test_score"][i] == score


def test_has_an_html_picture(kind):
    for model in (kind(n_components=7), quiet_fit(kind(n_components=2))):
        html = model._repr_html_()
        assert "sk-top-container" in html and kind.__name__ in html and repr(model) in html
        assert kind.__name__ in model._repr_mimebundle_()["text/html"]


def test_a_clone_is_unfitted_and_alike(kind):
    model = quiet_fit(kind(n_components=2, covariance_type="tied", tol=0.5, n_threads=1))
    copy = clone(model)
    assert type(copy) is kind and not public(copy)
    assert copy.get_params() == model.get_params()


def test_joblib_keeps_a_model_also_mapped_from_a_file(kind, covariance_type, tmp_path):
    import joblib

    model = quiet_fit(kind(n_components=3, covariance_type=covariance_type, random_state=0))
    joblib.dump(model, tmp_path / "model.joblib")
    for mmap_mode in (None, "r"):
        copy = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
        assert_same_state(copy, model)
        np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_a_pickle_holds_plain_things_and_a_format_number(kind):
    model = quiet_fit(kind(n_components=2, random_state=0))
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


# ---------------------------------------------------------------- the patch


@pytest.fixture
def patched():
    """The names that the patch replaced; they are restored at the end."""
    yield fusedgmm.patch_sklearn()
    fusedgmm.unpatch_sklearn()


def namespaces():
    modules = ("sklearn.mixture", "sklearn.mixture._gaussian_mixture")
    modules += ("sklearn.mixture._bayesian_mixture",)
    return {name: dict(vars(sys.modules[name])) for name in modules}


def test_the_patch_says_what_it_replaced_and_is_undone_exactly():
    before = namespaces()
    replaced = fusedgmm.patch_sklearn()
    try:
        assert "sklearn.mixture.GaussianMixture" in replaced
        assert "sklearn.mixture.BayesianGaussianMixture" in replaced
        changed = [
            f"{module}.{name}"
            for module, names in namespaces().items()
            for name, value in names.items()
            if before[module][name] is not value
        ]
        assert sorted(changed) == sorted(replaced)
        assert fusedgmm.patch_sklearn() == []  # they are replaced already
    finally:
        fusedgmm.unpatch_sklearn()
    after = namespaces()
    for module, names in before.items():
        assert names.keys() == after[module].keys()
        assert all(after[module][name] is value for name, value in names.items())
    fusedgmm.unpatch_sklearn()  # nothing is left to do


def test_patched_models_are_ours_and_scikit_learns(kind, patched):
    cls, theirs = getattr(sklearn.mixture, kind.__name__), THEIRS[kind]
    assert cls is not theirs and cls.__name__ == kind.__name__
    options = dict(n_components=2, random_state=0)
    model = quiet_fit(cls(**options))
    assert_same_state(model, quiet_fit(kind(**options)))
    assert isinstance(model, kind) and isinstance(model, theirs) and isinstance(model, cls)
    assert isinstance(theirs(), cls) and issubclass(theirs, cls)  # made before the patch
    other = THEIRS[next(other for other in THEIRS if other is not kind)]
    assert not isinstance(other(), cls) and not isinstance(model, other)
    assert not isinstance(3, cls) and not issubclass(int, cls)
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == repr(kind(**options))
    assert_same_answers(model, kind.from_sklearn(model), X)
    assert type(model.to_sklearn()) is theirs


def test_a_patched_model_outlives_the_patch(kind):
    fusedgmm.patch_sklearn()
    try:
        model = quiet_fit(getattr(sklearn.mixture, kind.__name__)(n_components=2, random_state=0))
        text = pickle.dumps(model)
        assert type(pickle.loads(text)) is type(model)
    finally:
        fusedgmm.unpatch_sklearn()
    copy = pickle.loads(text)
    assert_same_state(copy, model)
    assert isinstance(copy, THEIRS[kind])
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert quiet_fit(copy).n_iter_ == model.n_iter_


def test_subclasses_of_patched_classes(kind, patched):
    class Louder(getattr(sklearn.mixture, kind.__name__)):
        def fit(self, X, y=None):
            self.heard = len(X)
            return super().fit(X)

    model = quiet_fit(Louder(n_components=2, random_state=0))
    assert model.heard == len(X) and not isinstance(THEIRS[kind](), Louder)
    assert_same_state(model, quiet_fit(kind(n_components=2, random_state=0)))
    assert clone(model).get_params() == model.get_params()

    class Inner(getattr(sklearn.mixture, kind.__name__)):
        steps = 0

        def _m_step(self, *args, **kwargs):
            self.steps += 1
            return super()._m_step(*args, **kwargs)

    inner = quiet_fit(Inner(n_components=2, random_state=0))
    assert inner.steps == inner.n_iter_ > 0  # scikit-learn's own fit, which calls it
    assert_same_state(inner, quiet_fit(THEIRS[kind](n_components=2, random_state=0)))


def test_modules_that_imported_the_names_earlier_are_patched_when_asked(monkeypatch):
    theirs = THEIRS[GaussianMixture]
    users = [types.ModuleType(f"a_user_{i}") for i in range(2)]
    for user in users:
        user.Mixture = theirs
        monkeypatch.setitem(sys.modules, user.__name__, user)
    try:
        fusedgmm.patch_sklearn()
        assert users[0].Mixture is theirs
        replaced = fusedgmm.patch_sklearn(everywhere=True)
        assert {"a_user_0.Mixture", "a_user_1.Mixture"} <= set(replaced)
        assert not [name for name in replaced if name.startswith("fusedgmm.")]
        assert users[0].Mixture is sklearn.mixture.GaussianMixture is not theirs
        users[1].Mixture = None  # somebody else's change is not ours to undo
    finally:
        fusedgmm.unpatch_sklearn()
    assert users[0].Mixture is theirs and users[1].Mixture is None
    assert THEIRS[GaussianMixture] is theirs is sklearn.mixture.GaussianMixture


def python(*args, cwd=None, **env):
    return subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | env,
    )


def test_a_script_runs_under_the_patch_as_it_would_without(tmp_path):
    (tmp_path / "beside.py").write_text("from sklearn.mixture import GaussianMixture\n")
    (tmp_path / "script.py").write_text(
        dedent("""
        import pickle, sys
        from beside import GaussianMixture
        import fusedgmm

        class Mine(GaussianMixture):
            pass

        if __name__ == "__main__":
            print(sys.argv, issubclass(Mine, fusedgmm.GaussianMixture), __file__)
            assert type(pickle.loads(pickle.dumps(Mine(2)))) is Mine
            sys.exit(int(sys.argv[2]))
        """)
    )
    script = str(tmp_path / "script.py")
    done = python("-m", "fusedgmm.patch", script, "--exit", "3")
    assert done.returncode == 3, done.stderr
    assert done.stdout == f"{[script, '--exit', '3']} True {script}\n"
    said = done.stderr.splitlines()
    assert "fusedgmm in place of sklearn.mixture.GaussianMixture" in said
    assert "fusedgmm in place of sklearn.mixture.BayesianGaussianMixture" in said


def test_an_error_of_a_script_under_the_patch_is_its_own(tmp_path, monkeypatch):
    from fusedgmm import patch

    script = str(tmp_path / "script.py")
    (tmp_path / "script.py").write_text("import sys\nraise KeyError(sys.argv, sys.path[0])\n")
    monkeypatch.setattr(sys, "argv", ["patch", script, "more"])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    try:
        with pytest.raises(KeyError) as caught:
            patch.main()
    finally:
        fusedgmm.unpatch_sklearn()
    # with python -P no script finds what lies beside it
    first = "" if sys.flags.safe_path else str(tmp_path)
    assert caught.value.args == ([script, "more"], first)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno) == (script, 1)  # counted from 0


def test_the_patch_says_how_to_use_it(capsys, monkeypatch):
    from fusedgmm import _patch, patch

    for args in ([], ["-h"], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["patch", *args])
        with pytest.raises(SystemExit, match="usage: python -m fusedgmm.patch script.py args"):
            patch.main()
    with pytest.raises(AttributeError, match="no attribute 'sklearn_Nothing'"):
        _ = _patch.sklearn_Nothing


# ---------------------------------------------------------------- what is imported, and when


def test_importing_is_quick_and_brings_only_numpy(tmp_path):
    code = dedent("""
        import sys
        from time import process_time
        import numpy
        before = process_time()
        import fusedgmm
        print(1e3 * (process_time() - before))
        for name in ("sklearn", "scipy", "pandas", "polars", "matplotlib", "joblib", "tqdm"):
            assert name not in sys.modules, name
    """)
    best = float("inf")
    for _ in range(5):  # time of the processor; the first run writes the bytecode
        done = python("-c", code, PYTHONPYCACHEPREFIX=str(tmp_path), PYTHONDONTWRITEBYTECODE="")
        assert done.returncode == 0, done.stderr
        best = min(best, float(done.stdout))
        if best < 60:
            break
    assert best < 60, "milliseconds beyond NumPy's own import"


def test_scikit_learn_may_come_later():
    done = python(
        "-W",
        "error",
        "-c",
        dedent("""
        import pickle, sys
        import numpy as np
        from fusedgmm import BayesianGaussianMixture, GaussianMixture

        X = np.random.default_rng(0).normal(size=(60, 2))
        before = [GaussianMixture(2, random_state=0).fit(X),
                  BayesianGaussianMixture(n_components=2, random_state=0, tol=0.1).fit(X)]
        class Mine(GaussianMixture):
            pass
        assert "sklearn" not in sys.modules

        from sklearn.base import BaseEstimator, DensityMixin, clone
        from sklearn.exceptions import NotFittedError
        from sklearn.pipeline import make_pipeline
        import sklearn

        for model in before:
            again = clone(model).fit(X)
            assert (again.means_ == model.means_).all() and repr(again) == repr(model)
            assert (make_pipeline(model).predict(X) == model.predict(X)).all()
            assert isinstance(model, BaseEstimator) and isinstance(model, DensityMixin)
            assert model._repr_html_() and model.to_sklearn().n_components == 2
            assert type(pickle.loads(pickle.dumps(model))) is type(model)
            with sklearn.config_context(enable_metadata_routing=True):
                model.set_fit_request(sample_weight=True)
        assert issubclass(Mine, DensityMixin) and hasattr(Mine, "set_fit_request")
        try:
            GaussianMixture().predict(X)
        except NotFittedError:
            print("done")
        """),
    )
    assert done.stdout == "done\n", done.stderr
