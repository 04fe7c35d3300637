"""The EM loop in Python, for any state: steps until convergence, the best of several starts, and
the reports. `BayesianGaussianMixture` and `fusedgmm.em` use it; the loop of `GaussianMixture` is in
C, in src/em.c."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

State = TypeVar("State")
# arguments: init, iteration (0 when a start begins), lower bound, its change
Report: TypeAlias = Callable[[int, int, float, float], object]


@dataclass(frozen=True)
class Run(Generic[State]):
    """The result of one start: the last state, and the lower bound after each iteration."""

    state: State
    lower_bounds: list[float]
    converged: bool


def run(
    state: State,
    step: Callable[[State], tuple[State, float]],
    *,
    tol: float,
    max_iter: int,
    lower_bound: float = -math.inf,
    report: Callable[[State, int, float, float], object] | None = None,
) -> Run[State]:
    """Take steps from `state` until the lower bound changes by less than `tol`, or `report` returns
    a true value.

    Parameters
    ----------
    state : State
    step : callable
        Maps a state to the next state and its lower bound.
    tol : float
    max_iter : int
        Maximum number of steps.
    lower_bound : float
        The lower bound of `state`; -inf if it is not known.
    report : callable or None
        Called with (state, iteration, lower bound, change) after each step.
    """
    bounds, converged, stopped = list[float](), False, False
    while not converged and not stopped and len(bounds) < max_iter:
        state, bound = step(state)
        change, lower_bound = bound - lower_bound, bound
        bounds.append(bound)
        converged = abs(change) < tol
        if report is not None:
            stopped = bool(report(state, len(bounds), bound, change))
    return Run(state, bounds, converged and not stopped)


def best_of(
    n_init: int,
    start: Callable[[int], tuple[State, float]],
    step: Callable[[State], tuple[State, float]],
    *,
    tol: float,
    max_iter: int,
    report: Report | None = None,
) -> Run[State]:
    """Run from `n_init` starts and return the run with the highest final lower bound, the first one
    in a tie.

    `start` maps the number of a start to its state and the lower bound of that state; the other
    parameters are those of `run`.
    """
    best: Run[State] | None = None
    for init in range(n_init):
        if report is not None:
            report(init, 0, -math.inf, math.inf)
        state, lower_bound = start(init)

        def report_step(
            _: State, iteration: int, bound: float, change: float, init: int = init
        ) -> None:
            if report is not None:
                report(init, iteration, bound, change)

        found = run(
            state,
            step,
            tol=tol,
            max_iter=max_iter,
            lower_bound=lower_bound,
            report=report_step,
        )
        if best is None or (found.lower_bounds and found.lower_bounds[-1] > best.lower_bounds[-1]):
            best = found
    assert best is not None, "n_init is at least 1"
    return best
