"""The EM loop in Python, with steps that are easy to follow."""

import math

import pytest

from fusedgmm._em import best_of, run


def halve(x):
    """Return half the state, and as the lower bound its negative."""
    return x / 2, -x / 2


def test_a_run_stops_when_the_bound_changes_by_less_than_tol():
    found = run(8.0, halve, tol=0.75, max_iter=100)
    assert found.lower_bounds == [-4.0, -2.0, -1.0, -0.5]  # a change of 0.5 is the first below tol
    assert found.state == 0.5 and found.converged


def test_a_change_of_tol_is_not_less():
    assert run(8.0, halve, tol=0.5, max_iter=100).lower_bounds[-1] == -0.25


def test_a_run_stops_after_max_iter():
    found = run(8.0, halve, tol=0.0, max_iter=2)
    assert found.lower_bounds == [-4.0, -2.0] and not found.converged
    nothing = run(8.0, halve, tol=1.0, max_iter=0)
    assert (nothing.state, nothing.lower_bounds, nothing.converged) == (8.0, [], False)


def test_a_run_goes_on_from_a_bound_that_was_reached_before():
    assert run(8.0, halve, tol=0.75, max_iter=9, lower_bound=-4.5).lower_bounds == [-4.0]


def test_the_best_of_several_starts_is_the_first_of_equals():
    begun = []

    def start(init):
        begun.append(init)
        return [8.0, 2.0, 2.0, 6.0][init], -math.inf

    found = best_of(4, start, halve, tol=0.0, max_iter=1)
    assert begun == [0, 1, 2, 3] and found.lower_bounds == [-1.0]
    states = iter([(1, 5.0), (2, 5.0), (3, 4.0)])
    found = best_of(3, lambda init: (0, -math.inf), lambda s: next(states), tol=0.0, max_iter=1)
    assert found.state == 1


def test_without_iterations_the_first_start_is_kept():
    found = best_of(3, lambda init: (float(init), -math.inf), halve, tol=0.0, max_iter=0)
    assert (found.state, found.lower_bounds, found.converged) == (0.0, [], False)


def test_a_bound_that_is_not_a_number_is_never_better():
    bounds = iter([1.0, math.nan])
    found = best_of(2, lambda init: (0, -math.inf), lambda s: (s, next(bounds)), tol=0, max_iter=1)
    assert found.lower_bounds == [1.0]


def test_reports_come_at_every_start_and_iteration():
    reports = []

    def report(*values):
        reports.append(values)

    best_of(2, lambda init: (8.0, -math.inf), halve, tol=0.0, max_iter=2, report=report)
    one = [(-math.inf, math.inf), (-4.0, math.inf), (-2.0, 2.0)]
    assert reports == [(i, n, *bounds) for i in range(2) for n, bounds in enumerate(one)]


def test_an_error_of_a_step_ends_the_loop():
    def step(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        best_of(2, lambda init: (0, -math.inf), step, tol=0.0, max_iter=1)
