"""Saved models: loaded unchanged; errors name damaged files."""

import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, fit_batch
from helpers.archives import parsed, rewrite

TYPES = ("full", "tied", "diag", "spherical")
PRIORS = ("dirichlet_process", "dirichlet_distribution")


def data(dtype=np.float64, n=200):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 2)) * 6
    return (centres[rng.integers(3, size=n)] + rng.normal(size=(n, 2))).astype(dtype)


def quiet_fit(model, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X)


def models(covariance_type="full", dtype=np.float64):
    """Fitted models of both classes, with options of every kind."""
    X = data(dtype)
    shape = dict(covariance_type=covariance_type)
    yield quiet_fit(GaussianMixture(3, random_state=0, **shape), X)
    yield quiet_fit(
        GaussianMixture(
            np.int64(2),
            weights_init=[0.5, 0.5],
            means_init=X[:2],
            max_iter=0,
            n_init=3,
            tol=np.float32(0.5),
            random_state=np.random.default_rng(0),
            **shape,
        ),
        X,
    )
    repaired = np.repeat(X[:8], 4, axis=0)
    yield quiet_fit(
        GaussianMixture(6, reg_covar=0, degenerate="repair", random_state=1, **shape), repaired
    )
    for prior in PRIORS:
        kind = dict(weight_concentration_prior_type=prior, random_state=0, max_iter=20)
        yield quiet_fit(BayesianGaussianMixture(n_components=3, **kind, **shape), X)
    yield quiet_fit(
        BayesianGaussianMixture(
            n_components=2, mean_prior=[1.0, 2.0], weight_concentration_prior=0.5, **shape
        ),
        X,
    )


def public(model):
    return {name: value for name, value in vars(model).items() if name.endswith("_")}


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    else:
        assert a == b


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_what_is_saved_is_loaded(tmp_path, covariance_type, dtype):
    path, X = tmp_path / "model.npz", data(dtype, 50)
    for model in models(covariance_type, dtype):
        model.save(path)
        loaded = type(model).load(path)
        assert public(loaded).keys() == public(model).keys()
        for name, value in public(model).items():
            assert_same(getattr(loaded, name), value)
        for method in ("predict", "predict_proba", "score_samples"):
            assert_same(getattr(loaded, method)(X), getattr(model, method)(X))
        for name, value in model.get_params().items():
            if isinstance(value, np.random.Generator):
                value = None
            found = getattr(loaded, name)
            if isinstance(value, (list, np.ndarray)):
                np.testing.assert_array_equal(found, value)
            else:
                assert found == value and type(found) in (bool, int, float, str, type(None))


def test_a_loaded_model_is_saved_with_the_same_bytes_in_its_arrays(tmp_path):
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    for model in models():
        model.save(one)
        type(model).load(one).save(two)
        with np.load(one) as a, np.load(two) as b:
            assert sorted(a.files) == sorted(b.files)
            for name in a.files:
                assert a[name].tobytes() == b[name].tobytes(), name


def test_a_loaded_model_is_fitted_and_resumed_like_the_saved_one(tmp_path):
    path, X = tmp_path / "model.npz", data()
    for cls in (GaussianMixture, BayesianGaussianMixture):
        model = quiet_fit(cls(n_components=3, random_state=0, warm_start=True, max_iter=3), X)
        model.save(path)
        loaded = cls.load(path)
        quiet_fit(model, X), quiet_fit(loaded, X)
        for name, value in public(model).items():
            assert_same(getattr(loaded, name), value)


def test_names_of_columns_are_kept(tmp_path):
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "model.npz"
    frame = pandas.DataFrame(data(), columns=["Länge", "width"])
    model = GaussianMixture(2, random_state=0).fit(frame)
    model.save(path)
    loaded = GaussianMixture.load(path)
    assert_same(loaded.feature_names_in_, model.feature_names_in_)
    assert_same(loaded.predict(frame), model.predict(frame))  # without a warning
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame.rename(columns={"width": "height"}))


def test_a_model_of_scikit_learn(tmp_path):
    mixture = pytest.importorskip("sklearn.mixture")
    path = tmp_path / "model.npz"
    for covariance_type in TYPES:
        for ours in (GaussianMixture, BayesianGaussianMixture):
            theirs = getattr(mixture, ours.__name__)
            fitted = quiet_fit(
                theirs(n_components=3, covariance_type=covariance_type, random_state=0), data()
            )
            model = ours.from_sklearn(fitted)
            model.save(path)
            np.testing.assert_array_equal(ours.load(path).predict(data()), fitted.predict(data()))


def test_models_of_a_batch_and_of_parameters(tmp_path):
    path = tmp_path / "model.npz"
    from_batch = fit_batch([data(), data(np.float64, 60)], [1, 3], random_state=0)[1]
    for model in (from_batch, GaussianMixture.from_parameters(from_batch.parameters)):
        model.save(path)
        assert_same(GaussianMixture.load(path).score_samples(data()), model.score_samples(data()))


def test_a_subclass_is_loaded_as_itself_or_as_what_it_extends(tmp_path):
    class Mine(GaussianMixture):
        pass

    path = tmp_path / "model.npz"
    Mine(2, random_state=0).fit(data()).save(path)
    assert type(Mine.load(path)) is Mine
    assert type(GaussianMixture.load(path)) is GaussianMixture
    with pytest.raises(ValueError, match="holds fusedgmm.GaussianMixture, not fusedgmm.Bayesian"):
        BayesianGaussianMixture.load(path)


def test_a_patched_model_is_saved_as_ours(tmp_path):
    mixture = pytest.importorskip("sklearn.mixture")
    import fusedgmm

    path = tmp_path / "model.npz"
    fusedgmm.patch_sklearn()
    try:
        model = mixture.GaussianMixture(2, random_state=0).fit(data())
        model.save(path)
        assert type(type(model).load(path)) is type(model)
    finally:
        fusedgmm.unpatch_sklearn()
    assert_same(GaussianMixture.load(path).means_, model.means_)


def test_what_cannot_be_saved(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(ValueError, match="not fitted yet"):
        GaussianMixture().save(path)
    model = GaussianMixture(2, random_state=0).fit(data())
    with pytest.raises(ValueError, match=r"model.pkl: the name must end in .npz"):
        model.save(tmp_path / "model.pkl")
    model.set_params(means_init=object())
    with pytest.raises(TypeError, match="means_init=<object .* cannot be saved"):
        model.save(path)
    model.set_params(means_init=None).weights_ = [0.5, 0.6]
    with pytest.raises(ValueError, match="normalized"):
        model.save(path)
    model.weights_ = [0.25, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"weights_ is float64 of shape \(3,\), expected \(2,\)"):
        model.save(path)
    assert not path.exists()
    model.weights_ = [0.25, 0.75]  # a list is accepted, too
    model.save(path)
    assert GaussianMixture.load(path).weights_.tolist() == [0.25, 0.75]


# ---- damaged files ----


def options(**changes):
    def change(header):
        header["meta"]["options"] |= changes
        return header

    return parsed(change)


def without(*names):
    def change(header):
        for name in names:
            del header["meta"]["options"][name]
        return header

    return parsed(change)


def meta(**changes):
    def change(header):
        header["meta"] |= changes
        return header

    return parsed(change)


DAMAGE = [
    (dict(means_=None), "means_"),
    (dict(weights_=None), "weights_ is missing"),
    (dict(n_iter_=None), "n_iter_ is missing"),
    (dict(means_=lambda a: a[0]), "means_"),
    (dict(means_=lambda a: a[:, :1]), "shape"),
    (dict(weights_=lambda a: a * 2), "normalized"),
    (dict(weights_=lambda a: a.astype(np.int64)), "weights_ is int64"),
    (dict(weights_=lambda a: a.astype(np.float16)), "weights_ is float16"),
    (dict(weights_=lambda a: a.astype("S")), "weights_ is"),
    (dict(covariances_=lambda a: a * np.nan), "covariances_ contains NaN"),
    (dict(precisions_=lambda a: a * np.inf), "precisions_ contains"),
    (dict(precisions_cholesky_=lambda a: -a), "positive on the diagonal"),
    (dict(converged_=lambda a: np.array(1)), "converged_ is int64"),
    (dict(n_iter_=lambda a: np.array(-1)), "n_iter_ must be greater than -1"),
    (dict(n_features_in_=lambda a: np.array(7)), "n_features_in_ must be 2"),
    (dict(lower_bound_=lambda a: np.array(np.nan)), "lower_bound_ contains NaN"),
    (dict(lower_bounds_=lambda a: a[:, None]), "lower_bounds_"),
    (dict(repairs_=lambda a: np.zeros((1, 2), int)), "repairs_"),
    (dict(strange_=lambda a: np.ones(3)), "strange_ is not an attribute of GaussianMixture"),
    (dict(option_strange=lambda a: np.ones(3)), "strange"),
    (dict(header=options(strange=1)), "strange"),
    (dict(header=options(covariance_type="round")), "unknown covariance_type 'round'"),
    (dict(header=options(covariance_type="diag")), "shape"),
    (dict(header=options(n_init="always")), "n_init"),
    (dict(header=options(tol="0.1")), "tol must be"),
    (dict(header=options(n_threads="x")), "n_threads must be an int"),
    (dict(header=options(n_threads=0)), "n_threads must be an int"),
    (dict(header=options(warm_start="no")), "warm_start must be True or False"),
    (dict(header=options(random_state="x")), "random_state must be"),
    (dict(header=options(random_state=-1)), "0 and"),
    (dict(header=options(means_init="x")), "means_init has dtype"),
    (dict(header=options(means_init={"a": 1})), "means_init is a dict"),
    (dict(header=options(weights_init=[None])), "weights_init contains NaN"),
    (dict(header=without("n_components", "tol")), "n_components, tol missing"),
    (dict(header=meta(options=[1])), "GaussianMixture"),
    (dict(header=meta(feature_names_in_=["a"])), "feature_names_in_ must be 2 strings"),
    (dict(header=meta(feature_names_in_=["a", 1])), "feature_names_in_ must be 2 strings"),
    (dict(header=meta(feature_names_in_="ab")), "feature_names_in_ must be 2 strings"),
    (dict(header=parsed(lambda h: h | {"format": 2})), "has format 2; this version reads 1"),
    (dict(header=parsed(lambda h: h | {"kind": "fusedgmm.Forest"})), "holds fusedgmm.Forest"),
    (dict(header=parsed(lambda h: h | {"meta": {}})), "options"),
    (dict(header=parsed(lambda h: h | {"meta": []})), "header"),
    (dict(header=parsed(lambda h: [h])), "not a whole file"),
]


@pytest.mark.parametrize(("changes", "message"), DAMAGE, ids=str)
def test_damaged_models_are_refused(tmp_path, changes, message):
    path = tmp_path / "model.npz"
    GaussianMixture(3, random_state=0).fit(data()).save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        GaussianMixture.load(path)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(weight_concentration_=lambda a: a[..., :1]), "weight_concentration_"),
        (dict(weight_concentration_=lambda a: -a), "weight_concentration_ must be greater than 0"),
        (dict(degrees_of_freedom_=lambda a: a * 0), "degrees_of_freedom_ must be greater than 1"),
        (dict(mean_precision_=None), "mean_precision_ is missing"),
        (dict(covariance_prior_=lambda a: a[0]), "covariance_prior_"),
        (dict(mean_prior_=lambda a: a * np.nan), "mean_prior_ contains NaN"),
        (dict(repairs_=lambda a: np.zeros((0, 3), int)), "repairs_ is not an attribute"),
        (dict(header=options(mean_prior="x")), "mean_prior has dtype"),
        (dict(header=options(covariance_prior=[[None]])), "covariance_prior contains NaN"),
        (dict(header=options(degrees_of_freedom_prior="x")), "degrees_of_freedom_prior must be"),
        (dict(header=options(degrees_of_freedom_prior=-1)), "degrees_of_freedom_prior"),
    ],
    ids=str,
)
def test_damaged_bayesian_models_are_refused(tmp_path, prior, changes, message):
    path = tmp_path / "model.npz"
    options = dict(weight_concentration_prior_type=prior, random_state=0, max_iter=500)
    BayesianGaussianMixture(n_components=3, **options).fit(data()).save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        BayesianGaussianMixture.load(path)


def test_every_flipped_byte_is_detected_or_harmless(tmp_path):
    """The loaded model is equal to the saved one, or a ValueError names the file."""
    path = tmp_path / "model.npz"
    model = GaussianMixture(2, random_state=0).fit(data())
    model.save(path)
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(len(whole), size=300):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            loaded = GaussianMixture.load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
        else:  # a date, or another byte without meaning
            assert_same(loaded.means_, model.means_)
            assert_same(loaded.covariances_, model.covariances_)
    assert refused > 200
    for n in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=str(path)):
            GaussianMixture.load(path)


def test_a_pickle_in_a_model_is_not_run(tmp_path):
    path, witness = tmp_path / "model.npz", tmp_path / "witness"
    GaussianMixture(2, random_state=0).fit(data()).save(path)

    class Trap:
        def __reduce__(self):
            return open, (str(witness), "w")

    rewrite(path, weights_=lambda _: np.array([Trap(), Trap()], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded|not a whole file"):
        GaussianMixture.load(path)
    assert not witness.exists()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="not a whole file"):
        GaussianMixture.load(path)
    assert not witness.exists()


def test_missing_files_are_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        GaussianMixture.load(tmp_path / "none.npz")


def test_saving_keeps_what_was_there_where_it_fails(tmp_path):
    path = tmp_path / "model.npz"
    model = GaussianMixture(2, random_state=0).fit(data())
    model.save(path)
    before = path.read_bytes()
    model.weights_ = model.weights_ * 2
    with pytest.raises(ValueError, match="'weights'"):
        model.save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_importing_fusedgmm_does_not_import_what_files_need():
    code = "import sys, fusedgmm; print('fusedgmm._files' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
