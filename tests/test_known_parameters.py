"""Mixtures with known parameters: models made from them, and fits that start from them."""

import pickle

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, MixtureParameters, fit_batch
from helpers import (
    assert_same_answers,
    assert_same_state,
    mixture_data,
    of_type,
    precisions_of,
    public,
    quiet_fit,
    tolerance,
)

X, WEIGHTS, MEANS, COVARIANCES = mixture_data(400, 3, 3)


def given(covariance_type):
    """Covariances of a type, and their precisions."""
    covariances = of_type(COVARIANCES, covariance_type)
    return covariances, precisions_of(covariances, covariance_type)


def test_a_model_from_parameters(covariance_type):
    pytest.importorskip("sklearn")
    covariances, precisions = given(covariance_type)
    options = dict(tol=0.5, random_state=0)
    a = MixtureParameters.from_covariances(WEIGHTS, MEANS, covariances, covariance_type)
    b = MixtureParameters.from_precisions(WEIGHTS, MEANS, precisions, covariance_type)
    a, b = (GaussianMixture.from_parameters(p, **options) for p in (a, b))
    np.testing.assert_array_equal(a.covariances_, covariances)
    np.testing.assert_allclose(b.precisions_, precisions, rtol=tolerance("sums"))
    for model in (a, b):
        np.testing.assert_array_equal(model.weights_, WEIGHTS)
        np.testing.assert_array_equal(model.means_, MEANS)
        assert (
            model.get_params().items()
            >= (options | {"n_components": 3, "covariance_type": covariance_type}).items()
        )
        assert model.n_features_in_ == 3
        theirs = model.to_sklearn()
        assert_same_answers(model, theirs, X)
        np.testing.assert_allclose(model.bic(X), theirs.bic(X))
        assert_same_state(pickle.loads(pickle.dumps(model)), model)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(X), rtol=tolerance("precisions"))


def test_parameters_are_copied_and_may_be_lists():
    means = MEANS.copy()
    parameters = MixtureParameters.from_covariances(WEIGHTS, means, COVARIANCES)
    means[:] = 0
    model = GaussianMixture.from_parameters(parameters)
    np.testing.assert_array_equal(model.means_, MEANS)
    model.means_[:] = 0
    np.testing.assert_array_equal(parameters.means, MEANS)
    parameters = MixtureParameters.from_precisions([0.5, 0.5], [[0], [1]], [1, 2], "spherical")
    model = GaussianMixture.from_parameters(parameters)
    assert model.predict([[-3.0], [1.0]]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(weights=WEIGHTS[:2]), r"'weights' should have the shape of \(3,\)"),
        (dict(weights=WEIGHTS / 2), r"normalized, but got sum\(weights\) = 0.5"),
        (
            dict(weights=[1.5, -0.25, -0.25]),
            r"range \[0, 1\].*first outside is 1.5, of component 0",
        ),
        (dict(weights=[0.5, -0.25, 0.75]), r"range \[0, 1\].*outside is -0.25, of component 1"),
        (dict(means=MEANS[0]), "means must be 2-D"),
        (dict(means=MEANS * np.nan), "means contains NaN"),
        (dict(means=MEANS[:, :2]), "'full covariance' should have the shape"),
        (dict(covariances=-COVARIANCES), "positive-definite; it is not in component 0"),
        (dict(covariances=COVARIANCES[0]), "'full covariance' should have the shape"),
        (dict(covariance_type="oval"), "oval"),
    ],
)
def test_invalid_parameters_are_named(changed, message):
    known = dict(weights=WEIGHTS, means=MEANS, covariances=COVARIANCES) | changed
    with pytest.raises(ValueError, match=message):
        MixtureParameters.from_covariances(**known)
    known["precisions"] = known.pop("covariances")
    with pytest.raises(ValueError, match=message.replace("covariance'", "precision'")):
        MixtureParameters.from_precisions(**known)


def test_a_model_from_parameters_takes_options_and_nothing_else():
    parameters = MixtureParameters.from_covariances(WEIGHTS, MEANS, COVARIANCES)
    with pytest.raises(ValueError, match="tol must be"):
        GaussianMixture.from_parameters(parameters, tol=-1)
    with pytest.raises(ValueError, match="degenerate"):
        GaussianMixture.from_parameters(parameters, degenerate="ignore")
    with pytest.raises(TypeError, match="covariance_type"):
        GaussianMixture.from_parameters(parameters, covariance_type="full")
    with pytest.raises(TypeError, match="expected MixtureParameters, got a ndarray"):
        GaussianMixture.from_parameters(WEIGHTS)


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
    rtol = tolerance("precisions", dtype)
    options = given_start(covariance_type, precisions_init=precisions, max_iter=0)
    model = GaussianMixture(**options).fit(X.astype(dtype))
    np.testing.assert_allclose(model.precisions_, precisions, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=rtol, atol=rtol)
    # the factor is upper triangular, like scikit-learn's
    factors = model.precisions_cholesky_
    if covariance_type in ("full", "tied"):
        np.testing.assert_array_equal(factors, np.triu(factors))
        product = factors @ np.swapaxes(factors, -1, -2)
        np.testing.assert_allclose(product, precisions, rtol=rtol, atol=rtol)
    # alone, together with our own start
    alone = GaussianMixture(
        3, covariance_type=covariance_type, precisions_init=precisions, max_iter=0, random_state=0
    ).fit(X.astype(dtype))
    np.testing.assert_array_equal(alone.precisions_cholesky_, factors)


def test_precisions_whose_covariances_float64_cannot_hold(covariance_type):
    """A model cannot have them, but a start can, in a fit and in a batch."""
    precisions = of_type(np.stack([np.eye(2)] * 2) * 1e-320, covariance_type)
    means = np.array([[0.0, 0.0], [5.0, 5.0]])
    with pytest.raises(ValueError, match="covariances contains infinity or a value too large"):
        MixtureParameters.from_precisions([0.5, 0.5], means, precisions, covariance_type)
    options = dict(
        covariance_type=covariance_type, means_init=means, precisions_init=precisions, max_iter=500
    )
    X = np.random.default_rng(0).normal(size=(100, 2))
    model = GaussianMixture(2, random_state=0, **options).fit(X)
    result = fit_batch([X], 2, random_state=[0], **options)
    np.testing.assert_array_equal(result.means[0], model.means_)


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random_from_data"])
def test_given_precisions_replace_those_of_a_singular_start(init, covariance_type):
    """As many components as rows: each starts at one row, and only the given precisions have a
    width."""
    _, precisions = given(covariance_type)
    options = dict(covariance_type=covariance_type, init_params=init, reg_covar=0, max_iter=0)
    model = GaussianMixture(3, **options, precisions_init=precisions, random_state=0).fit(X[:3])
    np.testing.assert_allclose(model.precisions_, precisions)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(3, **options, random_state=0).fit(X[:3])


def test_given_covariances_equal_given_precisions(covariance_type):
    covariances, precisions = given(covariance_type)
    a = quiet_fit(GaussianMixture(**given_start(covariance_type, covariances_init=covariances)), X)
    b = quiet_fit(GaussianMixture(**given_start(covariance_type, precisions_init=precisions)), X)
    assert a.n_iter_ == b.n_iter_
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=tolerance("precisions"))
    np.testing.assert_allclose(
        a.covariances_, b.covariances_, rtol=tolerance("same fit, another start"), atol=1e-9
    )
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
    options = dict(n_components=3, n_init=1, covariance_type=covariance_type, random_state=0)
    start = GaussianMixture(**options, max_iter=0).fit(rows)
    a = quiet_fit(GaussianMixture(**options), rows)
    b = quiet_fit(GaussianMixture(**options, precisions_init=start.precisions_), rows)
    assert a.n_iter_ == b.n_iter_
    rtol = tolerance("same fit, another start", dtype)
    np.testing.assert_allclose(a.precisions_cholesky_, b.precisions_cholesky_, rtol=rtol, atol=rtol)


def test_a_component_of_one_row_is_said_to_be_singular(covariance_type):
    if covariance_type == "tied":
        rows = np.repeat([[0.0, 1.0], [5.0, 7.0]], 10, axis=0)  # each group is a single point
    else:
        rows = np.vstack([X[:, :2], [[300.0, 400.0]]])
    model = GaussianMixture(2, covariance_type=covariance_type, reg_covar=0, random_state=0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        model.fit(rows)
    assert not public(model)


@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
def test_bayesian_starts_are_the_same_for_all_types(prior_type):
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
    np.testing.assert_allclose(scatter("tied"), full.mean(axis=0), rtol=tolerance("same fit"))
    np.testing.assert_allclose(diag, np.einsum("kii->ki", full), rtol=tolerance("same fit"))
    np.testing.assert_allclose(scatter("spherical"), diag.mean(axis=1), rtol=tolerance("same fit"))


def test_score_is_the_mean_of_score_samples(kind, covariance_type, dtype):
    rows = X.astype(dtype)
    model = quiet_fit(kind(n_components=3, covariance_type=covariance_type, random_state=0), rows)
    score = model.score(rows)
    assert type(score) is float and score == model.score_samples(rows).mean()
    ones = model.score(rows, sample_weight=np.ones(len(rows)))
    np.testing.assert_allclose(ones, score, rtol=tolerance("sums", dtype))
