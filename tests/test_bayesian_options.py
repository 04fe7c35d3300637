"""The options of BayesianGaussianMixture: errors name invalid ones; n_init, warm_start,
max_iter."""

import pickle

import numpy as np
import pytest

from helpers import quiet_fit
from helpers.bayesian import GROUPS, X, assert_close, assert_same_bits, bayes


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(weight_concentration_prior_type="process"), "process.*dirichlet_distribution"),
        (dict(weight_concentration_prior=0), "weight_concentration_prior.*greater than 0"),
        (dict(weight_concentration_prior=np.nan), "weight_concentration_prior"),
        (dict(weight_concentration_prior="1"), "weight_concentration_prior.*'1'"),
        (dict(mean_precision_prior=-1.0), "mean_precision_prior.*greater than 0"),
        (dict(mean_precision_prior=np.inf), "mean_precision_prior"),
        (dict(mean_prior=[0.0, 1.0]), r"means.*\(3,\).*\(2,\)"),
        (dict(mean_prior=[0.0, 1.0, np.nan]), "means.*NaN"),
        (dict(degrees_of_freedom_prior=2), "degrees_of_freedom_prior.*greater than 2"),
        (dict(degrees_of_freedom_prior=True), "degrees_of_freedom_prior.*True"),
        (dict(covariance_prior=np.eye(2)), r"covariance_prior.*\(3, 3\).*\(2, 2\)"),
        (dict(covariance_prior=-np.eye(3)), "full covariance_prior.*positive-definite"),
        (dict(covariance_prior=np.triu(np.ones((3, 3)))), "symmetric"),
        (dict(covariance_type="tied", covariance_prior=np.zeros((3, 3))), "positive-definite"),
        (dict(covariance_type="diag", covariance_prior=[1, 0, 1]), "greater than 0"),
        (dict(covariance_type="spherical", covariance_prior=-1.0), "greater than 0"),
        (dict(covariance_type="spherical", covariance_prior=[1, 1, 1]), r"\(1,\).*\(3,\)"),
        (dict(covariance_prior="wide"), "covariance_prior"),
        (dict(covariance_type="round"), "round.*full"),
        (dict(n_components=0), "n_components"),
        (dict(n_components=601), "n_samples"),
        (dict(n_init=0), "n_init"),
        (dict(init_params="best"), "best.*kmeans"),
        (dict(tol=-1), "tol"),
    ],
    ids=str,
)
def test_bad_options_are_named(options, message):
    model = bayes(**{"n_components": 2, **options})
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X)
    assert not hasattr(model, "means_")


def test_a_failed_fit_loses_nothing():
    model = bayes(n_components=2, random_state=0).fit(X)
    before = pickle.loads(pickle.dumps(model))
    bad = X.copy()
    bad[17, 1] = np.nan
    with pytest.raises(ValueError, match="NaN.*17"):
        model.fit(bad)
    assert_same_bits(model, before)


def test_n_init_keeps_the_best():
    options = dict(
        n_components=4, init_params="random_from_data", covariance_type="diag", random_state=2,
        max_iter=8,
    )  # fmt: skip
    fits = [quiet_fit(bayes(**options, n_init=n), X) for n in range(1, 8)]
    bounds = [model.lower_bound_ for model in fits]
    assert bounds == sorted(bounds) and len(set(bounds)) > 1
    for fewer, model in zip(fits, fits[1:], strict=False):
        assert model.lower_bounds_[-1] == model.lower_bound_ and model.n_iter_ == len(
            model.lower_bounds_
        )
        if model.lower_bound_ == fewer.lower_bound_:  # the new start was no better
            assert_same_bits(model, fewer)


def test_warm_start_steps_are_one_fit(covariance_type, prior_type):
    options = dict(
        n_components=3, covariance_type=covariance_type, random_state=0, tol=0,
        weight_concentration_prior_type=prior_type,
    )  # fmt: skip
    whole = quiet_fit(bayes(**options, max_iter=12), X)
    steps = bayes(**options, max_iter=1, warm_start=True)
    bounds = [quiet_fit(steps, X).lower_bound_ for _ in range(12)]
    assert steps.n_iter_ == 1
    np.testing.assert_allclose(bounds, whole.lower_bounds_, rtol=1e-13)
    assert_close(steps, whole, 1e-11)


def test_warm_start_of_a_converged_fit_converges_at_once():
    model = bayes(n_components=2, random_state=0, warm_start=True).fit(GROUPS)
    first = model.lower_bound_
    model.fit(GROUPS)
    assert model.converged_ and model.n_iter_ == 1 and abs(model.lower_bound_ - first) < model.tol


@pytest.mark.parametrize("changed", [dict(n_components=3), dict(covariance_type="diag")], ids=str)
def test_warm_start_after_a_change_of_shape_starts_anew(changed):
    model = bayes(n_components=2, warm_start=True, random_state=0, tol=1).fit(X)
    model.set_params(**changed)
    with pytest.warns(UserWarning, match="has changed since the last fit") as caught:
        model.fit(X)
    assert [w.filename for w in caught] == [__file__]
    assert_same_bits(model, bayes(**model.get_params()).fit(X))


def test_no_iterations_is_the_start(covariance_type):
    model = bayes(
        n_components=3, covariance_type=covariance_type, max_iter=0, n_init=2, random_state=0
    ).fit(X)
    assert (model.n_iter_, model.converged_, model.lower_bounds_) == (0, False, [])
    assert model.lower_bound_ == -np.inf
    np.testing.assert_allclose(model.mean_precision_.sum(), 3 + len(X))
    assert np.isfinite(model.score(X))
    weight = np.linspace(0, 3, len(X))
    model.fit(X, sample_weight=weight)
    np.testing.assert_allclose(model.mean_precision_.sum(), 3 + weight.sum())


def test_not_converged_is_a_warning_at_the_caller():
    model = bayes(n_components=3, max_iter=1, random_state=0)
    for fit in (model.fit, model.fit_predict):
        with pytest.warns(UserWarning, match="did not converge") as caught:
            fit(X)
        assert [w.filename for w in caught] == [__file__]


def test_verbose_names_every_start(capsys):
    quiet_fit(bayes(n_components=2, n_init=3, verbose=1, random_state=0), X)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Initialization")] == [
        line
        for init in range(3)
        for line in (f"Initialization {init}", "Initialization converged.")
    ]
