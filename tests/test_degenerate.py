"""Components that collapse or die: refused as scikit-learn does, or repaired and recorded."""

import warnings

import numpy as np
import pytest
from conftest import COVARIANCE_TYPES, mixture_data, of_type

from fusedgmm import BatchStatus, GaussianMixture, fit_batch

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(200, 2))
# name -> rows, components: each has a component of no width somewhere
COLLAPSING = {
    "equal rows": (np.vstack([CLOUD, np.full((50, 2), 30.0)]), 2),
    "few distinct rows": (np.repeat([[0.0, 1.0], [4.0, -3.0], [-2.0, 7.0]], 20, axis=0), 5),
    "constant column": (np.column_stack([CLOUD[:, 0], np.full(200, 4.0)]), 2),
    "a line": (np.column_stack([CLOUD[:, 0], CLOUD[:, 0]]), 2),
    "all rows equal": (np.full((20, 2), 3.0), 3),
    "all rows zero": (np.zeros((20, 2)), 3),
}
FITTED = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def fit(X, k, covariance_type, sample_weight=None, **options):
    """Repaired and quiet, on one thread if not asked otherwise: the rows are few."""
    options = {"reg_covar": 0, "random_state": 0, "n_threads": 1, **options}
    model = GaussianMixture(k, covariance_type=covariance_type, degenerate="repair", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X, sample_weight=sample_weight)


def started(covariance_type, means, **options):
    """A model to start from these means, equal weights and unit covariances."""
    k, d = np.shape(means)
    precisions = {
        "full": np.stack([np.eye(d)] * k),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }[covariance_type]
    options = {"degenerate": "repair", "n_threads": 1, "tol": 1e-2, **options}
    return GaussianMixture(
        k, covariance_type=covariance_type, weights_init=np.full(k, 1 / k), means_init=means,
        precisions_init=precisions, **options,
    )  # fmt: skip


def variances(model):
    """The least variance of every component in any direction."""
    c = model.covariances_.astype(np.float64)
    if model.covariance_type in ("full", "tied"):
        return np.atleast_1d(np.linalg.eigvalsh(c)[..., 0])
    return c.min(axis=1) if model.covariance_type == "diag" else c


def assert_sound(model, X):
    for name in FITTED:
        assert np.isfinite(getattr(model, name)).all(), name
    assert np.isfinite(model.lower_bounds_).all()
    np.testing.assert_allclose(model.weights_.sum(), 1, rtol=1e-6)
    assert (variances(model) > 0).all()
    low, high = X.min(axis=0), X.max(axis=0)
    slack = 1e-5 * (np.abs(low) + np.abs(high))
    assert ((model.means_ >= low - slack) & (model.means_ <= high + slack)).all()
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)


# ---------------------------------------------------------------- collapsing


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
    if not repaired.degeneracies_:  # spherical and tied bear some of the cases
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
        cases = [fit(X, k, covariance_type).degeneracies_ for X, k in COLLAPSING.values()]
        assert sum(map(bool, cases)) >= 3, covariance_type


def test_a_sound_fit_keeps_its_bits(covariance_type, dtype):
    X = mixture_data(900, 3, 3, dtype)[0]
    options = dict(covariance_type=covariance_type, random_state=0, tol=1e-2, n_init=2)
    plain = GaussianMixture(3, **options).fit(X)
    repair = GaussianMixture(3, degenerate="repair", **options).fit(X)  # and no warning
    assert repair.degeneracies_ == plain.degeneracies_ == []
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
    """By a power of two: the same steps, digit by digit."""
    X, k = COLLAPSING[case]
    if case == "all rows zero":
        scale = 1.0
    here, there = fit(X, k, covariance_type), fit(X * scale, k, covariance_type)
    assert there.degeneracies_ == here.degeneracies_
    assert there.n_iter_ == here.n_iter_
    np.testing.assert_allclose(there.weights_, here.weights_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.means_, here.means_ * scale, rtol=1e-9, atol=1e-12 * scale)
    if np.ptp(X, axis=0).any():  # rows without any spread have no scale
        np.testing.assert_allclose(
            there.covariances_, here.covariances_ * scale**2, rtol=1e-6, atol=1e-12 * scale**2
        )


def test_the_floor_is_a_thousandth_of_each_features_deviation(covariance_type):
    """Two points, one component each: their covariance is the floor and nothing else."""
    X = np.repeat([[0.0, 0.0], [2.0, 2000.0]], 10, axis=0)
    model = fit(X, 2, covariance_type)
    floor = 1e-6 * X.var(axis=0)
    expected = {
        "full": np.stack([np.diag(floor)] * 2),
        "tied": np.diag(floor),
        "diag": np.stack([floor] * 2),
        "spherical": np.full(2, floor.mean()),
    }[covariance_type]
    np.testing.assert_allclose(model.covariances_, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("width", [3e-5, 3e-4, 3e-3])
def test_less_than_a_thousandth_of_the_deviation_is_narrow(covariance_type, width):
    """And more is not: such a component keeps its own width."""
    rows = np.random.default_rng(1).normal(size=(400, 2))
    X = np.repeat([[0.0, 0.0], [2.0, 2.0]], 200, axis=0) + width * rows
    model = fit(X, 2, covariance_type)
    assert bool(model.degeneracies_) == (width < 1e-3)
    own = np.stack([np.cov(group.T, bias=True) for group in np.split(X, 2)])
    if width < 1e-3:
        own += np.diag(1e-6 * X.var(axis=0))
    order = slice(None) if covariance_type == "tied" else np.argsort(model.means_[:, 0])
    np.testing.assert_allclose(
        model.covariances_[order], of_type(own, covariance_type), rtol=1e-6, atol=1e-15
    )


def test_a_correlated_component_is_floored_across_itself():
    """On a line no feature is narrow; the direction across it is."""
    X, k = COLLAPSING["a line"]
    model = fit(X, k, "full")
    assert {d.component for d in model.degeneracies_} == {0, 1}
    assert (variances(model) > 1e-7 * X.var()).all()
    assert (np.linalg.eigvalsh(model.covariances_)[:, 1] < 3 * X.var()).all()


def test_a_constant_column_is_as_wide_as_the_others():
    X = np.column_stack([CLOUD[:, 0], np.full(200, 4.0), 10 * CLOUD[:, 1], np.zeros(200)])
    model = fit(X, 2, "diag")
    varying = X[:, [0, 2]].var(axis=0).mean()
    np.testing.assert_allclose(model.covariances_[:, [1, 3]], 1e-6 * varying, rtol=1e-9)
    np.testing.assert_allclose(model.means_[:, [1, 3]], [[4, 0]] * 2)


def test_an_offset_is_no_scale(covariance_type):
    """Rows in steps of 2^-20, so that the sum with 2^20 is exact."""
    X, k = COLLAPSING["equal rows"]
    X = np.round(X * 2**20) / 2**20
    here, there = fit(X, k, covariance_type), fit(X + 2.0**20, k, covariance_type)
    assert there.degeneracies_ == here.degeneracies_
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
    flooring = [[d[1] for d in m.degeneracies_ if d.row < 0] for m in (weighted, repeated)]
    assert flooring[0] == flooring[1]


# ---------------------------------------------------------------- dying


FAR = [[0.0, 0.0], [500.0, 500.0], [-900.0, 3.0]]


def test_a_dead_component_starts_again_where_the_data_are_worst_explained(covariance_type):
    X = CLOUD.copy()
    X[123] = [6.0, -6.0]
    model = started(covariance_type, [[0.0, 0.0], [500.0, 500.0]])
    with pytest.warns(UserWarning, match="component 1 re-seeded at row 123 in iteration 1"):
        model.fit(X)
    assert model.degeneracies_[0] == (1, 1, 123)
    assert (model.weights_ > 0).all()
    assert_sound(model, X)


def test_without_repair_a_dead_component_stays_where_it_was(covariance_type):
    """Neither at the origin nor anywhere else, however far the data are from it."""
    X = CLOUD + 1000
    model = started(covariance_type, [[1000.0, 1000.0], [1900.0, 1.0]], degenerate="raise")
    with pytest.warns(UserWarning, match=r"component\(s\) 1 of the mixture have weight 0"):
        model.fit(X)
    np.testing.assert_array_equal(model.means_[1], [1900.0, 1.0])
    assert model.weights_.tolist() == [1, 0]
    assert np.isfinite(model.covariances_).all() and model.degeneracies_ == []


def test_the_same_row_is_not_taken_twice(covariance_type):
    model = started(covariance_type, FAR)
    with pytest.warns(UserWarning, match="re-seeded"):
        model.fit(CLOUD)
    rows = [d.row for d in model.degeneracies_ if d.row >= 0]
    assert len(rows) >= 2 and len(set(rows)) == len(rows)
    assert_sound(model, CLOUD)


def test_rows_of_weight_zero_are_no_new_place(covariance_type):
    X = CLOUD.copy()
    X[[7, 9]] = [[40.0, 40.0], [-50.0, 3.0]]
    weight = np.ones(len(X))
    weight[[7, 9]] = 0
    model = started(covariance_type, FAR)
    with pytest.warns(UserWarning, match="re-seeded"):
        model.fit(X, sample_weight=weight)
    assert not {7, 9} & {d.row for d in model.degeneracies_}
    assert (np.abs(model.means_) < 5).all()


def test_the_worst_row_is_found_beyond_the_first_chunk(dtype):
    X = np.random.default_rng(5).normal(size=(10_000, 2)).astype(dtype)
    X[9_000] = 7
    model = started("diag", [[0.0, 0.0], [500.0, 500.0]], max_iter=3, tol=1e9)
    with pytest.warns(UserWarning, match="row 9000"):
        model.fit(X)


def test_repair_explains_the_data_better_than_the_loss(covariance_type):
    X = np.vstack([CLOUD, CLOUD + 20])
    means = [[10.0, 10.0], [5000.0, 5000.0]]
    lost = started(covariance_type, means, degenerate="raise", tol=1e-3)
    with pytest.warns(UserWarning, match="weight 0"):
        lost.fit(X)
    repaired = started(covariance_type, means, tol=1e-3)
    with pytest.warns(UserWarning, match="re-seeded"):
        repaired.fit(X)
    chosen = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    if covariance_type == "tied":  # one covariance spans both clusters, and EM cannot leave it
        assert repaired.score(X) > lost.score(X) - 2e-3
        return
    assert repaired.score(X) > lost.score(X) + 0.5
    assert repaired.score(X) > chosen.score(X) - 1e-2  # as good as a fit that lost nothing


def test_the_likelihood_falls_at_a_repair_only(covariance_type):
    model = started(covariance_type, FAR, tol=0, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(CLOUD)
    repairs = {d.iteration for d in model.degeneracies_ if d.row >= 0}
    floored = [d for d in model.degeneracies_ if d.row < 0]
    falls = np.flatnonzero(np.diff(model.lower_bounds_) < -1e-9) + 1  # iteration i led to i + 1
    if not floored:  # the floor is no maximum of the likelihood
        assert set(falls) <= repairs
    assert model.lower_bounds_[-1] > model.lower_bounds_[0]


def test_more_components_than_rows_to_give_them(covariance_type):
    """Some die again and again; three new places each, and it ends."""
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [5.0, 5.0], [9.0, 1.0], [2.0, 2.0]])
    means = [[0.0, 0.0], *([float(10**k), -float(10**k)] for k in range(2, 7))]
    model = started(covariance_type, means, reg_covar=0, max_iter=200)
    with pytest.warns(UserWarning, match="repaired"):
        model.fit(X)
    assert np.isfinite(model.lower_bounds_).all()
    for name in FITTED:
        assert np.isfinite(getattr(model, name)).all(), name
    seeds = [d.component for d in model.degeneracies_ if d.row >= 0]
    assert max(seeds.count(k) for k in set(seeds)) <= 3


def test_two_that_die_at_once_do_not_share_a_place():
    """The second finds the first one's place worst explained still: the others are nearer."""
    X = np.r_[np.tile([-1.0, 1.0], 10), 10.0][:, None]
    model = GaussianMixture(
        3, covariance_type="spherical", weights_init=[1, 0, 0], means_init=[[0], [500], [900]],
        covariances_init=np.ones(3), max_iter=0, degenerate="repair", n_threads=1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="re-seeded"):
        model.fit(X)
    assert [(d.component, d.row) for d in model.degeneracies_] == [(1, 20), (2, 0)]


def test_a_component_comes_back_three_times(covariance_type):
    """To rows so light that it dies there at once: then it stays dead."""
    far = 100.0 * np.random.default_rng(2).normal(size=(8, 2)) + 1000
    X, weight = np.vstack([CLOUD, far]), np.r_[np.ones(200), np.full(8, 1e-20)]
    model = started(covariance_type, [[0.0, 0.0], [-900.0, 3.0]], tol=0, max_iter=8)
    with pytest.warns(UserWarning) as caught:
        model.fit(X, sample_weight=weight)
    assert any("component(s) 1 of the mixture have weight 0" in str(w.message) for w in caught)
    assert [(d.iteration, d.component) for d in model.degeneracies_] == [(1, 1), (2, 1), (3, 1)]
    assert all(d.row >= 200 for d in model.degeneracies_)


def test_a_fit_does_not_end_at_a_new_place(covariance_type):
    """However little the bound has changed, it does not know the new place yet."""
    X = np.vstack([CLOUD, CLOUD + 20])
    options = dict(warm_start=True, tol=1e9, max_iter=20)
    model = started(covariance_type, [[0.0, 0.0], [20.0, 20.0]], **options).fit(X)
    model.means_[1] = [9e5, -9e5]
    with pytest.warns(UserWarning, match="component 1 re-seeded at row .* in iteration 1"):
        model.fit(X)
    assert model.converged_ and model.n_iter_ == 2


# ---------------------------------------------------------------- what is said


def test_one_warning_says_it_at_the_callers_line():
    X, k = COLLAPSING["equal rows"]
    model = GaussianMixture(k, reg_covar=0, random_state=0, degenerate="repair")
    for call in (model.fit, model.fit_predict):
        with pytest.warns(UserWarning) as caught:
            call(X)
        (warning,) = caught
        assert warning.filename == __file__
        assert "degenerate components were repaired: component" in str(warning.message)
        assert "degeneracies_" in str(warning.message)


def test_many_repairs_are_one_short_warning():
    X, k = COLLAPSING["few distinct rows"]
    model = GaussianMixture(k, reg_covar=0, random_state=0, degenerate="repair", n_init=3)
    with pytest.warns(UserWarning, match="repaired") as caught:
        model.fit(X)
    (warning,) = [w for w in caught if "repaired" in str(w.message)]
    assert len(model.degeneracies_) > 3
    assert f"; ...; all {len(model.degeneracies_)} repair(s)" in str(warning.message)
    assert str(warning.message).count(" in iteration ") == 3


def test_degeneracies_name_component_iteration_and_action():
    X, k = COLLAPSING["equal rows"]
    full, tied = fit(X, k, "full"), fit(np.column_stack([X[:, 0], X[:, 0]]), k, "tied")
    group = int(full.means_[:, 0].argmax())
    assert [(d.component, d.row) for d in full.degeneracies_] == [(group, -1)]
    assert full.degeneracies_[0].iteration == 0  # k-means found it
    assert str(full.degeneracies_[0]) == f"component {group} floored in iteration 0"
    assert [str(d) for d in tied.degeneracies_] == ["the tied covariance floored in iteration 0"]
    assert tied.degeneracies_[0] == (0, -1, -1)


def test_a_flooring_is_recorded_once_though_it_is_done_in_every_iteration():
    X, k = COLLAPSING["equal rows"]
    model = fit(X, k, "full", tol=0, max_iter=20)
    assert model.n_iter_ > 3 and len(model.degeneracies_) == 1


def test_only_the_kept_start_is_recorded():
    X, k = COLLAPSING["few distinct rows"]
    options = dict(init_params="random_from_data", random_state=3)
    several = fit(X, k, "diag", n_init=4, **options)
    assert len(several.degeneracies_) <= k + 3 * k
    assert all(0 <= d.iteration <= several.n_iter_ for d in several.degeneracies_)
    assert len({d.component for d in several.degeneracies_ if d.row < 0}) == sum(
        d.row < 0 for d in several.degeneracies_
    )


def test_a_later_fit_forgets_the_repairs():
    X, k = COLLAPSING["equal rows"]
    model = fit(X, k, "full")
    assert model.degeneracies_
    assert model.fit(mixture_data(300, 2, 2)[0]).degeneracies_ == []


def test_a_collapsed_start_of_no_iterations_is_repaired(covariance_type):
    X, k = COLLAPSING["few distinct rows"]
    model = fit(X, 3, covariance_type, max_iter=0)
    assert model.n_iter_ == 0 and {d.iteration for d in model.degeneracies_} == {0}
    assert_sound(model, X)


@pytest.mark.parametrize("case", ["equal rows", "few distinct rows"])
def test_any_number_of_threads_gives_the_same_bits(case, covariance_type, dtype):
    X, k = COLLAPSING[case]
    X = np.repeat(X, 20_000 // len(X), axis=0).astype(dtype)
    means = np.vstack([X[:: len(X) // k][: k - 1], [[1e5, 1e5]]])  # and one that dies
    fits = []
    for n in (1, 2):
        model = started(covariance_type, means, reg_covar=0, max_iter=8, tol=1e-3, n_threads=n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            fits.append(model.fit(X))
    assert any(d.row >= 0 for d in fits[0].degeneracies_)
    for other in fits[1:]:
        assert other.degeneracies_ == fits[0].degeneracies_
        assert other.lower_bounds_ == fits[0].lower_bounds_
        for name in FITTED:
            assert getattr(other, name).tobytes() == getattr(fits[0], name).tobytes(), name


def test_an_unknown_way_is_named():
    with pytest.raises(ValueError, match="unknown degenerate 'ignore'; known: raise, repair"):
        GaussianMixture(degenerate="ignore").fit(CLOUD)


# ---------------------------------------------------------------- many at once


def test_a_batch_repairs_as_single_fits_do(covariance_type, dtype):
    X = [rows.astype(dtype) for rows, _ in COLLAPSING.values()]
    X.append(mixture_data(300, 2, 2, dtype)[0])
    options = dict(covariance_type=covariance_type, reg_covar=0, tol=1e-2)
    result = fit_batch(X, 2, random_state=0, degenerate="repair", **options)
    assert result.ok.all()
    repaired = 0
    for i, rows in enumerate(X):
        alone = fit(rows, 2, n_starts=1, random_state=int(result.seeds[i]), **options)
        for name in FITTED:
            assert getattr(result[i], name).tobytes() == getattr(alone, name).tobytes(), (i, name)
        assert (result.lower_bound[i], result.n_iter[i]) == (alone.lower_bound_, alone.n_iter_)
        if not np.ptp(rows, axis=0).any():
            assert result.status[i] == BatchStatus.CONSTANT_ROWS
        elif (alone.weights_ > 0).all():
            found = BatchStatus.REPAIRED if alone.degeneracies_ else BatchStatus.CONVERGED
            assert result.status[i] == found
            repaired += found == BatchStatus.REPAIRED
        assert result[i].degenerate == "repair"
    assert repaired >= 2 and result.status[-1] == BatchStatus.CONVERGED


def test_a_batch_raises_nothing_and_marks_by_default():
    rows, k = COLLAPSING["equal rows"]
    plain, repaired = (
        fit_batch([rows], k, reg_covar=0, random_state=0, **options)
        for options in ({}, {"degenerate": "repair"})
    )
    assert BatchStatus(plain.status[0]) is BatchStatus.COLLAPSED_COMPONENT and not plain.ok[0]
    assert BatchStatus(repaired.status[0]) is BatchStatus.REPAIRED and repaired.converged[0]
    assert BatchStatus.REPAIRED.meaning == "degenerate components were repaired"
    with pytest.raises(ValueError, match="unknown degenerate"):
        fit_batch([rows], k, degenerate="ignore")


def test_a_saved_batch_of_repaired_fits_loads(tmp_path):
    rows, k = COLLAPSING["equal rows"]
    result = fit_batch([rows], k, reg_covar=0, random_state=0, degenerate="repair")
    result.save(tmp_path / "result.npz")
    copy = type(result).load(tmp_path / "result.npz")
    assert copy.status.tolist() == [BatchStatus.REPAIRED] and copy[0].degenerate == "repair"


def test_a_new_place_has_an_equal_share_and_the_pooled_width():
    """The first of the rows that are explained worst, where several are."""
    X = CLOUD.copy()
    X[[60, 90]] = [30.0, 30.0]
    wide = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 7.0]])
    model = GaussianMixture(
        3, covariance_type="diag", weights_init=[0.6, 0.4, 0.0], means_init=np.zeros((3, 2)),
        covariances_init=wide, max_iter=0, degenerate="repair", n_threads=1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="component 2 re-seeded at row 60 in iteration 0"):
        model.fit(X)
    np.testing.assert_allclose(model.weights_, [0.4, 0.8 / 3, 1 / 3])
    np.testing.assert_array_equal(model.means_[2], X[60])
    np.testing.assert_allclose(model.covariances_[2], 0.6 * wide[0] + 0.4 * wide[1])


@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_what_is_past_mending_is_an_error(init, covariance_type):
    """An infinite covariance has no floor; its factors were once left as they lay in memory."""
    X = RNG.normal(size=(60, 2)) * 1e160
    options = dict(covariance_type=covariance_type, init_params=init, degenerate="repair")
    with pytest.raises(ValueError, match="squares of the data's differences .* are too large"):
        GaussianMixture(3, random_state=0, **options).fit(X)
    result = fit_batch([X], 3, random_state=[0], **options)
    assert not result.ok.any() and np.isnan(result.means).all()
