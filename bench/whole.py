"""Complete default fits compared with scikit-learn, from the start to convergence; the share of the
start; small fits and single rows.

    python bench/whole.py [--skip-sklearn]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
from sklearn.mixture import GaussianMixture as Theirs

from fusedgmm import GaussianMixture

SHAPES = [(1_000_000, 2, 3), (500_000, 8, 8), (100_000, 32, 32), (20_000, 128, 8)]


def groups(n: int, d: int, k: int, seed: int = 0) -> np.ndarray:
    """Return k groups of equal size, of different shapes, at moderate distances."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(k, d)) * 4 / np.sqrt(d) ** 0.5
    roots = np.eye(d) + rng.normal(size=(k, d, d)) * 0.3 / np.sqrt(d)
    labels = rng.integers(k, size=n)
    X = rng.normal(size=(n, d))
    for j in range(k):
        X[labels == j] = X[labels == j] @ roots[j].T + means[j]
    return X


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def typical(call, calls: int, repeats: int = 7) -> float:
    """Return the median over repeats of the mean time of a call, in microseconds."""
    call()
    return 1e6 * statistics.median(
        seconds(lambda: [call() for _ in range(calls)]) / calls for _ in range(repeats)
    )


def whole_fit(shape: tuple[int, int, int], skip_sklearn: bool) -> str:
    """Return one line of the table: medians of three seeds; mean log-likelihoods of ten and of
    three."""
    X, k = groups(*shape), shape[2]
    models = [GaussianMixture(k, random_state=seed) for seed in range(3)]
    mine = statistics.median(seconds(lambda m=m: m.fit(X)) for m in models)
    start = statistics.median(
        seconds(lambda seed=seed: GaussianMixture(k, max_iter=0, random_state=seed).fit(X))
        for seed in range(3)
    )
    line = (f"{'full {} {} {}'.format(*shape):20s} {mine:8.3f} {start / mine:6.0%}"
            f" {models[0].n_iter_:5d}")  # fmt: skip
    if skip_sklearn:
        return line
    theirs = [Theirs(k, random_state=seed) for seed in range(3)]
    other = statistics.median(seconds(lambda m=m: m.fit(X)) for m in theirs)
    more = [GaussianMixture(k, random_state=seed).fit(X) for seed in range(3, 10)]
    gap = (statistics.mean(m.lower_bound_ for m in models + more)
           - statistics.mean(m.lower_bound_ for m in theirs))  # fmt: skip
    return line + f" {other:10.2f} {theirs[0].n_iter_:5d} {other / mine:6.1f}x  {gap:+.6f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-sklearn", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'default fit':20s} {'ours s':>8s} {'start':>6s} {'iter':>5s} {'sklearn s':>10s}"
          f" {'iter':>5s} {'ratio':>7s}  log-likelihood, ours less theirs")  # fmt: skip
    for shape in SHAPES:
        print(whole_fit(shape, args.skip_sklearn), flush=True)

    print("\nmicroseconds a call                    ours  sklearn")
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(2000, 26))
    row = Z[:1].copy()
    small = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 4])
    for name, call in (
        ("one row of score_samples, d=26, K=8", lambda m: lambda: m.score_samples(row)),
        ("one row of predict", lambda m: lambda: m.predict(row)),
    ):
        a, b = (typical(call(c(8, random_state=0, max_iter=3).fit(Z)), 300)
                for c in (GaussianMixture, Theirs))  # fmt: skip
        print(f"{name:36s} {a:7.1f} {b:8.1f}")
    a, b = (typical(lambda c=c: c(2, random_state=0).fit(small), 20)
            for c in (GaussianMixture, Theirs))  # fmt: skip
    print(f"{'whole fit of 400 x 2, K=2':36s} {a:7.1f} {b:8.1f}")


if __name__ == "__main__":
    main()
