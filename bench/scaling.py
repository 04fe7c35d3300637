"""Growth of the time of an iteration with N, d, K and the number of threads.

    python bench/scaling.py

Starting from full (100k, 8, 8), one size varies at a time. The floor is that of fit.py, for one
thread unless the number of threads varies. A constant column means proportional growth.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import replace

import contestants
import machine
from fit import take_turns
from workloads import Workload

BASE = Workload("full", 100_000, 8, 8)
ROWS = {"n_samples": [1_000, 10_000, 100_000, 1_000_000],
        "n_features": [1, 2, 3, 4, 6, 8, 9, 12, 16, 24, 32, 64, 128, 256],
        "n_components": [1, 2, 3, 4, 8, 16, 64, 256]}  # fmt: skip


def median_seconds(workload: Workload, threads: list[int]) -> list[float]:
    X, start = workload.make()
    runs = {n: contestants.ours(workload, X, start, n) for n in threads}
    return [statistics.median(t) for t in take_turns(runs, 5).values()]


def main() -> None:
    limit = machine.measure(1)
    for size, values in ROWS.items():
        print(f"{size:14s} {'ms':>9s} {'ns/(row comp.)':>15s} {'x floor':>8s}")
        for value in values:
            workload = replace(BASE, **{size: value})
            if size != "n_samples" and workload.fused_multiply_adds > 4e9:
                workload = replace(workload, n_samples=10_000)
            (seconds,) = median_seconds(workload, [1])
            pairs = workload.n_samples * workload.n_components
            print(f"{value:14,d} {1e3 * seconds:9.3f} {1e9 * seconds / pairs:15.2f}"
                  f" {seconds / workload.floor(limit):8.2f}", flush=True)  # fmt: skip
    threads = sorted({1, 2, *range(4, (os.cpu_count() or 1) + 1, 4), os.cpu_count() or 1})
    print(f"{'threads':14s} " + "".join(f"{n:>9d}" for n in threads) + "   speed-up over one")
    for workload in (BASE, Workload("full", 1_000_000, 2, 3), Workload("full", 20_000, 128, 8)):
        one, *more = median_seconds(workload, threads)
        print(f"{workload.name:14s} {1.0:9.2f}" + "".join(f"{one / s:9.2f}" for s in more),
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
