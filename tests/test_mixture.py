"""GaussianMixture: compared with scikit-learn from the same start, and its properties."""

import multiprocessing
import os
import signal
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from fusedgmm import GaussianMixture, _core
from helpers import (
    BOTH,
    COVARIANCE_TYPES,
    INITS,
    mixture_data,
    of_type,
    precisions_of,
    quiet_fit,
    tolerance,
)

FITTED = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_")


def assert_same_bits(a, b):
    for name in FITTED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("size", [(600, 1, 2), (900, 4, 3), (2000, 9, 4)], ids=str)
def test_agrees_with_scikit_learn_from_the_same_start(size, covariance_type, dtype):
    mixture = pytest.importorskip("sklearn.mixture")
    X, weights, means, covariances = mixture_data(*size, dtype)
    c = of_type(covariances, covariance_type)
    precisions = precisions_of(c, covariance_type)
    start = dict(weights_init=weights, means_init=means, precisions_init=precisions)
    options = dict(n_components=size[2], covariance_type=covariance_type, tol=0, max_iter=7)
    ours = quiet_fit(GaussianMixture(**options, **start), X)
    theirs = quiet_fit(
        mixture.GaussianMixture(**options, **{n: a.astype(dtype) for n, a in start.items()}), X
    )
    rtol = tolerance("fit, scikit-learn", dtype)
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        a, b = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(), err_msg=name)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=10 * rtol)
    np.testing.assert_allclose(ours.bic(X), theirs.bic(X), rtol=rtol)
    assert ours.means_.dtype == theirs.means_.dtype == dtype


def test_quick_fits_keep_the_best_of_several_starts(covariance_type):
    X, *_ = mixture_data(300, 2, 6)
    options = dict(n_components=5, covariance_type=covariance_type, random_state=0)
    default = quiet_fit(GaussianMixture(**options), X)
    bounds = {}
    for n in (1, 9, 12):
        bounds[n] = quiet_fit(GaussianMixture(**options, n_init=n), X)
    assert_same_bits(default, bounds[9])  # 2 K - 1
    assert bounds[9].lower_bound_ <= bounds[12].lower_bound_
    assert bounds[1].lower_bound_ < bounds[9].lower_bound_ - 1e-3
    # slow fits, and fits with given means, make one start
    many = np.tile(X, (4_000_000 // (len(X) * 5 * 2) + 1, 1))
    slow, once = (GaussianMixture(**options, n_init=n, max_iter=2) for n in ("auto", 1))
    assert_same_bits(quiet_fit(slow, many), quiet_fit(once, many))
    given = dict(means_init=X[:5])
    told = [quiet_fit(GaussianMixture(**options, **given, n_init=n), X) for n in ("auto", 1)]
    assert_same_bits(*told)


@pytest.mark.parametrize("k, starts", [(1, 1), (2, 3), (4, 7), (6, 11), (7, 11)])
def test_a_quick_fit_makes_so_many_starts(capsys, k, starts):
    X, *_ = mixture_data(300, 2, 6)
    quiet_fit(GaussianMixture(k, random_state=0, verbose=1, verbose_interval=999), X)
    lines = capsys.readouterr().out.splitlines()
    assert [f"Initialization {i}" for i in range(starts)] == [x for x in lines if x[-1].isdigit()]


@pytest.mark.parametrize("tol", [1e-10, 1e-4])
def test_a_later_start_must_be_better_by_more_than_rounding(tol):
    """The bounds of the single starts, in order, determine which one is kept."""
    X, *_ = mixture_data(300, 2, 3)
    by_rounding = by_little = 0
    for seed in range(12):
        bounds = {}

        def report(init, iteration, bound, change, bounds=bounds):
            bounds[init] = bound

        _, kept, *_ = _core.fit(
            X,
            covariance_type="full",
            n_components=3,
            init_params="random_from_data",
            n_init=10,
            seed=seed,
            tol=tol,
            reg_covar=1e-6,
            max_iter=500,
            report=report,
        )
        best, least, most = bounds[0], bounds[0], bounds[0]
        for bound in list(bounds.values())[1:]:
            best = bound if bound > best + 1e-6 else best
            most = max(most, bound)
            least = bound if bound > least + 1e-4 else least
        assert len(bounds) == 10 and kept[-1] == best
        by_rounding += best != most
        by_little += best != least
    assert by_rounding if tol < 1e-6 else by_little  # another margin would choose another


@pytest.mark.filterwarnings("ignore:reg_covar=1 is more than the variance of feature")
@pytest.mark.parametrize("reg_covar", [1e-6, 1.0])
def test_stops_at_the_first_change_below_tol(reg_covar, covariance_type):
    """Also if the bound decreases: a large reg_covar moves away from the maximum of the
    likelihood."""
    X, weights, means, covariances = mixture_data(600, 2, 3)
    falls = 0
    for tol in (3e-2, 1e-2, 1e-3, 1e-4):
        model = GaussianMixture(
            3,
            covariance_type=covariance_type,
            tol=tol,
            reg_covar=reg_covar,
            weights_init=weights,
            means_init=means,
            covariances_init=of_type(covariances, covariance_type),
            max_iter=1000,
        ).fit(X)
        changes = np.diff(model.lower_bounds_)
        assert model.converged_ and model.n_iter_ == len(changes) + 1
        assert abs(changes[-1]) < tol and (np.abs(changes[:-1]) >= tol).all()
        falls += (changes < -tol).sum()
    assert (falls > 0) == (reg_covar == 1)


def test_a_singular_start_is_skipped():
    # two equal rows far away: some starts give them their own component, with zero width
    groups = np.random.default_rng(0).normal(size=(60, 1)) + np.repeat([[0.0], [9.0]], 30, axis=0)
    X = np.r_[groups, np.full((2, 1), 40.0)]
    outcomes = []
    for seed in range(30):
        options = dict(random_state=seed, reg_covar=0, init_params="random_from_data")
        try:
            quiet_fit(GaussianMixture(2, **options, n_init=1), X)
            outcomes.append(True)
        except ValueError:
            outcomes.append(False)
            model = quiet_fit(GaussianMixture(2, **options, n_init=200), X)
            assert model.covariances_.min() > 0 and np.isfinite(model.lower_bound_)
    assert 0 < sum(outcomes) < 30
    with pytest.raises(ValueError, match="increase reg_covar"):
        GaussianMixture(2, reg_covar=0, random_state=0).fit(np.repeat([[0.0], [1.0]], 20, axis=0))


@pytest.mark.parametrize("init", INITS)
def test_every_start_fits_and_likelihood_never_falls(init, covariance_type):
    X, *_ = mixture_data(1500, 3, 3)
    model = quiet_fit(
        GaussianMixture(
            3, covariance_type=covariance_type, init_params=init, tol=0, max_iter=40, random_state=0
        ),
        X,
    )
    assert np.diff(model.lower_bounds_).min() > -1e-12
    np.testing.assert_allclose(model.weights_.sum(), 1)
    assert model.predict(X).shape == (1500,)


def test_fit_predict_equals_fit_then_predict(covariance_type, dtype):
    X, *_ = mixture_data(1500, 3, 3, dtype)
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0, tol=1e-2)
    np.testing.assert_array_equal(model.fit_predict(X), model.predict(X))


@pytest.mark.parametrize("init", ["k-means++", "random_from_data"])
def test_starts_at_rows_have_the_scale_of_the_data(init, covariance_type):
    """Equal weights, and the covariance of the rows about their nearest mean."""
    X = mixture_data(1500, 3, 3)[0] * 1000
    model = GaussianMixture(
        3, covariance_type=covariance_type, init_params=init, max_iter=0, random_state=0
    ).fit(X)
    np.testing.assert_array_equal(model.weights_, np.full(3, 1 / 3))
    assert (model.means_[:, None] == X).all(axis=2).any(axis=1).all()
    nearest = ((X[:, None] - model.means_) ** 2).sum(axis=2).argmin(axis=1)
    within = sum(np.cov(X[nearest == k].T, bias=True) * np.mean(nearest == k) for k in range(3))
    expected = of_type(np.stack([within] * 3), covariance_type)
    rtol = tolerance("known moments")
    np.testing.assert_allclose(model.covariances_, expected, rtol=rtol, atol=1e-6)


def test_one_component_is_the_closed_form(covariance_type):
    X, *_ = mixture_data(700, 3, 2)
    model = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0).fit(X)
    np.testing.assert_allclose(model.means_[0], X.mean(0), rtol=tolerance("sums"), atol=1e-13)
    expected = np.squeeze(of_type(np.cov(X.T, bias=True)[None], covariance_type))
    rtol = tolerance("second moments")
    np.testing.assert_allclose(np.squeeze(model.covariances_), expected, rtol=rtol, atol=1e-12)


def test_threads_give_the_same_fit():
    X, *_ = mixture_data(30_000, 3, 3)
    fits = [quiet_fit(GaussianMixture(3, random_state=0, n_threads=n), X) for n in (1, 2, 3, 8)]
    for other in fits[1:]:
        assert other.means_.tobytes() == fits[0].means_.tobytes()
        assert other.lower_bounds_ == fits[0].lower_bounds_


def _child(X, expected, queue):
    queue.put(GaussianMixture(3, random_state=0, n_threads=2).fit(X).means_.tobytes() == expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_a_fit_does_not_hang():
    X, *_ = mixture_data(30_000, 3, 3)
    expected = GaussianMixture(3, random_state=0, n_threads=2).fit(X).means_.tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(X, expected, queue))
    child.start()
    try:
        assert queue.get(timeout=60)
    finally:
        child.kill()
        child.join()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="POSIX signals")
def test_ctrl_c_stops_a_long_fit():
    X, *_ = mixture_data(200_000, 8, 8)
    model = GaussianMixture(8, random_state=0, tol=0, max_iter=2_000)
    main = threading.main_thread().ident
    # a background job of a shell starts with SIGINT ignored
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert time.monotonic() - began < 30  # it was interrupted long before the last iteration
    assert not hasattr(model, "means_")


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_singular_covariance_names_its_component(covariance_type):
    X = np.zeros((20, 2))
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(2, covariance_type=covariance_type, reg_covar=0).fit(X)


def test_a_failed_fit_loses_nothing():
    X, *_ = mixture_data(100, 2, 2)
    model = GaussianMixture(2, random_state=0).fit(X)
    before = model.means_.copy()
    X[17, 1] = np.nan
    with pytest.raises(ValueError, match="NaN.*17|17.*NaN"):
        model.fit(X)
    np.testing.assert_array_equal(model.means_, before)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(covariance_type="round"), "round.*full"),
        (dict(init_params="best"), "best.*kmeans"),
        (dict(n_components=0), "n_components"),
        (dict(n_components=200), "n_samples"),
        (dict(weights_init=[0.5, 0.6]), "weights"),
        (dict(means_init=[[0.0, 0.0]]), "means"),
        (dict(precisions_init=[np.eye(2), -np.eye(2)]), "precision"),
        (dict(verbose=-1), "verbose must be an int >= 0, got -1"),
        (dict(verbose=None), "verbose.*None"),
        (dict(verbose="1"), "verbose.*'1'"),
        (dict(verbose=np.inf), "verbose.*inf"),
    ],
)
def test_bad_options_are_named(options, message):
    X, *_ = mixture_data(100, 2, 2)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        GaussianMixture(**{"n_components": 2, **options}).fit(X)


@pytest.mark.parametrize("small", [np.int8, np.uint8])
@pytest.mark.parametrize("kind", BOTH)
def test_numpy_ints_of_few_bits_are_ints(kind, small, capsys):
    X, *_ = mixture_data(400, 2, 2)
    options = dict(n_components=2, max_iter=100, n_init=2, verbose=1, verbose_interval=100)
    plain, other = (
        quiet_fit(kind(**{name: t(value) for name, value in options.items()}, random_state=0), X)
        for t in (int, small)
    )
    assert_same_bits(plain, other)
    many = dict(n_components=small(2), max_iter=300, tol=0, verbose=1, random_state=0)
    quiet_fit(kind(**many, verbose_interval=small(100)), X)
    assert "Iteration 300" in capsys.readouterr().out


@pytest.mark.parametrize("n", ["3", None, 0, 2.5, [1]], ids=repr)
def test_a_sample_of_no_number_of_rows_is_refused(n):
    model = GaussianMixture().fit(mixture_data(20, 2, 1)[0])
    with pytest.raises(ValueError, match="n_samples"):
        model.sample(n)


def test_a_reg_covar_of_any_real_type_can_be_warned_of():
    X = mixture_data(100, 2, 2)[0] * 1e-6
    with pytest.warns(UserWarning, match="reg_covar=0.25 is more"):
        GaussianMixture(reg_covar=Fraction(1, 4)).fit(X)


@pytest.mark.parametrize(
    "weight, message",
    [
        (np.r_[-1.0, np.ones(99)], "negative|0"),
        (np.zeros(100), "zero"),
        (np.ones(99), "99"),
    ],
)
def test_bad_sample_weights_are_named(weight, message):
    X, *_ = mixture_data(100, 2, 2)
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2).fit(X, sample_weight=weight)


@pytest.mark.parametrize("n_init", [0, -1, 1.0, True, None, "always", "AUTO"])
def test_other_numbers_of_starts_are_refused(n_init):
    with pytest.raises(ValueError, match="n_init must be"):
        GaussianMixture(n_init=n_init).fit(np.zeros((9, 1)))
