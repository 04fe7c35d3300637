"""Time of one EM iteration: ours, scikit-learn, daal4py, the NumPy reference; same start, same run.

    python bench/fit.py [--only TEXT] [--repeats 5] [--json results.json] [--reference]

The time of an iteration is computed from two fits with different max_iter, so that start and final
scoring cancel. The contestants take turns. Printed are medians, and their ratio to the machine's
floor, measured in the same run. README.md explains the columns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import contestants
import machine
import numpy as np
from workloads import WORKLOADS, Workload


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def per_iteration(run, span: int) -> float:
    return (seconds(lambda: run(1 + span)) - seconds(lambda: run(1))) / span


def take_turns(runs: dict, repeats: int) -> dict[str, list[float]]:
    """Return `repeats` times per iteration, in seconds, for each contestant, interleaved."""
    spans, times = {}, {name: list[float]() for name in runs}
    for name, run in runs.items():
        once = max(seconds(lambda run=run: run(2)) / 2, 1e-4)
        spans[name] = max(3, min(20, int(0.3 / once)))
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(per_iteration(run, spans[name]))
    return times


def time_all(workload: Workload, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds per iteration of every contestant that supports this workload."""
    X, start = workload.make()
    runs = {
        "ours": contestants.ours(workload, X, start, args.threads),
        "ours, 1 thread": contestants.ours(workload, X, start, 1),
        "ours, float32": contestants.ours(workload, X.astype(np.float32), start, args.threads),
        "daal4py": contestants.daal4py(workload, X, start),
        "scikit-learn": contestants.scikit_learn(workload, X, start),
    }
    if args.reference:
        runs["numpy"] = contestants.numpy_reference(workload, X, start)
    return take_turns({name: run for name, run in runs.items() if run}, args.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only workloads whose name contains this text")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference", action="store_true", help="also the slow NumPy reference")
    parser.add_argument("--json", type=Path, help="write every figure there")
    args = parser.parse_args()

    kinds = [(real, n) for real in ("f64", "f32") for n in sorted({1, args.threads})]
    before = {kind: machine.measure(kind[1], kind[0]) for kind in kinds}
    measured = []
    for workload in WORKLOADS.values():
        if args.only in workload.name:
            measured.append((workload, time_all(workload, args)))
            print(".", end="", file=sys.stderr, flush=True)
    after = {kind: machine.measure(kind[1], kind[0]) for kind in kinds}
    limits = {kind: machine.best(before[kind], after[kind]) for kind in kinds}
    for (real, n), limit in limits.items():
        print(f"{real}, {n} thread(s): {limit['fma'] / 1e9:.0f} G FMA/s, "
              f"{limit['bytes'] / 1e9:.0f} GB/s, {limit['exp'] / 1e9:.1f} G exp/s")  # fmt: skip
    print("\nmilliseconds per iteration, f64; x floor, and ratios of the others to ours")
    print(f"{'workload':20s} {'floor':>7s} {'ours':>7s} {'x':>5s} {'1 thr':>6s} {'f32':>6s}"
          f" {'daal4py':>8s} {'sklearn':>8s} {'numpy':>8s}")  # fmt: skip
    results = []
    for workload, times in measured:
        median = {name: statistics.median(t) for name, t in times.items()}
        floor = workload.floor(limits["f64", args.threads])
        mine = median["ours"]

        def ratio(name: str, width: int, median=median, mine=mine) -> str:
            value = f"{median[name] / mine:.1f}x" if name in median else "-"
            return f"{value:>{width}s}"

        print(f"{workload.name:20s} {1e3 * floor:7.2f} {1e3 * mine:7.2f} {mine / floor:5.2f}"
              f" {ratio('ours, 1 thread', 6)} {1 / (median['ours, float32'] / mine):5.2f}x"
              f" {ratio('daal4py', 8)} {ratio('scikit-learn', 8)} {ratio('numpy', 8)}",
              flush=True)  # fmt: skip
        results.append(
            {
                "workload": workload.name,
                "floor": floor,
                "floor float32": workload.floor(limits["f32", args.threads], 4),
                "fused multiply-adds": workload.fused_multiply_adds,
                "bytes": workload.bytes,
                "median": median,
                "spread": {name: [min(t), max(t)] for name, t in times.items()},
                "seconds": times,
            }
        )
    if args.json:
        report = {
            "machine": machine.describe(),
            "threads": args.threads,
            "limits": {f"{r} {n}": v for (r, n), v in limits.items()},
            "results": results,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
