"""BayesianGaussianMixture: against scikit-learn from the same start, and by its properties."""

import pickle
import re
import warnings

import mpmath
import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, mixture_data, of_type

from fusedgmm import BayesianGaussianMixture, GaussianMixture
from fusedgmm.variational import digamma

PRIOR_TYPES = ("dirichlet_process", "dirichlet_distribution")
X = mixture_data(600, 3, 3)[0]
GROUPS = np.random.default_rng(0).normal(size=(600, 2)) + np.repeat([[0, 0], [9, 0]], 300, axis=0)
FITTED = (
    "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_",
    "weight_concentration_", "mean_precision_", "degrees_of_freedom_",
    "weight_concentration_prior_", "mean_precision_prior_", "mean_prior_",
    "degrees_of_freedom_prior_", "covariance_prior_",
)  # fmt: skip


@pytest.fixture(params=PRIOR_TYPES)
def prior_type(request):
    return request.param


def bayes(**options):
    """On one thread, if not asked otherwise: the rows are few, and other processes at work."""
    return BayesianGaussianMixture(**{"n_threads": 1, **options})


def ours_of(theirs):
    return BayesianGaussianMixture.from_sklearn(theirs).set_params(n_threads=1)


def quiet_fit(model, X, **kwargs):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*did not converge.*")
        return model.fit(X, **kwargs)


def their_start(X, **options):
    """Their model after an iteration, where both classes go on from."""
    mixture = pytest.importorskip("sklearn.mixture")
    model = mixture.BayesianGaussianMixture(
        **dict(n_components=4, random_state=1, max_iter=1, tol=0, init_params="random_from_data")
        | options
    )
    return quiet_fit(model, X).set_params(warm_start=True, max_iter=6)


def values(model):
    """Everything that a fit sets, as plain float64 arrays."""
    named = {name: getattr(model, name) for name in FITTED}
    concentration = named.pop("weight_concentration_")
    for i, part in enumerate(
        concentration if isinstance(concentration, tuple) else [concentration]
    ):
        named[f"weight_concentration_[{i}]"] = part
    return {name: np.asarray(value, dtype=np.float64) for name, value in named.items()}


def assert_close(a, b, rtol):
    a, b = values(a), values(b)
    assert a.keys() == b.keys()
    for name, expected in b.items():
        assert a[name].shape == expected.shape, name
        atol = rtol * np.abs(expected).max()
        np.testing.assert_allclose(a[name], expected, rtol=rtol, atol=atol, err_msg=name)


def assert_same_bits(a, b):
    a, b = values(a), values(b)
    assert {name: value.tobytes() for name, value in a.items()} == {
        name: value.tobytes() for name, value in b.items()
    }


def priors(covariance_type, d):
    root = np.random.default_rng(7).normal(size=(d, d))
    covariance = root @ root.T + np.eye(d)
    return dict(
        weight_concentration_prior=0.7,
        mean_precision_prior=0.3,
        mean_prior=np.linspace(-1, 2, d),
        degrees_of_freedom_prior=d + 1.5,
        covariance_prior={
            "full": covariance,
            "tied": covariance,
            "diag": np.diag(covariance),
            "spherical": 1.7,
        }[covariance_type],
    )


# ---------------------------------------------------------------- beside scikit-learn's


def test_parameters_are_scikit_learns_and_n_threads():
    mixture = pytest.importorskip("sklearn.mixture")
    ours = BayesianGaussianMixture().get_params()
    assert ours.pop("n_threads") is None
    assert ours == mixture.BayesianGaussianMixture().get_params()


@pytest.mark.parametrize("given", [False, True], ids=["default", "given"])
def test_agrees_with_scikit_learn_from_the_same_start(covariance_type, prior_type, given):
    theirs = their_start(
        X,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        **(priors(covariance_type, 3) if given else {}),
    )
    ours = ours_of(theirs)
    quiet_fit(ours, X), quiet_fit(theirs, X)
    assert_close(ours, theirs, 1e-10)
    np.testing.assert_allclose(ours.lower_bounds_, np.ravel(theirs.lower_bounds_), rtol=1e-11)
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_) == (6, False)
    assert ours.lower_bound_ == ours.lower_bounds_[-1]
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-10)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-11)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-10)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    (rows, labels), (their_rows, their_labels) = ours.sample(40), theirs.sample(40)
    np.testing.assert_array_equal(labels, their_labels)
    np.testing.assert_allclose(rows, their_rows, rtol=1e-6, atol=1e-6)


def test_has_the_attributes_of_scikit_learns(covariance_type, prior_type):
    options = dict(covariance_type=covariance_type, weight_concentration_prior_type=prior_type)
    theirs = their_start(X, **options)
    ours = quiet_fit(bayes(n_components=4, **options), X)
    fitted = [{n for n in vars(model) if n.endswith("_")} for model in (ours, theirs)]
    assert fitted[0] == fitted[1]
    for name, value in vars(theirs).items():
        if name.endswith("_") and name != "lower_bound_":  # theirs, tied, is an array of one
            assert isinstance(getattr(ours, name), (tuple, list)) == isinstance(
                value, (tuple, list)
            ), name
            if not isinstance(value, list):
                assert np.shape(getattr(ours, name)) == np.shape(value), name


def test_stops_where_scikit_learn_stops(prior_type):
    theirs = their_start(
        GROUPS, weight_concentration_prior_type=prior_type, n_components=2, random_state=0
    ).set_params(tol=1e-2, max_iter=100)
    ours = ours_of(theirs).fit(GROUPS)
    theirs.fit(GROUPS)
    assert ours.converged_ and ours.n_iter_ == theirs.n_iter_ < 100


@pytest.mark.parametrize("tol", [3e-1, 1e-2, 1e-4])
def test_stops_at_the_first_change_below_tol(covariance_type, prior_type, tol):
    model = bayes(
        n_components=3,
        covariance_type=covariance_type,
        weight_concentration_prior_type=prior_type,
        tol=tol,
        max_iter=2000,
        random_state=0,
    ).fit(X)
    changes = np.abs(np.diff(model.lower_bounds_))
    assert model.converged_ and changes[-1] < tol and (changes[:-1] >= tol).all()


def without_times(text):
    return re.sub(r"time lapse [\d.]+s", "time lapse", text)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_prints_what_scikit_learn_prints(capsys, verbose):
    theirs = their_start(X).set_params(verbose=verbose, verbose_interval=2, max_iter=5, n_init=2)
    quiet_fit(ours_of(theirs), X)
    ours = without_times(capsys.readouterr().out)
    quiet_fit(theirs, X)
    assert ours == without_times(capsys.readouterr().out)
    assert ours.count("Iteration") == (2 if verbose else 0)


def test_verbose_names_every_start(capsys):
    quiet_fit(bayes(n_components=2, n_init=3, verbose=1, random_state=0), X)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Initialization")] == [
        line
        for init in range(3)
        for line in (f"Initialization {init}", "Initialization converged.")
    ]


# ---------------------------------------------------------------- what a fit must be


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_the_lower_bound_never_falls(init, covariance_type, prior_type):
    model = quiet_fit(
        bayes(
            n_components=4, covariance_type=covariance_type, init_params=init, tol=0, max_iter=40,
            weight_concentration_prior_type=prior_type, reg_covar=0, random_state=0,
        ),
        X,
    )  # fmt: skip
    bounds = np.array(model.lower_bounds_)
    assert np.diff(bounds).min() > -1e-10 * np.abs(bounds).max()
    assert bounds[-1] > bounds[0]


def test_one_component_is_the_conjugate_posterior(covariance_type):
    """Bishop, equations 10.60 to 10.63 with every responsibility one."""
    given = priors(covariance_type, 3)
    model = bayes(covariance_type=covariance_type, reg_covar=0, **given).fit(X)
    n, m0 = len(X), given["mean_prior"]
    beta, nu = given["mean_precision_prior"] + n, given["degrees_of_freedom_prior"] + n
    mean = (given["mean_precision_prior"] * m0 + n * X.mean(0)) / beta
    away = X.mean(0) - m0
    scatter = n * np.cov(X.T, bias=True)
    scatter += given["mean_precision_prior"] * n / beta * np.outer(away, away)
    expected = {
        "full": scatter[None],
        "tied": scatter,
        "diag": np.diag(scatter)[None],
        "spherical": np.atleast_1d(np.trace(scatter) / 3),
    }[covariance_type]
    expected = (given["covariance_prior"] + expected) / nu
    np.testing.assert_allclose(model.weights_, [1.0])
    np.testing.assert_allclose(model.means_[0], mean, rtol=1e-12)
    np.testing.assert_allclose(model.mean_precision_, [beta])
    np.testing.assert_allclose(np.squeeze(model.degrees_of_freedom_), nu)
    np.testing.assert_allclose(model.covariances_, expected, rtol=1e-11, atol=1e-12)


def test_reg_covar_counts_once_for_every_row(covariance_type):
    """It is added to the mean square of the rows, not to what the prior makes of it."""
    unit = of_type(np.eye(3)[None], covariance_type)
    prior = unit if covariance_type == "tied" else unit[0]
    options = dict(covariance_type=covariance_type, covariance_prior=prior, mean_prior=X.mean(0))
    plain = bayes(reg_covar=0, **options).fit(X)
    more = bayes(reg_covar=0.5, **options).fit(X)
    share = len(X) / np.ravel(plain.degrees_of_freedom_)[0]
    np.testing.assert_allclose(
        more.covariances_, plain.covariances_ + 0.5 * share * unit, rtol=1e-12, atol=1e-14
    )


def test_float32_is_close_to_float64(covariance_type, prior_type):
    single = X.astype(np.float32)
    start = quiet_fit(
        bayes(
            n_components=3, covariance_type=covariance_type, random_state=0, max_iter=1,
            weight_concentration_prior_type=prior_type,
        ),
        single.astype(np.float64),
    ).set_params(warm_start=True, max_iter=10, tol=0)  # fmt: skip
    other = pickle.loads(pickle.dumps(start))
    quiet_fit(start, single), quiet_fit(other, single.astype(np.float64))
    assert_close(start, other, 1e-3)
    np.testing.assert_allclose(start.lower_bound_, other.lower_bound_, rtol=1e-4)
    for name in ("weights_", "means_", "covariances_", "precisions_", "mean_precision_"):
        assert getattr(start, name).dtype == np.float32, name
    parts = start.weight_concentration_
    parts = parts if prior_type == "dirichlet_process" else (parts,)
    assert [part.dtype for part in parts] == [np.float32] * len(parts)
    assert start.predict_proba(single).dtype == start.score_samples(single).dtype == np.float32


@pytest.mark.parametrize("given", [False, True], ids=["default", "given"])
def test_weights_are_repeated_rows(covariance_type, prior_type, given):
    counts = np.random.default_rng(3).integers(0, 4, size=len(X))
    start = quiet_fit(
        bayes(
            n_components=3, covariance_type=covariance_type, max_iter=1, random_state=0,
            weight_concentration_prior_type=prior_type,
            **(priors(covariance_type, 3) if given else {}),
        ),
        X,
    ).set_params(warm_start=True, max_iter=7, tol=0)  # fmt: skip
    other = pickle.loads(pickle.dumps(start))
    quiet_fit(start, X, sample_weight=counts), quiet_fit(other, np.repeat(X, counts, axis=0))
    assert_close(start, other, 1e-9)
    np.testing.assert_allclose(start.lower_bounds_, other.lower_bounds_, rtol=1e-11)
    np.testing.assert_allclose(
        start.score(X, sample_weight=counts), other.score(np.repeat(X, counts, axis=0)), rtol=1e-12
    )


def test_a_start_sees_the_weights():
    weight = np.r_[np.ones(300), np.zeros(300)]
    model = bayes(n_components=2, random_state=0, max_iter=500)
    model.fit(GROUPS, sample_weight=weight)
    assert (model.means_[:, 0] < 5).all()  # nothing at the second group
    np.testing.assert_allclose(model.mean_precision_.sum(), 2 + 300, rtol=1e-9)


def test_weights_whose_sums_are_beyond_float64_are_named(covariance_type):
    model = bayes(covariance_type=covariance_type, random_state=0)
    with pytest.raises(ValueError, match="the sums are not finite: scale .* their weights"):
        model.fit(X * 1e4, sample_weight=np.full(len(X), 1e300))
    assert not hasattr(model, "means_")


@pytest.mark.parametrize("prior", ["weight_concentration_prior", "mean_precision_prior"])
def test_the_weakest_of_priors_warns_of_nothing(prior, prior_type):
    model = bayes(
        n_components=3, weight_concentration_prior_type=prior_type, random_state=0, max_iter=500,
        **{prior: 1e-320},
    )  # fmt: skip
    quiet_fit(model, GROUPS)
    assert model.predict_proba(GROUPS).sum(axis=1) == pytest.approx(1)


def test_any_number_of_threads_gives_the_same_bits(covariance_type):
    rows = mixture_data(20_000, 3, 3)[0]
    fits = [
        quiet_fit(
            bayes(
                n_components=4, covariance_type=covariance_type, random_state=0, n_threads=n,
                max_iter=4,
            ),
            rows,
        )
        for n in (1, 2, 3, 8)
    ]  # fmt: skip
    for other in fits[1:]:
        assert_same_bits(other, fits[0])
        assert other.lower_bounds_ == fits[0].lower_bounds_


def test_an_offset_changes_nothing_but_the_place(covariance_type, prior_type):
    """Rows in steps of 2^-20, so that the sum with 2^27 is exact."""
    rows, offset = np.round(X * 2**20) / 2**20, 2.0**27
    options = dict(
        n_components=3, covariance_type=covariance_type, random_state=0, tol=0, max_iter=8,
        weight_concentration_prior_type=prior_type,
    )  # fmt: skip
    here = quiet_fit(bayes(**options), rows)
    there = quiet_fit(bayes(**options), rows + offset)
    there.means_ = there.means_ - offset
    there.mean_prior_ = there.mean_prior_ - offset
    assert_close(there, here, 1e-5)  # means have the digits that 1e8 leaves them
    np.testing.assert_allclose(there.lower_bounds_, here.lower_bounds_, rtol=1e-7)


def test_a_scale_changes_nothing_but_the_scale(covariance_type, prior_type):
    options = dict(
        n_components=3, covariance_type=covariance_type, random_state=0, tol=0, max_iter=8,
        weight_concentration_prior_type=prior_type, reg_covar=0,
    )  # fmt: skip
    here = quiet_fit(bayes(**options), X)
    for scale in (2.0**-26, 2.0**26):
        there = quiet_fit(bayes(**options), X * scale)
        np.testing.assert_allclose(there.weights_, here.weights_, rtol=1e-9)
        np.testing.assert_allclose(there.means_, here.means_ * scale, rtol=1e-9)
        np.testing.assert_allclose(
            there.covariances_, here.covariances_ * scale**2, rtol=1e-8, atol=1e-9 * scale**2
        )


def test_superfluous_components_get_no_weight(covariance_type, prior_type):
    model = bayes(
        n_components=8, covariance_type=covariance_type, weight_concentration_prior=1e-3,
        weight_concentration_prior_type=prior_type, random_state=0, max_iter=2000, tol=1e-6,
    ).fit(GROUPS)  # fmt: skip
    kept = np.sort(model.weights_)[-2:]
    np.testing.assert_allclose(kept, [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(model.weights_.sum(), 1)
    assert len(np.unique(model.predict(GROUPS))) == 2


def test_a_strong_concentration_keeps_all_components():
    weak, strong = (
        bayes(
            n_components=5, weight_concentration_prior=concentration, random_state=0, max_iter=2000,
            weight_concentration_prior_type="dirichlet_distribution",
        ).fit(GROUPS)
        for concentration in (1e-3, 1e6)
    )  # fmt: skip
    np.testing.assert_allclose(strong.weights_, 0.2, atol=1e-3)
    assert weak.weights_.min() < 0.01


def test_more_components_than_the_data_bear_stay_finite(covariance_type, prior_type):
    """Clusters of one row, of none, and of equal rows, a constant column: the prior holds."""
    rows = np.column_stack([np.repeat(X[:6, 0], 5), np.repeat(X[:6, 1], 5), np.full(30, 4.0)])
    for reg_covar in (0, 1e-6):
        model = bayes(
            n_components=20, covariance_type=covariance_type, random_state=0, reg_covar=reg_covar,
            weight_concentration_prior_type=prior_type,
            covariance_prior=priors(covariance_type, 3)["covariance_prior"],
        )  # fmt: skip
        quiet_fit(model, rows)
        assert all(np.isfinite(value).all() for value in values(model).values())
        assert np.isfinite(model.lower_bounds_).all()
        np.testing.assert_allclose(model.predict_proba(rows).sum(axis=1), 1)


# ---------------------------------------------------------------- the parameters


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


def test_an_unfitted_model_says_so():
    for call in ("predict", "predict_proba", "score_samples", "score"):
        with pytest.raises(ValueError, match="This BayesianGaussianMixture instance is not fitted"):
            getattr(bayes(), call)(X)
    with pytest.raises(ValueError, match="not fitted"):
        bayes().sample()


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


# ---------------------------------------------------------------- use of a fitted model


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
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    each = model.score_samples(rows)
    np.testing.assert_allclose(model.score(rows), each.mean(dtype=np.float64), rtol=1e-6)
    weight = np.arange(len(rows), dtype=float)
    np.testing.assert_allclose(
        model.score(rows, sample_weight=weight), np.average(each, weights=weight), rtol=1e-6
    )


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


def test_the_posterior_mean_of_much_data_is_the_maximum_likelihood():
    rows = mixture_data(20_000, 2, 1)[0]
    for covariance_type in COVARIANCE_TYPES:
        expected = bayes(covariance_type=covariance_type).fit(rows)
        likely = GaussianMixture(covariance_type=covariance_type, n_threads=1).fit(rows)
        np.testing.assert_allclose(expected.means_, likely.means_, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(expected.covariances_, likely.covariances_, rtol=1e-3, atol=1e-3)


def test_digamma_has_all_its_digits():
    x = np.concatenate([np.logspace(-12, 12, 200), [1.0, 2.0, 9.99, 10.0, 10.01]])
    truth = np.array([float(mpmath.digamma(mpmath.mpf(float(v)))) for v in x])
    np.testing.assert_allclose(digamma(x), truth, rtol=1e-13, atol=1e-14)
