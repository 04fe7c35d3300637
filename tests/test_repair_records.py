"""The reports of repairs: one warning per fit, and a record of each repair."""

import warnings

import numpy as np
import pytest

from fusedgmm import GaussianMixture
from helpers import FITTED, mixture_data
from helpers.repairs import CLOUD, COLLAPSING, fit, started


def test_one_warning_points_to_the_callers_line():
    X, k = COLLAPSING["equal rows"]
    model = GaussianMixture(k, reg_covar=0, random_state=0, degenerate="repair")
    for call in (model.fit, model.fit_predict):
        with pytest.warns(UserWarning) as caught:
            call(X)
        (warning,) = caught
        assert warning.filename == __file__
        assert "degenerate components were repaired: component" in str(warning.message)
        assert "repairs_" in str(warning.message)


def test_many_repairs_are_one_short_warning():
    X, k = COLLAPSING["few distinct rows"]
    model = GaussianMixture(k, reg_covar=0, random_state=0, degenerate="repair", n_init=3)
    with pytest.warns(UserWarning, match="repaired") as caught:
        model.fit(X)
    (warning,) = [w for w in caught if "repaired" in str(w.message)]
    assert len(model.repairs_) > 3
    assert f"; ...; all {len(model.repairs_)} repair(s)" in str(warning.message)
    assert str(warning.message).count(" in iteration ") == 3


def test_repairs_name_component_iteration_and_action():
    X, k = COLLAPSING["equal rows"]
    full, tied = fit(X, k, "full"), fit(np.column_stack([X[:, 0], X[:, 0]]), k, "tied")
    group = int(full.means_[:, 0].argmax())
    assert [(d.component, d.row) for d in full.repairs_] == [(group, -1)]
    assert full.repairs_[0].iteration == 0  # it was repaired in the k-means start
    assert str(full.repairs_[0]) == f"component {group} floored in iteration 0"
    assert [str(d) for d in tied.repairs_] == ["the tied covariance floored in iteration 0"]
    assert tied.repairs_[0] == (0, -1, -1)


def test_a_flooring_is_recorded_once_though_it_is_done_in_every_iteration():
    X, k = COLLAPSING["equal rows"]
    model = fit(X, k, "full", tol=0, max_iter=20)
    assert model.n_iter_ > 3 and len(model.repairs_) == 1


def test_only_the_kept_start_is_recorded():
    X, k = COLLAPSING["few distinct rows"]
    options = dict(init_params="random_from_data", random_state=3)
    several = fit(X, k, "diag", n_init=4, **options)
    assert len(several.repairs_) <= k + 3 * k
    assert all(0 <= d.iteration <= several.n_iter_ for d in several.repairs_)
    assert len({d.component for d in several.repairs_ if d.row < 0}) == sum(
        d.row < 0 for d in several.repairs_
    )


def test_a_later_fit_forgets_the_repairs():
    X, k = COLLAPSING["equal rows"]
    model = fit(X, k, "full")
    assert model.repairs_
    assert model.fit(mixture_data(300, 2, 2)[0]).repairs_ == []


@pytest.mark.parametrize("case", ["equal rows", "few distinct rows"])
def test_any_number_of_threads_gives_the_same_bits(case, covariance_type, dtype):
    X, k = COLLAPSING[case]
    X = np.repeat(X, 20_000 // len(X), axis=0).astype(dtype)
    means = np.vstack([X[:: len(X) // k][: k - 1], [[1e5, 1e5]]])  # and one that becomes empty
    fits = []
    for n in (1, 2):
        model = started(covariance_type, means, reg_covar=0, max_iter=8, tol=1e-3, n_threads=n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            fits.append(model.fit(X))
    assert any(d.row >= 0 for d in fits[0].repairs_)
    for other in fits[1:]:
        assert other.repairs_ == fits[0].repairs_
        assert other.lower_bounds_ == fits[0].lower_bounds_
        for name in FITTED:
            assert getattr(other, name).tobytes() == getattr(fits[0], name).tobytes(), name


def test_an_unknown_way_is_named():
    with pytest.raises(ValueError, match="unknown degenerate 'ignore'; known: raise, repair"):
        GaussianMixture(degenerate="ignore").fit(CLOUD)
