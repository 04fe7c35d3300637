"""Attributes that users set, or write into: scored as scikit-learn scores them, or refused."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fusedgmm
from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, _core
from helpers import mixture_data, of_type, precisions_of, quiet_fit, tolerance

X, WEIGHTS, MEANS, COVARIANCES = mixture_data(300, 4, 3)


def lower_factors(covariance_type):
    """Factors as np.linalg.cholesky gives them; of variances, as they are."""
    precisions = precisions_of(of_type(COVARIANCES, covariance_type), covariance_type)
    if covariance_type in ("full", "tied"):
        return np.linalg.cholesky(precisions)
    return np.sqrt(precisions)


def set_by_hand(model, **changed):
    """A model whose attributes are set, not fitted."""
    covariance_type = model.covariance_type
    attributes = dict(
        weights_=WEIGHTS,
        means_=MEANS,
        covariances_=of_type(COVARIANCES, covariance_type),
        precisions_cholesky_=lower_factors(covariance_type),
    )
    for name, value in (attributes | changed).items():
        setattr(model, name, value)
    return model


def assert_scores_of(model, theirs, rtol=None):
    """The answers of a model are those of scikit-learn's with the same attributes."""
    rtol = tolerance("scores, scikit-learn") if rtol is None else rtol
    np.testing.assert_allclose(model.score_samples(X), theirs.score_samples(X), rtol=rtol)
    np.testing.assert_array_equal(model.predict(X), theirs.predict(X))
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=rtol)
    if hasattr(theirs, "bic"):
        np.testing.assert_allclose(model.bic(X), theirs.bic(X), rtol=rtol)


@pytest.mark.parametrize("rows", [1, 300])
def test_a_lower_factor_is_scored_as_by_scikit_learn(covariance_type, rows):
    sklearn_mixture = pytest.importorskip("sklearn.mixture")
    model = set_by_hand(GaussianMixture(3, covariance_type=covariance_type))
    theirs = sklearn_mixture.GaussianMixture(3, covariance_type=covariance_type)
    assert_scores_of(model, set_by_hand(theirs))
    assert_scores_of(GaussianMixture.from_sklearn(theirs), theirs)
    np.testing.assert_allclose(model.score_samples(X[:rows]), theirs.score_samples(X[:rows]))


def test_a_lower_factor_has_the_density_of_its_precisions(covariance_type):
    model = set_by_hand(GaussianMixture(3, covariance_type=covariance_type))
    truth = GaussianMixture.from_parameters(
        MixtureParameters.from_covariances(
            WEIGHTS, MEANS, of_type(COVARIANCES, covariance_type), covariance_type
        )
    )
    np.testing.assert_allclose(
        model.score_samples(X), truth.score_samples(X), rtol=tolerance("precisions")
    )
    # the attribute stays as it was set; the parameters have the upper factor
    np.testing.assert_array_equal(model.precisions_cholesky_, lower_factors(covariance_type))
    ours, known = model.parameters.precisions_cholesky, truth.precisions_cholesky_
    np.testing.assert_allclose(ours, known, rtol=1e-9, atol=1e-12)
    weights, means, covariances = WEIGHTS, MEANS, of_type(COVARIANCES, covariance_type)
    parameters = MixtureParameters(
        weights, means, covariances, lower_factors(covariance_type), covariance_type
    )
    np.testing.assert_array_equal(parameters.precisions_cholesky, ours)
    assert not parameters.precisions_cholesky.flags.writeable
    np.testing.assert_array_equal(fusedgmm.accumulate(X, model).nk.round(9), truth_nk(truth))


def truth_nk(model):
    return fusedgmm.accumulate(X, model).nk.round(9)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_a_bayesian_mixture_with_lower_factors(covariance_type, prior_type):
    options = dict(
        n_components=3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        random_state=0,
        max_iter=500,
    )
    truth = BayesianGaussianMixture(**options).fit(X)
    model = copy.deepcopy(truth)
    precisions = truth.precisions_cholesky_ @ np.swapaxes(truth.precisions_cholesky_, -1, -2)
    model.precisions_cholesky_ = np.linalg.cholesky(precisions)
    rtol = tolerance("precisions")
    np.testing.assert_allclose(model.score_samples(X), truth.score_samples(X), rtol=rtol)
    again = quiet_fit(model.set_params(warm_start=True, max_iter=1), X)
    truth = quiet_fit(truth.set_params(warm_start=True, max_iter=1), X)
    np.testing.assert_allclose(again.means_, truth.means_, rtol=rtol)


def test_a_lower_factor_under_the_patch(covariance_type):
    """score agrees with the object's own _estimate_log_prob, which is scikit-learn's."""
    sklearn_mixture = pytest.importorskip("sklearn.mixture")
    fusedgmm.patch_sklearn()
    try:
        model = set_by_hand(sklearn_mixture.GaussianMixture(3, covariance_type=covariance_type))
    finally:
        fusedgmm.unpatch_sklearn()
    theirs = model._estimate_weighted_log_prob(X)
    np.testing.assert_allclose(np.logaddexp.reduce(theirs, axis=1), model.score_samples(X))


def test_a_warm_start_from_lower_factors(covariance_type):
    model = set_by_hand(
        GaussianMixture(3, covariance_type=covariance_type, warm_start=True, max_iter=3, tol=0)
    )
    model.converged_, model.lower_bound_ = True, -np.inf
    fresh = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=WEIGHTS,
        means_init=MEANS,
        covariances_init=of_type(COVARIANCES, covariance_type),
        max_iter=3,
        tol=0,
    )
    a, b = quiet_fit(model, X), quiet_fit(fresh, X)
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=tolerance("precisions"))


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_triangles_of_rounding_errors_count_as_zero(covariance_type, dtype):
    """np.linalg.inv leaves some where it exchanges rows."""
    sklearn_mixture = pytest.importorskip("sklearn.mixture")
    factors = np.swapaxes(lower_factors(covariance_type), -1, -2).astype(dtype)
    noise = np.finfo(dtype).eps * np.random.default_rng(0).normal(size=factors.shape)
    factors = factors + np.tril(noise, -1).astype(dtype)
    model = GaussianMixture(3, covariance_type=covariance_type)
    set_by_hand(model, precisions_cholesky_=factors, covariances_=None)
    theirs = sklearn_mixture.GaussianMixture(3, covariance_type=covariance_type)
    rtol = tolerance("fit, scikit-learn", dtype)
    assert_scores_of(model, set_by_hand(theirs, precisions_cholesky_=factors), rtol)


def first_negative(factors):
    factors = factors.copy()
    factors.flat[0] *= -1
    return factors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(precisions_cholesky_=lambda a: -a), "precisions_cholesky must be positive on the"),
        (dict(precisions_cholesky_=first_negative), "precisions_cholesky must be positive on the"),
        (dict(precisions_cholesky_=lambda a: a * 0), "precisions_cholesky must be positive on the"),
        (dict(precisions_cholesky_=lambda a: a * np.nan), "precisions_cholesky contains NaN"),
        (dict(precisions_cholesky_=lambda a: a * np.inf), "precisions_cholesky contains"),
        (dict(precisions_cholesky_=lambda a: a[..., None]), "'precisions_cholesky_' should have"),
        (dict(precisions_cholesky_=lambda a: a[:2]), "'precisions_cholesky_' should have the"),
        (dict(weights_=lambda a: a[:2]), "'weights_' should have the shape"),
        (dict(weights_=lambda a: -a), "weights_ must not be negative"),
        (dict(weights_=lambda a: a * np.nan), "weights_ contains NaN"),
        (dict(means_=lambda a: a * np.inf), "means_ contains"),
        (dict(means_=lambda a: a[0]), "means_ must have shape"),
        (dict(means_=lambda a: a[:2]), "'weights_' should have the shape"),
        (dict(means_=lambda a: a.astype(str)), "means_ has dtype <U.*, which is not numeric"),
        (dict(means_=lambda a: a + 1j), "Complex data not supported"),
    ],
)
def test_what_is_no_mixture_is_named(change, message, covariance_type):
    model = set_by_hand(GaussianMixture(3, covariance_type=covariance_type))
    for name, function in change.items():
        with np.errstate(invalid="ignore"):
            setattr(model, name, function(getattr(model, name)))
    for method in (model.predict, model.score_samples, model.predict_proba, model.score):
        with pytest.raises(ValueError, match=message):
            method(X)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_upper_factors_are_finite(covariance_type, value):
    factors = np.swapaxes(lower_factors(covariance_type), -1, -2).copy()
    factors[..., 0, -1] = value
    model = set_by_hand(
        GaussianMixture(3, covariance_type=covariance_type), precisions_cholesky_=factors
    )
    with pytest.raises(ValueError, match="precisions_cholesky contains"):
        model.predict(X)


def test_a_square_root_that_is_no_triangle_is_refused():
    """scikit-learn takes the product of its diagonal for its determinant."""
    values, vectors = np.linalg.eigh(precisions_of(COVARIANCES, "full"))
    roots = vectors * np.sqrt(values)[:, None] @ np.swapaxes(vectors, -1, -2)
    model = set_by_hand(GaussianMixture(3), precisions_cholesky_=roots)
    with pytest.raises(ValueError, match="precisions_cholesky must be triangular"):
        model.predict(X)
    with pytest.raises(ValueError, match="precisions_cholesky must be triangular"):
        MixtureParameters(WEIGHTS, MEANS, COVARIANCES, roots)


def test_attributes_in_other_forms(covariance_type):
    """Lists, other layouts and byte orders, ints."""
    upper = MixtureParameters.from_covariances(
        WEIGHTS, MEANS, of_type(COVARIANCES, covariance_type), covariance_type
    )
    truth = GaussianMixture.from_parameters(upper).score_samples(X)
    factors = upper.precisions_cholesky
    for change in (
        dict(
            weights_=WEIGHTS.tolist(), means_=MEANS.tolist(), precisions_cholesky_=factors.tolist()
        ),
        dict(precisions_cholesky_=np.asfortranarray(factors), means_=np.asfortranarray(MEANS)),
        dict(precisions_cholesky_=factors.astype(">f8"), means_=MEANS.astype(">f8")),
        dict(weights_=tuple(WEIGHTS), precisions_cholesky_=factors.astype("=f8")),
    ):
        model = set_by_hand(
            GaussianMixture(3, covariance_type=covariance_type),
            **dict(precisions_cholesky_=factors) | change,
        )
        for _ in range(3):
            np.testing.assert_array_equal(model.score_samples(X), truth)
    model.means_ = np.ones((3, 4), dtype=int)
    assert len(model.predict(X)) == len(X)


def test_covariances_without_factors_are_named():
    model = GaussianMixture(3)
    with pytest.raises(ValueError, match="not fitted yet"):
        model.predict(X)
    model.weights_, model.means_, model.covariances_ = WEIGHTS, MEANS, COVARIANCES
    for call in (model.predict, model.score_samples, model.score, model.bic):
        with pytest.raises(AttributeError, match="no attribute 'precisions_cholesky_'.*covarian"):
            call(X)
    with pytest.raises(AttributeError, match="precisions_cholesky_"):
        _ = model.precisions_cholesky_
    with pytest.raises(AttributeError, match="precisions_cholesky_"):
        del model.precisions_cholesky_
    assert model.sample(5)[0].shape == (5, 4)  # which needs no factors


def test_covariances_of_other_factors_are_told(covariance_type, dtype):
    model = quiet_fit(
        GaussianMixture(3, covariance_type=covariance_type, random_state=0), X.astype(dtype)
    )
    model.predict(X)
    model.covariances_ = model.covariances_ * dtype(1)  # the same numbers: no warning
    model.predict(X)
    model = pickle.loads(pickle.dumps(model))
    model.predict(X)
    model.covariances_ = model.covariances_ * dtype(1.5)
    with pytest.warns(UserWarning, match="covariances_ do not match") as caught:
        model.predict(X)
    assert caught[0].filename == __file__
    model.predict(X)  # said once
    with pytest.raises(ValueError, match="covariances do not match precisions_cholesky"):
        _ = model.parameters


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8, 1e150])
def test_fitted_covariances_belong_to_their_factors(covariance_type, scale):
    """However ill-conditioned they are, no warning comes and the parameters are taken."""
    rng = np.random.default_rng(0)
    rows = (X @ rng.normal(size=(4, 6)) + 1e-4 * rng.normal(size=(300, 6))) * scale
    model = quiet_fit(
        GaussianMixture(3, covariance_type=covariance_type, reg_covar=0, random_state=0), rows
    )
    model.covariances_ = model.covariances_.copy()
    model.predict(rows)
    assert model.parameters.n_components == 3


# ---- what is prepared is kept, and never outlives what it was made of ----


def large_model(K=2, d=100):
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(K, d, 2 * d)) / np.sqrt(d)
    covariances = roots @ np.swapaxes(roots, -1, -2)
    parameters = MixtureParameters.from_covariances(
        np.full(K, 1 / K), rng.normal(size=(K, d)), covariances
    )
    return GaussianMixture.from_parameters(parameters), rng.normal(size=(5, d))


def fresh(model):
    """A model with the same attributes, to which nothing has happened; nor does it here."""
    other = GaussianMixture(covariance_type=model.covariance_type)
    for name, array in pickle.loads(pickle.dumps(vars(model))).items():
        if name in ("weights_", "means_", "precisions_cholesky_"):
            setattr(other, name, array)
    return other


def assert_fresh(model, rows):
    np.testing.assert_array_equal(model.score_samples(rows), fresh(model).score_samples(rows))
    single = rows.astype(np.float32)
    np.testing.assert_array_equal(model.score_samples(single), fresh(model).score_samples(single))


def set_item(model, name):
    getattr(model, name)[..., -1] *= 1.25


def in_place(model, name):
    array = getattr(model, name)
    array *= 1.25


def operator(model, name):
    setattr(model, name, getattr(model, name) * 1.25)


def through_a_view(model, name):
    view = getattr(model, name).reshape(-1)[-1:]
    model.score_samples(np.zeros((1, model.means_.shape[1])))
    view *= 1.25


def through_a_held_array(model, name):
    held = getattr(model, name)
    for _ in range(3):
        model.score_samples(np.zeros((1, model.means_.shape[1])))
        held *= 1.25


def through_the_dictionary(model, name):
    vars(model)[name] = vars(model)[name] * 1.25


def in_the_dictionary(model, name):
    vars(model)[name][..., -1] *= 1.25


def in_a_held_dictionary(model, name):
    held = model.__dict__
    for _ in range(3):
        model.score_samples(np.zeros((1, model.means_.shape[1])))
        held[name] *= 1.25


def in_another_dictionary(model, name):
    """Programs copy the attributes of a model like this."""
    other = GaussianMixture()
    other.__dict__.update(model.__dict__, covariances_=None)
    other.predict(np.zeros((1, model.means_.shape[1])))
    in_place(other, name)


def by_another_dictionary(model, name):
    attributes = copy.deepcopy(vars(model)) | {"covariances_": None}
    model.__dict__ = attributes
    model.score_samples(np.zeros((1, model.means_.shape[1])))
    attributes[name] *= 1.25


def by_a_state(model, name):
    state = model.__getstate__()
    state[name] = state[name] * 1.25
    model.__setstate__(state)


def by_update(model, name):
    model.__dict__.update({name: np.array(vars(model)[name]) * 1.25})


WAYS = (
    set_item, in_place, operator, through_a_view, through_a_held_array, through_the_dictionary,
    in_the_dictionary, in_a_held_dictionary, in_another_dictionary, by_another_dictionary,
    by_a_state, by_update,
)  # fmt: skip


@pytest.mark.parametrize("name", ["weights_", "means_", "precisions_cholesky_"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("d", [3, 100])
def test_a_change_is_seen_at_the_next_call(name, way, d):
    model, rows = large_model(d=d)
    for _ in range(3):
        before = model.score_samples(rows)
        assert_fresh(model, rows)
        way(model, name)
        assert (model.score_samples(rows) != before).any()
        assert_fresh(model, rows)


@pytest.mark.parametrize("name", ["weight_concentration_", "mean_precision_", "means_"])
def test_a_change_of_a_bayesian_mixture_is_seen(name, prior_type, covariance_type):
    model = quiet_fit(
        BayesianGaussianMixture(
            n_components=3,
            covariance_type=covariance_type,
            weight_concentration_prior_type=prior_type,
            random_state=0,
        ),
        X,
    )
    before = model.score_samples(X)
    value = getattr(model, name)
    array = value[0] if isinstance(value, tuple) else value
    array[0] *= 2
    after = model.score_samples(X)
    assert (after != before).any()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(X), after)


def test_copies_are_independent_and_can_be_changed():
    model, rows = large_model()
    before = model.score_samples(rows)
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    for other in (copy.deepcopy(model), *(pickle.loads(pickle.dumps(model, p)) for p in protocols)):
        np.testing.assert_array_equal(other.score_samples(rows), before)
        other.precisions_cholesky_[0, 0, 0] *= 1.5
        other.covariances_ = None  # which are those of before
        assert (other.score_samples(rows) != before).any()
        assert_fresh(other, rows)
        np.testing.assert_array_equal(model.score_samples(rows), before)


def test_a_shallow_copy_shares_the_arrays():
    model, rows = large_model()
    before = model.score_samples(rows)
    other = copy.copy(model)
    other.precisions_cholesky_[0, 0, 0] *= 1.5
    for each in (other, model):
        each.covariances_ = None
        assert (each.score_samples(rows) != before).any()
        assert_fresh(each, rows)


def changed_arrays(array):
    """Copies with small changes, some of which cancel in a sum, a product or an exclusive or."""
    for i in range(array.size):
        for value in (np.nextafter(array.flat[i], np.inf), -array.flat[i]):
            other = array.copy()
            other.flat[i] = value
            yield other
        for step in (1, 2, 4, 8, 16):  # of the hash's lanes and their words
            if i + step < array.size:
                other = array.copy()
                other.flat[[i, i + step]] *= -1
                yield other
                other = array.copy()
                other.flat[[i, i + step]] = other.flat[[i + step, i]]
                yield other


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 33, 64])
def test_fingerprints_of_different_arrays_differ(size, dtype):
    array = np.random.default_rng(size).normal(size=size).astype(dtype)
    whole = _core.fingerprint((array,))
    assert whole == _core.fingerprint((array.copy(),))
    others = [_core.fingerprint((other,)) for other in changed_arrays(array)]
    assert len({whole, *others}) == len(others) + 1
    zeros = np.zeros(size, dtype)
    shapes = (zeros, zeros[:, None], zeros[None], zeros[:-1], np.zeros(size + 1, dtype))
    found = {_core.fingerprint((other,)) for other in shapes}
    assert len(found) == len({other.shape for other in shapes})
    found.add(
        _core.fingerprint((np.zeros(size, np.float32 if dtype == np.float64 else np.float64),))
    )
    found.add(_core.fingerprint((zeros, zeros)))
    assert len(found) == len({other.shape for other in shapes}) + 2
    wide = np.zeros((size, 2), dtype)[:, 0]
    for other in (wide if size > 1 else None, zeros.tolist(), zeros.astype(">f8"), zeros > 0):
        assert _core.fingerprint((array, other)) is None


def test_a_prepared_model_is_kept_and_is_no_attribute():
    model, rows = large_model()
    before = set(vars(model))
    model.score_samples(rows)
    kept = model._prepared
    for answer in (model.predict, model.predict_proba, model.score, model.bic):
        answer(rows)
    model.score_samples(rows.astype(np.float32))
    assert model._prepared is kept and set(vars(model)) == before
    assert b"Prepared" not in pickle.dumps(model)
    assert not hasattr(pickle.loads(pickle.dumps(model)), "_prepared")


def test_many_threads_score_with_one_model():
    model, rows = large_model()
    truth = [fresh(model).score_samples(rows[i : i + 1]) for i in range(len(rows))]
    model = pickle.loads(pickle.dumps(model))
    wrong = []

    def score():
        for turn in range(60):
            i = turn % len(rows)
            if (model.score_samples(rows[i : i + 1]) != truth[i]).any():
                wrong.append(turn)

    threads = [threading.Thread(target=score) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_changes_while_others_score():
    """Whatever they see meanwhile, in the end it is what is there."""
    model, rows = large_model()
    done = threading.Event()

    def score():
        while not done.is_set():
            model.score_samples(rows)

    threads = [threading.Thread(target=score) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            model.precisions_cholesky_ *= 1.01
            model.means_ += 0.01
    finally:
        done.set()
    for thread in threads:
        thread.join()
    assert_fresh(model, rows)


def test_few_rows_have_the_bits_of_many(covariance_type, dtype):
    for d in (2, 9, 33, 70):
        rows, *rest = mixture_data(60, d, 2, dtype)
        weights, means, covariances = rest
        model = GaussianMixture.from_parameters(
            MixtureParameters.from_covariances(
                weights, means, of_type(covariances, covariance_type), covariance_type
            )
        )
        for method in (model.score_samples, model.predict, model.predict_proba):
            whole = method(rows)
            for few in (1, 2, 5, 8, 16, 17, 33):
                np.testing.assert_array_equal(method(rows[3 : 3 + few]), whole[3 : 3 + few])
