"""em: the loop for a step of the user's."""

import numpy as np
import pytest

from fusedgmm import (
    Checkpoint,
    GaussianMixture,
    SufficientStatistics,
    accumulate,
    em,
)
from helpers import COVARIANCE_TYPES, tolerance

RNG = np.random.default_rng(5)
X = np.concatenate([RNG.normal(size=(400, 3)), RNG.normal(size=(300, 3)) + 4])
PARTS = [X[:100], X[100:100], X[100:613], X[613:]]


def start_of(covariance_type="full", offset=0.0):
    model = GaussianMixture(
        3, covariance_type=covariance_type, random_state=0, n_init=1, max_iter=2
    )
    with pytest.warns(UserWarning, match="did not converge"):
        return model.fit(X[::7] + offset).parameters


def step_of(parts):
    return lambda parameters: sum(accumulate(part, parameters) for part in parts)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_the_result_is_that_of_fit(covariance_type, offset):
    start = start_of(covariance_type, offset)
    model = em(step_of([part + offset for part in PARTS]), start, tol=1e-4, reg_covar=1e-5)
    same = GaussianMixture(
        3,
        covariance_type=covariance_type,
        tol=1e-4,
        reg_covar=1e-5,
        weights_init=start.weights,
        means_init=start.means,
        covariances_init=start.covariances,
    ).fit(X + offset)
    assert model.converged_ and model.n_iter_ == same.n_iter_
    rtol = tolerance("same fit")
    np.testing.assert_allclose(model.means_ - offset, same.means_ - offset, rtol=0, atol=rtol)
    np.testing.assert_allclose(model.covariances_, same.covariances_, rtol=0, atol=rtol)
    np.testing.assert_allclose(model.lower_bounds_, same.lower_bounds_, rtol=rtol)
    assert model.lower_bound_ == model.lower_bounds_[-1]
    assert (model.tol, model.reg_covar, model.n_features_in_) == (1e-4, 1e-5, 3)
    assert np.array_equal(model.predict(X + offset), same.predict(X + offset))


def test_a_callback_sees_the_state_and_ends_the_fit():
    seen = []

    def callback(state):
        seen.append((state.iteration, state.rows, state.parameters.means.copy(), state.lower_bound))
        return state.iteration == 3

    with pytest.warns(UserWarning, match="did not converge"):
        model = em(step_of(PARTS), start_of(), tol=0, callback=callback)
    assert [entry[:2] for entry in seen] == [(1, 700), (2, 700), (3, 700)]
    assert np.array_equal(seen[-1][2], model.means_) and not model.converged_
    assert [entry[3] for entry in seen] == model.lower_bounds_


def test_max_iter_ends_the_fit():
    start = start_of()
    with pytest.warns(UserWarning, match="did not converge"):
        assert em(step_of(PARTS), start, tol=0, max_iter=2).n_iter_ == 2
    kept = em(step_of(PARTS), start, max_iter=0)
    assert np.array_equal(kept.means_, start.means) and not kept.converged_ and kept.n_iter_ == 0


def test_another_number_of_rows_is_an_error():
    parts = iter([PARTS, PARTS[:-1]])
    with pytest.raises(ValueError, match="of 613 rows, but of 700 in the iteration before"):
        em(lambda parameters: step_of(next(parts))(parameters), start_of())


def test_the_results_of_a_step_are_checked():
    start = start_of()
    with pytest.raises(TypeError, match="returned a NoneType"):
        em(lambda parameters: None, start)
    with pytest.raises(TypeError, match=r"returned a int; .* SufficientStatistics.zero"):
        em(lambda parameters: sum([]), start)
    with pytest.raises(ValueError, match="of covariance type 'diag' for parameters of type 'full'"):
        em(lambda parameters: accumulate(X, start_of("diag")), start)
    with pytest.raises(ValueError, match=r"of shape .* \(1, 1\) for parameters of shape \(3, 3\)"):
        em(lambda parameters: accumulate([[1.0]], GaussianMixture().fit([[1.0], [2.0]])), start)
    with pytest.raises(ValueError, match="total weight of 0"):
        em(SufficientStatistics.zero, start)


def test_the_arguments_are_checked(tmp_path):
    start = start_of()
    with pytest.raises(TypeError, match="step must be a function"):
        em(accumulate(X, start), start)
    with pytest.raises(TypeError, match="expected MixtureParameters"):
        em(step_of(PARTS), X)
    for bad in (dict(tol=-1.0), dict(max_iter=-1), dict(reg_covar=-1.0)):
        with pytest.raises(ValueError, match=next(iter(bad))):
            em(step_of(PARTS), start, **bad)
    with pytest.raises(TypeError, match="a Checkpoint is for fit and fit_chunks"):
        em(step_of(PARTS), start, callback=Checkpoint(tmp_path / "state.npz"))
