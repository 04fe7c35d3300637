"""Choice of the number of components and the covariance type, compared with scikit-learn.

    python bench/selection.py
    python bench/selection.py --repeat 5 --json selection.json

The grid is K = 1..9 and the four covariance types with five starts each, on 20,000 rows of 8
features from five overlapping components: `fusedgmm.select` in one call, and scikit-learn's
GaussianMixture for each combination under joblib with two processes. Both have the same number of
starts, tolerance and reg_covar; each chooses its own starts. The two alternate; the ratio is that
of the medians. "best BIC" is the lowest of the grid, and lower is better.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
import warnings

import numpy as np
from joblib import Parallel, delayed
from sklearn.mixture import GaussianMixture as Theirs

import fusedgmm

TYPES = ("full", "tied", "diag", "spherical")
OPTIONS = {"n_init": 5, "tol": 1e-3, "reg_covar": 1e-6, "max_iter": 100, "random_state": 0}


def table(n_rows: int, n_features: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    means = 2.5 * rng.normal(size=(5, n_features))
    roots = np.eye(n_features) + 0.3 * rng.normal(size=(5, n_features, n_features))
    labels = rng.integers(5, size=n_rows)
    noise = rng.normal(size=(n_rows, n_features))
    return means[labels] + np.einsum("nij,nj->ni", roots[labels], noise)


def theirs_of(X: np.ndarray, k: int, covariance_type: str) -> float:
    """Return scikit-learn's BIC, infinite if it raises an exception."""
    warnings.simplefilter("ignore")
    try:
        return Theirs(k, covariance_type=covariance_type, **OPTIONS).fit(X).bic(X)
    except ValueError:
        return np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--most", type=int, default=9, help="largest number of components")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="threads, and processes of joblib")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    X = table(options.rows, options.features)
    numbers = range(1, options.most + 1)
    grid = list(itertools.product(numbers, TYPES))
    times: dict[str, list[float]] = {"fusedgmm": [], "scikit-learn": []}
    with Parallel(n_jobs=options.threads) as parallel:
        parallel(delayed(theirs_of)(X[:100], 1, "full") for _ in range(4))  # starts the processes
        fusedgmm.select(X[:100], 1, "full")
        for _ in range(options.repeat):
            begin = time.perf_counter()
            selection = fusedgmm.select(X, numbers, TYPES, n_threads=options.threads, **OPTIONS)
            times["fusedgmm"].append(time.perf_counter() - begin)
            begin = time.perf_counter()
            theirs = parallel(delayed(theirs_of)(X, *candidate) for candidate in grid)
            times["scikit-learn"].append(time.perf_counter() - begin)
    ours = {(row.n_components, row.covariance_type): row.criterion for row in selection.table}
    best = {"fusedgmm": selection.best.criterion, "scikit-learn": min(theirs)}
    chosen = {"fusedgmm": selection.best[:2], "scikit-learn": grid[int(np.argmin(theirs))]}
    slack = 2e-3 * len(X)  # 1e-3 nats per row, the tolerance of the fits
    gaps = [ours[key] - other for key, other in zip(grid, theirs, strict=True)]
    worse, better = sum(gap > slack for gap in gaps), sum(gap < -slack for gap in gaps)
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = median["scikit-learn"] / median["fusedgmm"]
    for name in times:
        low, high = min(times[name]), max(times[name])
        print(
            f"{name:12s} {median[name]:8.3f} s ({low:.3f} to {high:.3f})   best BIC "
            f"{best[name]:.1f}: {chosen[name][0]} {chosen[name][1]}"
        )
    print(
        f"ratio {ratio:.1f}; optima by more than 1e-3 nats per row: {better} better, {worse} worse "
        f"of {len(grid)}"
    )
    if options.json:
        result = {
            "times": times,
            "ratio": ratio,
            "best": best,
            "worse": worse,
            "better": better,
            "machine": fusedgmm._core.config(),
        }
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
