"""An iteration of a Dask fit over one of `fit`, for the same rows in 2 to 256 partitions.

    python bench/cluster.py             2 workers of 1 thread, 4 million rows, float64
    python bench/cluster.py --rows N    other sizes
    python bench/cluster.py --rounds R  interleaved rounds; medians are printed

Needs: pip install "fusedgmm[dask]".
"""

import argparse
import time
import warnings
from statistics import median

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import fusedgmm
from fusedgmm.dask import GaussianMixture

D, K = 8, 8
PARTITIONS = (2, 16, 64, 256)


def block(number: int, n_rows: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    centres = np.random.default_rng(99).normal(size=(K, D))
    return rng.normal(size=(n_rows, D)) + 3 * centres[rng.integers(K, size=n_rows)]


def per_iteration(kind, X, start) -> float:
    """Return the median time between two callbacks, without the first."""
    times = []
    options = dict(weights_init=start.weights, means_init=start.means)
    model = kind(K, covariances_init=start.covariances, tol=0, max_iter=16, **options)
    model.fit(X, callback=lambda state: times.append(time.perf_counter()) or len(times) == 15)
    return median(np.diff(times[3:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = options.rows // 256
    array = np.concatenate([block(i, size) for i in range(256)])
    start = fusedgmm.GaussianMixture(K, random_state=0, n_init=1).fit(array[:20_000]).parameters
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        found = {name: [] for name in ("fit", *PARTITIONS)}
        arrays = {}
        for n in PARTITIONS:
            per = 256 // n

            def part(block_info=None, per=per):
                first = block_info[None]["chunk-location"][0] * per
                return np.concatenate([block(i, size) for i in range(first, first + per)])

            arrays[n] = da.map_blocks(part, chunks=((per * size,) * n, D), dtype=np.float64)
        for _ in range(options.rounds):
            found["fit"].append(per_iteration(fusedgmm.GaussianMixture, array, start))
            for n, X in arrays.items():
                found[n].append(per_iteration(GaussianMixture, X, start))
    base = median(found["fit"])
    print(f"{len(array)} rows, d = {D}, K = {K}, float64; fit: {1e3 * base:.1f} ms an iteration")
    for n in PARTITIONS:
        t = median(found[n])
        print(f"{n:4d} partitions: {t / base:.2f} of fit, {1e3 * (t - base):+.1f} ms")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
