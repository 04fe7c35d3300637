"""Singular covariances: an error as in scikit-learn, or floored with degenerate="repair"."""

import numpy as np
import pytest

from fusedgmm import GaussianMixture, fit_batch
from helpers import COVARIANCE_TYPES, FITTED, INITS, mixture_data, of_type, tolerance
from helpers.repairs import CLOUD, COLLAPSING, assert_sound, fit, variances


@pytest.mark.parametrize("case", COLLAPSING)
def test_a_repaired_fit_is_sound(case, covariance_type, dtype):
    X, k = COLLAPSING[case]
    X = X.astype(dtype)
    for reg_covar in (0, 1e-6):
        assert_sound(fit(X, k, covariance_type, reg_covar=reg_covar), X)


@pytest.mark.parametrize("case", COLLAPSING)
def test_raise_is_the_default_and_keeps_the_error(case, covariance_type):
    X, k = COLLAPSING[case]
    repaired = fit(X, k, covariance_type)
    plain = GaussianMixture(k, covariance_type=covariance_type, reg_covar=0, random_state=0)
    assert plain.degenerate == "raise"
    if not repaired.repairs_:  # some cases are not singular for spherical and tied
        plain.fit(X)
        assert plain.means_.tobytes() == repaired.means_.tobytes()
        return
    with pytest.raises(
        ValueError,
        match="Fitting the mixture model failed because some components have ill-defined empirical "
        r"covariance \(for instance caused by singleton or collapsed samples\). Try to decrease "
        "the number of components, increase reg_covar, or scale the input data.",
    ):
        plain.fit(X)
    assert not hasattr(plain, "means_")


def test_every_type_is_repaired_in_some_case():
    for covariance_type in COVARIANCE_TYPES:
        cases = [fit(X, k, covariance_type).repairs_ for X, k in COLLAPSING.values()]
        assert sum(map(bool, cases)) >= 3, covariance_type


def test_repair_changes_no_bit_of_a_fit_that_needs_none(covariance_type, dtype):
    X = mixture_data(900, 3, 3, dtype)[0]
    options = dict(covariance_type=covariance_type, random_state=0, tol=1e-2, n_init=2)
    plain = GaussianMixture(3, **options).fit(X)
    repair = GaussianMixture(3, degenerate="repair", **options).fit(X)  # without a warning
    assert repair.repairs_ == plain.repairs_ == []
    assert repair.lower_bounds_ == plain.lower_bounds_
    for name in FITTED:
        assert getattr(repair, name).tobytes() == getattr(plain, name).tobytes(), name


@pytest.mark.parametrize("scale", [1e-150, 2.0**-400, 1e-30, 1e30, 2.0**400, 1e150])
def test_any_scale_is_repaired(covariance_type, scale):
    for X, k in COLLAPSING.values():
        assert_sound(fit(X * scale, k, covariance_type), X * scale)


@pytest.mark.parametrize("case", COLLAPSING)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-9, 2.0**60])
def test_the_floor_is_relative_to_the_data(case, covariance_type, scale):
    """Scaling by a power of two gives the same steps, digit by digit."""
    X, k = COLLAPSING[case]
    if case == "all rows zero":
        scale = 1.0
    here, there = fit(X, k, covariance_type), fit(X * scale, k, covariance_type)
    assert there.repairs_ == here.repairs_
    assert there.n_iter_ == here.n_iter_
    rtol = tolerance("same fit")
    np.testing.assert_allclose(there.weights_, here.weights_, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(there.means_, here.means_ * scale, rtol=rtol, atol=1e-12 * scale)
    if np.ptp(X, axis=0).any():  # constant rows have no scale
        np.testing.assert_allclose(
            there.covariances_, here.covariances_ * scale**2, rtol=1e-6, atol=1e-12 * scale**2
        )


def test_the_floor_is_a_thousandth_of_each_features_deviation(covariance_type):
    """Two points with one component each: their covariance is exactly the floor."""
    X = np.repeat([[0.0, 0.0], [2.0, 2000.0]], 10, axis=0)
    model = fit(X, 2, covariance_type)
    floor = 1e-6 * X.var(axis=0)
    expected = {
        "full": np.stack([np.diag(floor)] * 2),
        "tied": np.diag(floor),
        "diag": np.stack([floor] * 2),
        "spherical": np.full(2, floor.mean()),
    }[covariance_type]
    rtol = tolerance("known moments")
    np.testing.assert_allclose(model.covariances_, expected, rtol=rtol, atol=1e-15)


@pytest.mark.parametrize("width", [3e-5, 3e-4, 3e-3])
def test_a_component_narrower_than_a_thousandth_is_floored(covariance_type, width):
    """A component that is wider keeps its own width."""
    rows = np.random.default_rng(1).normal(size=(400, 2))
    X = np.repeat([[0.0, 0.0], [2.0, 2.0]], 200, axis=0) + width * rows
    model = fit(X, 2, covariance_type)
    assert bool(model.repairs_) == (width < 1e-3)
    own = np.stack([np.cov(group.T, bias=True) for group in np.split(X, 2)])
    if width < 1e-3:
        own += np.diag(1e-6 * X.var(axis=0))
    order = slice(None) if covariance_type == "tied" else np.argsort(model.means_[:, 0])
    np.testing.assert_allclose(
        model.covariances_[order], of_type(own, covariance_type), rtol=1e-6, atol=1e-15
    )


def test_a_correlated_component_is_floored_across_itself():
    """For rows on a line no feature is narrow, but the direction across the line is."""
    X, k = COLLAPSING["a line"]
    model = fit(X, k, "full")
    assert {d.component for d in model.repairs_} == {0, 1}
    assert (variances(model) > 1e-7 * X.var()).all()
    assert (np.linalg.eigvalsh(model.covariances_)[:, 1] < 3 * X.var()).all()


def test_a_constant_column_is_as_wide_as_the_others():
    X = np.column_stack([CLOUD[:, 0], np.full(200, 4.0), 10 * CLOUD[:, 1], np.zeros(200)])
    model = fit(X, 2, "diag")
    varying = X[:, [0, 2]].var(axis=0).mean()
    rtol = tolerance("known moments")
    np.testing.assert_allclose(model.covariances_[:, [1, 3]], 1e-6 * varying, rtol=rtol)
    np.testing.assert_allclose(model.means_[:, [1, 3]], [[4, 0]] * 2)


def test_the_floor_does_not_depend_on_an_offset(covariance_type):
    """Rows are multiples of 2^-20, so that adding 2^20 is exact."""
    X, k = COLLAPSING["equal rows"]
    X = np.round(X * 2**20) / 2**20
    here, there = fit(X, k, covariance_type), fit(X + 2.0**20, k, covariance_type)
    assert there.repairs_ == here.repairs_
    np.testing.assert_allclose(there.means_ - 2.0**20, here.means_, atol=1e-6)
    np.testing.assert_allclose(there.covariances_, here.covariances_, rtol=1e-5, atol=1e-9)
    assert_sound(there, X + 2.0**20)


def test_weights_are_repeated_rows(covariance_type):
    X, k = COLLAPSING["equal rows"]
    counts = np.random.default_rng(4).integers(0, 3, size=len(X))
    start = dict(means_init=[[0, 0], [30, 30]], tol=1e-6)
    weighted = fit(X, k, covariance_type, sample_weight=counts, **start)
    repeated = fit(np.repeat(X, counts, axis=0), k, covariance_type, **start)
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-6, atol=1e-9)
    flooring = [[d[1] for d in m.repairs_ if d.row < 0] for m in (weighted, repeated)]
    assert flooring[0] == flooring[1]


def test_a_singular_start_without_iterations_is_repaired(covariance_type):
    X, k = COLLAPSING["few distinct rows"]
    model = fit(X, 3, covariance_type, max_iter=0)
    assert model.n_iter_ == 0 and {d.iteration for d in model.repairs_} == {0}
    assert_sound(model, X)


@pytest.mark.parametrize("init", INITS)
def test_an_infinite_covariance_is_an_error(init, covariance_type):
    """An infinite covariance cannot be repaired; its factors were once left uninitialised."""
    X = CLOUD[:60] * 1e160
    options = dict(covariance_type=covariance_type, init_params=init, degenerate="repair")
    with pytest.raises(ValueError, match="squares of the data's differences .* are too large"):
        GaussianMixture(3, random_state=0, **options).fit(X)
    result = fit_batch([X], 3, random_state=[0], **options)
    assert not result.ok.any() and np.isnan(result.means).all()
