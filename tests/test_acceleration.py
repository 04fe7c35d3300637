"""Acceleration by extrapolation, and the stopping rule that sees slow convergence."""

import itertools

import numpy as np
import pytest

from fusedgmm import Checkpoint, GaussianMixture, fit_batch, reference, select
from helpers import COVARIANCE_TYPES, FITTED, tolerance

pytestmark = pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")


def overlapping(n=400, k=3, d=2, seed=5, dtype=np.float64, offset=0.0, apart=0.8):
    """Groups closer together than their width, so that EM is slow."""
    rng = np.random.default_rng(seed)
    means = apart * rng.normal(size=(k, d))
    X = means[rng.integers(k, size=n)] + rng.normal(size=(n, d)) * rng.uniform(0.6, 1.4, d)
    return (X + offset).astype(dtype)


def start_of(X, k, covariance_type):
    """A start of which weights, means and covariances are known."""
    options = dict(covariance_type=covariance_type, init_params="random_from_data", n_init=1)
    model = GaussianMixture(k, max_iter=0, random_state=0, **options).fit(X)
    return model.weights_, model.means_, model.covariances_


def fitted(X, k, covariance_type, **options):
    options = dict(acceleration="squarem", random_state=0, n_init=1) | options
    options = dict(init_params="random_from_data", max_iter=2000, tol=1e-8) | options
    return GaussianMixture(k, covariance_type=covariance_type, **options).fit(X)


def test_the_core_does_what_the_reference_does(covariance_type):
    X = overlapping()
    weights, means, covariances = start_of(X, 3, covariance_type)
    options = dict(tol=1e-7, max_iter=60)
    wanted = reference.fit_squarem(
        X, weights, means, covariances, covariance_type, reg_covar=1e-6, **options
    )
    given = dict(weights_init=weights, means_init=means, covariances_init=covariances)
    model = fitted(X, 3, covariance_type, **given, **options)
    *parameters, bounds, converged, n_passes = wanted
    assert (model.n_iter_, model.n_passes_) == (len(bounds), n_passes)
    assert n_passes > len(bounds) or covariance_type == "spherical"  # some trials are rejected
    assert model.converged_ == converged
    np.testing.assert_allclose(model.lower_bounds_, bounds, rtol=tolerance("bounds"))
    for found, expected in zip(
        (model.weights_, model.means_, model.covariances_), parameters, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_coordinates_of_the_reference_are_those_of_one_mixture(covariance_type):
    X = overlapping()
    weights, means, covariances = start_of(X, 3, covariance_type)
    x = reference.coordinates(weights, means, covariances, covariance_type)
    back = reference.from_coordinates(x, 3, 2, covariance_type)
    for found, expected in zip(back, (weights, means, covariances), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_norm_is_twice_the_divergence_of_the_complete_data(covariance_type):
    """For a small change, the Kullback-Leibler divergence of (component, row) is |D|^2 / 2."""
    X = overlapping()
    parameters = start_of(X, 3, covariance_type)
    x = reference.coordinates(*parameters, covariance_type)
    change = 1e-4 * np.random.default_rng(0).normal(size=x.shape)
    if covariance_type in ("full", "tied"):
        roots = change[3 + 6 :].reshape(-1, 2, 2)
        roots[:] = np.tril(roots)
    weights, means, covariances = parameters
    w1, m1, c1 = reference.from_coordinates(x + change, 3, 2, covariance_type)

    def full(c):
        if covariance_type in ("full", "tied"):
            return np.broadcast_to(c, (3, 2, 2))
        return [np.eye(2) * v for v in c]

    divergence = (weights * np.log(weights / w1)).sum()
    for k, (a, b) in enumerate(zip(full(covariances), full(c1), strict=True)):
        step = m1[k] - means[k]
        inverse = np.linalg.inv(b)
        log_det = np.linalg.slogdet(b)[1] - np.linalg.slogdet(a)[1]
        normal = np.trace(inverse @ a) - 2 + log_det + step @ inverse @ step
        divergence += weights[k] * normal / 2
    norm = reference.squared_norm(change, *parameters, covariance_type)
    np.testing.assert_allclose(norm / 2, divergence, rtol=2e-3)


def test_the_norm_does_not_depend_on_units(covariance_type):
    """Scaled rows have the same extrapolations, so the same passes."""
    X = overlapping()
    a = fitted(X, 3, covariance_type, reg_covar=0)
    b = fitted(X * 2.0**20, 3, covariance_type, reg_covar=0)
    assert (a.n_iter_, a.n_passes_) == (b.n_iter_, b.n_passes_)


@pytest.mark.parametrize("seed", range(4))
def test_the_likelihood_never_falls(covariance_type, dtype, seed):
    X = overlapping(600, 4, 3, seed, dtype)
    model = fitted(X, 4, covariance_type, reg_covar=0, tol=0, max_iter=150)
    assert np.diff(model.lower_bounds_).min() > (-1e-12 if dtype == np.float64 else -1e-6)
    assert len(model.lower_bounds_) == model.n_iter_ <= model.n_passes_ <= 1.5 * model.n_iter_
    assert model.weights_.min() > 0
    np.testing.assert_allclose(model.weights_.sum(), 1, rtol=1e-6)


def test_every_iterate_is_a_mixture_and_has_its_bound(covariance_type):
    """A fit that is stopped anywhere has the parameters after that iteration, never a trial."""
    X = overlapping()
    whole = fitted(X, 3, covariance_type, tol=0, max_iter=30)
    for n in range(1, 30):
        part = fitted(X, 3, covariance_type, tol=0, max_iter=n)
        assert part.n_iter_ == n
        assert part.lower_bounds_ == whole.lower_bounds_[:n]
        after = part.score(X)
        # a step of EM raises the likelihood, and so does what follows
        assert whole.lower_bounds_[n - 1] <= after + 1e-5
        assert n < 3 or after <= whole.score(X) + 1e-5


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_it_needs_fewer_passes_for_the_same_optimum(covariance_type, offset):
    X = overlapping(2000, 3, 2, 1, offset=offset, apart=2)
    options = dict(init_params="kmeans", tol=1e-10, max_iter=20000)
    plain = fitted(X, 3, covariance_type, acceleration=None, **options)
    fast = fitted(X, 3, covariance_type, **options)
    assert plain.n_passes_ == plain.n_iter_
    assert fast.n_passes_ < plain.n_passes_ / 2
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-6


def test_plain_em_is_the_default(covariance_type):
    X = overlapping()
    options = dict(covariance_type=covariance_type, random_state=1, tol=1e-6)
    a = GaussianMixture(3, **options).fit(X)
    b = GaussianMixture(3, acceleration=None, stopping="change", **options).fit(X)
    assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FITTED)
    assert a.n_passes_ == a.n_iter_


def test_threads_change_no_bit(covariance_type):
    X = overlapping(40_000, 4, 5)
    models = [fitted(X, 4, covariance_type, n_threads=n, max_iter=25) for n in (1, 2, 3)]
    for model in models[1:]:
        assert model.lower_bounds_ == models[0].lower_bounds_
        assert model.n_passes_ == models[0].n_passes_
        assert all(np.array_equal(getattr(model, n), getattr(models[0], n)) for n in FITTED)


def test_a_weight_is_as_many_rows(covariance_type):
    X = overlapping()
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    given = start_of(X, 3, covariance_type)
    start = dict(weights_init=given[0], means_init=given[1], covariances_init=given[2])
    options = dict(start, acceleration="squarem", covariance_type=covariance_type, max_iter=12)
    a = GaussianMixture(3, **options).fit(X, sample_weight=weight)
    b = GaussianMixture(3, **options).fit(np.repeat(X, weight, axis=0))
    assert a.n_passes_ == b.n_passes_
    np.testing.assert_allclose(a.means_, b.means_, rtol=tolerance("same fit"), atol=1e-9)


def test_a_batch_is_its_single_fits(covariance_type):
    X = [overlapping(n, 3, 2, n) for n in (60, 100, 300)]
    options = dict(acceleration="squarem", stopping="aitken", covariance_type=covariance_type)
    result = fit_batch(X, 3, random_state=0, tol=1e-5, max_iter=500, **options)
    for i, rows in enumerate(X):
        one = GaussianMixture(
            3, random_state=result.seeds[i], n_init=1, tol=1e-5, max_iter=500, **options
        ).fit(rows)
        assert result.n_passes[i] == result[i].n_passes_ == one.n_passes_
        assert result.n_iter[i] == one.n_iter_ and result.lower_bound[i] == one.lower_bound_
        assert np.array_equal(result[i].means_, one.means_)


def test_select_fits_the_same_models():
    X = overlapping()
    options = dict(acceleration="squarem", stopping="aitken", tol=1e-5)
    selection = select(X, [2, 3], ["full", "diag"], n_init=1, random_state=3, **options)
    for (k, kind), model in selection.models.items():
        options |= dict(reg_covar=0, max_iter=200, n_init=1, random_state=3)
        one = GaussianMixture(k, covariance_type=kind, **options).fit(X)
        assert model.n_passes_ == one.n_passes_ and np.array_equal(model.means_, one.means_)


@pytest.mark.parametrize("calls", [2, 3, 4, 5, 12])
def test_a_fit_that_was_killed_goes_on_to_the_same_bits(covariance_type, calls, tmp_path):
    """Within a cycle, before and after a trial, and in the second start."""

    class Killed(Exception):
        pass

    def callback(state):
        checkpoint(state)
        callback.left -= 1
        if callback.left == 0:
            raise Killed

    X = overlapping()
    options = dict(n_init=2, max_iter=9, tol=1e-9, stopping="aitken")
    whole = fitted(X, 3, covariance_type, **options)
    checkpoint = Checkpoint(tmp_path / "fit.npz", every_seconds=0)
    callback.left = calls
    model = GaussianMixture(
        3, covariance_type=covariance_type, acceleration="squarem", random_state=0, **options
    )
    model.set_params(init_params="random_from_data")
    with pytest.raises(Killed):
        model.fit(X, callback=callback)
    model.fit(X, resume=checkpoint)
    assert (model.lower_bounds_, model.n_passes_) == (whole.lower_bounds_, whole.n_passes_)
    assert all(np.array_equal(getattr(model, name), getattr(whole, name)) for name in FITTED)
    with pytest.raises(ValueError, match="acceleration"):
        model.set_params(acceleration=None).fit(X, resume=checkpoint)


def test_chunks_are_fitted_as_the_rows():
    X = overlapping(5000)
    start = start_of(X, 3, "full")
    given = dict(weights_init=start[0], means_init=start[1], covariances_init=start[2])
    options = dict(acceleration="squarem", tol=1e-6, max_iter=500, **given)
    whole = GaussianMixture(3, **options).fit(X)
    parts = GaussianMixture(3, **options).fit_chunks(np.array_split(X, 7))
    assert parts.n_passes_ == whole.n_passes_
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=tolerance("same fit"), atol=1e-9)


def test_repairs_go_on(covariance_type):
    """Floored covariances are iterates like others."""
    X = overlapping(200)
    if covariance_type == "tied":
        X[:, 1] = 0
    X[:50] = X[0]
    options = dict(degenerate="repair", reg_covar=0, tol=1e-6, max_iter=300)
    with pytest.warns(UserWarning, match="floored"):
        model = fitted(X, 8, covariance_type, init_params="kmeans", **options)
    assert model.weights_.min() > 0 and np.isfinite(model.covariances_).all()
    assert all(repair.iteration <= model.n_iter_ for repair in model.repairs_)


def test_a_reseeded_component_begins_a_new_cycle(covariance_type):
    """From the reseeded mixture on, the fit is the one that starts there."""
    X = overlapping(300)
    far = np.array([[0.0, 0.0], [1.0, 1.0], [1e5, 1e5]])
    ones = GaussianMixture(3, covariance_type=covariance_type, max_iter=0).fit(X).covariances_
    start = dict(means_init=far, weights_init=[0.3, 0.3, 0.4], covariances_init=ones)
    options = dict(degenerate="repair", tol=0)
    with pytest.warns(UserWarning, match="re-seeded"):
        model = fitted(X, 3, covariance_type, **start, **options, max_iter=12)
    assert [repair.iteration for repair in model.repairs_ if repair.row >= 0] == [1]
    with pytest.warns(UserWarning, match="re-seeded"):
        first = fitted(X, 3, covariance_type, **start, **options, max_iter=1)
    start = dict(means_init=first.means_, weights_init=first.weights_)
    start |= dict(covariances_init=first.covariances_)
    rest = fitted(X, 3, covariance_type, **start, **options, max_iter=11)
    np.testing.assert_allclose(model.lower_bounds_[1:], rest.lower_bounds_, rtol=1e-9)
    assert model.n_passes_ == rest.n_passes_ + 1


def test_an_empty_component_stays_empty():
    X = overlapping(300)
    far = np.array([[0.0, 0.0], [1.0, 1.0], [1e5, 1e5]])
    start = dict(means_init=far, weights_init=[0.3, 0.3, 0.4], covariances_init=np.ones(3))
    with pytest.warns(UserWarning, match="weight 0"):
        model = fitted(X, 3, "spherical", **start)
    assert model.weights_[2] == 0 and model.converged_
    two = dict(means_init=far[:2], weights_init=[0.5, 0.5], covariances_init=np.ones(2))
    alone = fitted(X, 2, "spherical", **two)
    np.testing.assert_allclose(model.means_[:2], alone.means_, rtol=1e-6)


@pytest.mark.parametrize("d", [1, 5, 130])
def test_one_component_is_found_at_once(covariance_type, d):
    X = np.random.default_rng(0).normal(size=(400, d))
    model = fitted(X, 1, covariance_type)
    assert model.n_passes_ <= 3 and model.converged_
    np.testing.assert_allclose(model.means_[0], X.mean(0), atol=1e-12)


def test_a_warm_start_begins_a_cycle():
    X = overlapping()
    model = fitted(X, 3, "full", warm_start=True, max_iter=5, tol=0)
    bound = model.lower_bound_
    model.fit(X)
    assert model.lower_bounds_[0] >= bound - 1e-5 and model.n_iter_ == 5


@pytest.mark.parametrize(
    ("covariance_type", "seed", "tol"),
    [("full", 2, 1e-5), ("full", 7, 1e-6), ("diag", 1, 1e-5), ("spherical", 11, 1e-4)],
)
def test_a_trial_that_gains_little_does_not_end_a_fit(covariance_type, seed, tol):
    model = fitted(overlapping(seed=seed), 3, covariance_type, tol=tol)
    changes = np.abs(np.diff(model.lower_bounds_))
    assert model.converged_ and changes[-1] < tol
    assert (changes[:-1] < tol).any()  # otherwise these data show nothing


# ---- the stopping rule ----


def test_aitken_stops_when_little_is_left():
    """Against its definition, iteration by iteration."""
    X = overlapping(1000, 3, 2, 2)
    tol = 1e-4
    options = dict(acceleration=None, tol=tol)
    for covariance_type in COVARIANCE_TYPES:
        model = fitted(X, 3, covariance_type, stopping="aitken", **options)
        early = fitted(X, 3, covariance_type, **options)
        assert model.lower_bounds_[: early.n_iter_] == early.lower_bounds_
        assert model.n_iter_ > early.n_iter_
        bounds = fitted(X, 3, covariance_type, acceleration=None, tol=0).lower_bounds_

        def is_close(a, b, c):
            rate = (c - b) / (b - a)
            limit = b + (c - b) / (1 - rate)
            return rate < 1 and abs(c - b) < tol and (rate <= 0 or abs(limit - c) < tol)

        threes = zip(bounds, bounds[1:], bounds[2:], strict=False)
        n = 3 + next(i for i, three in enumerate(threes) if is_close(*three))
        assert model.n_iter_ == n


def test_aitken_is_closer_to_the_limit():
    X = overlapping(2000, 3, 2, 1)
    for acceleration, covariance_type in itertools.product((None, "squarem"), COVARIANCE_TYPES):
        options = dict(acceleration=acceleration, tol=1e-4, max_iter=5000)
        early = fitted(X, 3, covariance_type, **options)
        late = fitted(X, 3, covariance_type, stopping="aitken", **options)
        assert late.n_iter_ >= early.n_iter_
        assert late.lower_bound_ >= early.lower_bound_


def test_aitken_ends_where_nothing_changes():
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = fitted(X, 1, "full", acceleration=None, stopping="aitken")
    assert model.converged_ and model.n_iter_ <= 4


@pytest.mark.parametrize("name", ["acceleration", "stopping"])
def test_an_unknown_option_is_refused(name):
    X = overlapping(30)
    with pytest.raises(ValueError, match=name):
        GaussianMixture(2, **{name: "faster"}).fit(X)
    with pytest.raises(ValueError, match=name):
        fit_batch([X], 2, **{name: "faster"})


def test_a_saved_model_keeps_the_options(tmp_path):
    model = fitted(overlapping(), 3, "full", stopping="aitken")
    model.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz")
    assert again.get_params() == model.get_params()
    assert again.n_passes_ == model.n_passes_
