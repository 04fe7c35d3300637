"""Conversions between models, parameters and statistics, without loss."""

import pickle

import numpy as np
import pytest

from fusedgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureParameters,
    SufficientStatistics,
    accumulate,
)
from helpers.archives import replaced, rewrite

ARRAYS = ("weights", "means", "covariances", "precisions_cholesky")
SUMS = ("nk", "sx", "sxx")


def data(n=300, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 2)) * 6
    return (centres[rng.integers(3, size=n)] + rng.normal(size=(n, 2))).astype(dtype)


@pytest.fixture
def model(covariance_type, dtype):
    options = dict(covariance_type=covariance_type, random_state=0, tol=1e-2)
    return GaussianMixture(3, **options).fit(data(dtype=dtype))


def assert_same(a, b, names):
    for name in names:
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype and x.tobytes() == y.tobytes(), name


def test_parameters_and_model_are_one(model, covariance_type, dtype):
    X, parameters = data(50, 1, dtype), model.parameters
    assert isinstance(parameters, MixtureParameters)
    assert parameters.covariance_type == covariance_type
    for name in ARRAYS:
        array = getattr(parameters, name)
        assert array.dtype == np.float64 and not array.flags.writeable
        np.testing.assert_array_equal(array, getattr(model, name + "_"))
    copy = GaussianMixture.from_parameters(parameters, tol=0.5)
    assert copy.tol == 0.5 and copy.n_components == 3
    np.testing.assert_array_equal(copy.score_samples(X), model.score_samples(X))
    assert_same(copy.parameters, parameters, ARRAYS)
    parameters = pickle.loads(pickle.dumps(parameters))
    assert_same(GaussianMixture.from_parameters(parameters).parameters, parameters, ARRAYS)


def test_parameters_of_an_unfitted_or_invalid_model():
    with pytest.raises(ValueError, match="not fitted yet"):
        _ = GaussianMixture().parameters
    model = GaussianMixture(2, random_state=0).fit(data())
    model.weights_ = np.array([0.5, 0.6])
    with pytest.raises(ValueError, match="'weights' should be normalized"):
        _ = model.parameters


def test_parameters_of_a_bayesian_mixture(covariance_type):
    options = dict(covariance_type=covariance_type, random_state=0, max_iter=500)
    model = BayesianGaussianMixture(n_components=3, **options).fit(data())
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(model.parameters, name), getattr(model, name + "_"))
    plain = GaussianMixture.from_parameters(model.parameters)
    assert plain.score(data()) == pytest.approx(model.score(data()), abs=0.1)


def test_from_precisions_and_from_covariances_agree(covariance_type):
    rng = np.random.default_rng(0)
    a = MixtureParameters.from_covariances(
        [0.25, 0.75],
        rng.normal(size=(2, 3)),
        {
            "full": np.stack([np.eye(3) * 2, np.eye(3) + 0.5]),
            "tied": np.eye(3) + 0.5,
            "diag": rng.uniform(1, 2, size=(2, 3)),
            "spherical": [2.0, 3.0],
        }[covariance_type],
        covariance_type,
    )
    U = a.precisions_cholesky
    precisions = U @ np.swapaxes(U, -1, -2) if U.shape[-2:] == (3, 3) else U**2
    b = MixtureParameters.from_precisions(a.weights, a.means, precisions, covariance_type)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-12, atol=1e-14)


def test_a_pass_takes_a_model_for_its_parameters(model, dtype):
    X = data(80, 2, dtype)
    assert_same(accumulate(X, model), accumulate(X, model.parameters), SUMS)
    with pytest.raises(ValueError, match="X has 1 features, but GaussianMixture is expecting 2"):
        accumulate(X[:, :1], model)
    with pytest.raises(ValueError, match="not fitted yet"):
        accumulate(X, GaussianMixture(2))
    with pytest.raises(TypeError, match="expected MixtureParameters or a fitted model, got a list"):
        accumulate(X, [1])


def test_one_iteration_by_hand_is_one_iteration_of_a_fit(model):
    X = data()
    model = GaussianMixture.from_parameters(model.parameters)
    by_hand = accumulate(X, model).maximize()
    model.set_params(warm_start=True, max_iter=1)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(X)
    for name in ARRAYS:
        np.testing.assert_allclose(
            getattr(by_hand, name), getattr(model, name + "_"), rtol=1e-10, atol=1e-12
        )


def test_sums_of_statistics(model):
    X = data(400, 3)
    parts = [accumulate(X[i : i + 100], model) for i in range(0, 400, 100)]
    total = sum(parts)
    assert isinstance(total, SufficientStatistics)
    assert_same(total, parts[0] + parts[1] + parts[2] + parts[3], SUMS)
    assert total.n_samples == 400 and total.weight_sum == 400
    with pytest.raises(TypeError):
        _ = 1 + parts[0]
    with pytest.raises(TypeError):
        sum(parts, start="")


@pytest.mark.parametrize("weight", [0.5, 2, np.float64(0.25), np.float32(3), np.int64(4)])
def test_a_weight_multiplies_the_weight_of_the_rows(model, dtype, weight):
    X, rtol = data(200, 4, dtype), 1e-11 if dtype == np.float64 else 1e-6
    statistics = accumulate(X, model)
    weighted = accumulate(X, model, np.full(len(X), float(weight)))
    for scaled in (weight * statistics, statistics * weight):
        assert isinstance(scaled, SufficientStatistics) and scaled.n_samples == 200
        for name in (*SUMS, "log_likelihood", "weight_sum"):
            np.testing.assert_allclose(
                getattr(scaled, name), getattr(weighted, name), rtol=rtol, atol=rtol
            )
    assert_same((1 * statistics), statistics, SUMS)


def test_old_rows_are_forgotten(model):
    X = data(1000)
    old, new = accumulate(X[:500] + 1, model), accumulate(X[500:], model)
    forgetful = (1e-9 * old + new).maximize()
    alone = new.maximize()
    for name in ARRAYS:
        np.testing.assert_allclose(
            getattr(forgetful, name), getattr(alone, name), rtol=1e-6, atol=1e-6
        )
    nothing = 0 * old + new
    np.testing.assert_allclose(nothing.nk, new.nk)


@pytest.mark.parametrize("weight", [-1, np.inf, np.nan])
def test_weights_that_are_refused(model, weight):
    with pytest.raises(ValueError, match="weight of statistics"):
        _ = weight * accumulate(data(10), model)


@pytest.mark.parametrize("other", ["2", None, True, [1.0], np.ones(2)])
def test_only_numbers_are_weights_of_statistics(model, other):
    statistics = accumulate(data(10), model)
    with pytest.raises(TypeError):
        _ = other * statistics
    with pytest.raises(TypeError):
        _ = statistics * other


def test_a_weight_beyond_the_range_is_refused(model):
    with pytest.raises(ValueError, match="sums are not finite"):
        _ = 1e308 * (1e308 * accumulate(data(10), model))


def test_raw_moments_are_about_zero(model, dtype):
    X = data(100, 7)
    statistics, g = accumulate(X, model), model.predict_proba(X)
    rtol = 1e-11 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(statistics.nk, g.sum(axis=0), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(statistics.sx, g.T @ X, rtol=rtol, atol=rtol * np.abs(X).max())


def test_statistics_and_parameters_are_saved_and_loaded(model, tmp_path):
    statistics = accumulate(data(100, 8), model)
    for saved, names in ((statistics, SUMS), (model.parameters, ARRAYS)):
        path = tmp_path / "saved.npz"
        saved.save(path)
        loaded = type(saved).load(path)
        assert_same(loaded, saved, names)
        assert loaded.covariance_type == saved.covariance_type
    for name in ("log_likelihood", "weight_sum", "n_samples"):
        statistics.save(path)
        loaded = SufficientStatistics.load(path)
        assert getattr(loaded, name) == getattr(statistics, name)
    assert_same(loaded.maximize(), statistics.maximize(), ARRAYS)
    with pytest.raises(ValueError, match="holds fusedgmm.SufficientStatistics, not fusedgmm.Mix"):
        MixtureParameters.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(nk=None), "nk"),
        (dict(nk=lambda a: -a), "nk has a negative entry"),
        (dict(nk=lambda a: a[:1]), "shape"),
        (dict(sxx=lambda a: a[..., None]), "shape"),
        (dict(sx=lambda a: a * np.nan), "not finite"),
        (dict(shift=lambda a: a.astype(np.float32)), "shift is float32, not float64"),
        (dict(more=lambda a: np.ones(3)), "more"),
        (dict(header=replaced('"full"', '"oval"')), "oval"),
        (dict(header=replaced('"n_samples": 100', '"n_samples": -1')), "n_samples must be"),
        (dict(header=replaced('"weight_sum": 100.0', '"weight_sum": "x"')), "weight_sum"),
        (dict(header=replaced('"weight_sum"', '"weightsum"')), "weight_sum"),
        (dict(header=replaced('"format": 1', '"format": 2')), "has format 2"),
    ],
    ids=str,
)
def test_damaged_statistics_are_refused(tmp_path, changes, message):
    path = tmp_path / "statistics.npz"
    accumulate(data(100), GaussianMixture(3, random_state=0).fit(data())).save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=f"statistics.npz: .*{message}"):
        SufficientStatistics.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(weights=lambda a: 2 * a), "normalized"),
        (dict(means=lambda a: a[:, :1]), "shape"),
        (dict(covariances=None), "covariances"),
        (dict(precisions_cholesky=lambda a: -a), "positive on the diagonal"),
        (dict(means=lambda a: np.array(["a"])), "means"),
        (dict(header=replaced("covariance_type", "covariance_kind")), "covariance_kind"),
    ],
    ids=str,
)
def test_damaged_parameters_are_refused(tmp_path, changes, message):
    path = tmp_path / "parameters.npz"
    GaussianMixture(3, random_state=0).fit(data()).parameters.save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=f"parameters.npz: .*{message}"):
        MixtureParameters.load(path)
