"""Many small fits in one call, compared with scikit-learn in a loop and under joblib.

    python bench/batch.py [--skip-sklearn] [--million]

All contestants fit the same problems from their default start to convergence (tol 1e-3).
scikit-learn takes milliseconds per fit, so it fits only some of them; times are per fit.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import repeat

import numpy as np
from memory import rise_mb

from fusedgmm import _core, fit_batch


def problems(count: int, n: int, d: int, k: int, seed: int = 0) -> np.ndarray:
    """Return (count, n, d): overlapping groups with random weights, positions and scales."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(count, k, d)) * 3
    spreads = rng.uniform(0.5, 1.5, size=(count, k, d))
    weights = rng.dirichlet(np.full(k, 5.0), size=count)
    labels = (rng.uniform(size=(count, n, 1)) > weights.cumsum(axis=1)[:, None, :-1]).sum(axis=2)
    X = rng.normal(size=(count, n, d))
    X *= np.take_along_axis(spreads, labels[:, :, None], axis=1)
    X += np.take_along_axis(means, labels[:, :, None], axis=1)
    return X


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def scikit_learn_fit(X: np.ndarray, k: int, seed: int) -> float:
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(k, random_state=seed).fit(X).lower_bound_


def scikit_learn_loop(X: np.ndarray, k: int, threads: int, seed: int = 0) -> np.ndarray:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        return np.array([scikit_learn_fit(x, k, 1000 * seed + i) for i, x in enumerate(X)])


def scikit_learn_joblib(X: np.ndarray, k: int) -> np.ndarray:
    from joblib import Parallel, delayed

    tasks = map(delayed(scikit_learn_fit), X, repeat(k), range(len(X)))
    return np.array(Parallel(n_jobs=2, batch_size=16)(tasks))


def against_scikit_learn(count: int, n: int, d: int, k: int, sample: int, skip: bool) -> None:
    X = problems(count, n, d, k)
    ours = {t: [] for t in (1, 2)}
    theirs: dict[str, list[float]] = {}
    for _ in range(5):
        for threads, times in ours.items():
            times.append(seconds(lambda t=threads: fit_batch(X, k, random_state=0, n_threads=t)))
    one, two = (1e6 * statistics.median(times) / count for times in ours.values())
    print(f"{count} fits of ({n}, d={d}, K={k}): {one:.1f} us each on one thread, {two:.1f} on two")
    if skip:
        return
    few = X[:sample]
    scikit_learn_joblib(few[:32], k)  # the processes start
    for _ in range(3):
        for name, call in (
            ("loop, 1 thread", lambda: scikit_learn_loop(few, k, 1)),
            ("loop, 2 threads", lambda: scikit_learn_loop(few, k, 2)),
            ("joblib, 2 processes", lambda: scikit_learn_joblib(few, k)),
        ):
            theirs.setdefault(name, []).append(seconds(call) * 1e6 / sample)
    for name, times in theirs.items():
        other = statistics.median(times)
        print(f"    scikit-learn, {name:20s} {other:8.0f} us, {other / two:6.0f} x")
    mine = [fit_batch(few, k, random_state=seed).lower_bound.mean() for seed in range(5)]
    other = [scikit_learn_loop(few, k, 1, seed).mean() for seed in range(5)]
    print(f"    mean log-likelihood over five seeds: ours {statistics.mean(mine):.5f} "
          f"({min(mine):.5f} to {max(mine):.5f}), theirs {statistics.mean(other):.5f} "
          f"({min(other):.5f} to {max(other):.5f})")  # fmt: skip


def one_dimensional(count: int, n_components: int | list[int]) -> None:
    X = problems(count, 100, 1, 2)
    times = [
        statistics.median(
            seconds(lambda t=t: fit_batch(X, n_components, random_state=0, n_threads=t))
            for _ in range(3)
        )
        for t in (1, 2)
    ]
    one, two = (1e6 * t / count for t in times)
    print(f"{count} fits of (100, d=1), n_components={n_components}: {one:.1f} us each on one "
          f"thread, {two:.1f} on two ({one / two:.2f} x)")  # fmt: skip


def from_given_starts() -> None:
    X = problems(1000, 500, 2, 3)
    start = X[:, :3]
    call = lambda t: fit_batch(X, 3, means_init=start, weights_init=np.full(3, 1 / 3),  # noqa: E731
                               precisions_init=np.broadcast_to(np.eye(2), (3, 2, 2)),
                               n_threads=t)  # fmt: skip
    one, two = (statistics.median(seconds(lambda t=t: call(t)) for _ in range(7)) for t in (1, 2))
    print(f"1000 fits of (500, d=2, K=3) from given starts: {1e3 * one:.1f} us each on one thread, "
          f"{1e3 * two:.1f} on two, {call(1).n_iter.mean():.1f} iterations")  # fmt: skip


def overhead() -> None:
    """Measure the time that Python adds per problem: that of the call minus that in the core."""
    inside = []
    core = _core.fit_batch

    def timed(*args: object, **options: object) -> object:
        begin = time.perf_counter()
        answer = core(*args, **options)
        inside.append(time.perf_counter() - begin)
        return answer

    cube = problems(20_000, 20, 1, 1)
    rows, offsets = cube.reshape(-1, 1), np.arange(20_001) * 20
    _core.fit_batch = timed
    try:
        for name, call in (
            ("an array (P, n, d)", lambda: fit_batch(cube, 1, random_state=0)),
            ("rows and offsets", lambda: fit_batch(rows, 1, offsets=offsets, random_state=0)),
            ("a list of arrays", lambda x=list(cube): fit_batch(x, 1, random_state=0)),
        ):
            beside = [1e6 * (seconds(call) - inside.pop()) / len(cube) for _ in range(7)]
            print(f"overhead per problem, {name}: {statistics.median(beside):.2f} us")
    finally:
        _core.fit_batch = core


def a_million() -> None:
    X = problems(1_000_000, 100, 1, 2)
    kept = []
    rise = rise_mb(lambda: kept.append(fit_batch(X, 2, random_state=0)))
    output = sum(array.nbytes for array in kept[0]._arrays().values()) / 2**20
    print(f"1,000,000 fits of (100, d=1, K=2): {kept[0].ok.sum():,} mixtures; peak memory above "
          f"the input {rise:.0f} MB, of which {output:.0f} MB are the result")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-sklearn", action="store_true")
    parser.add_argument("--million", action="store_true", help="a million fits too (1 GB of data)")
    args = parser.parse_args()
    against_scikit_learn(1000, 500, 2, 3, 200, args.skip_sklearn)
    against_scikit_learn(1000, 2000, 4, 4, 100, args.skip_sklearn)
    from_given_starts()
    one_dimensional(100_000, 2)
    one_dimensional(100_000, [1, 2, 3])
    overhead()
    if args.million:
        a_million()


if __name__ == "__main__":
    main()
