"""Fits on a busy machine: ours with the default threads and with one thread, and other packages.

    python bench/busy.py                 everything: about ten minutes
    python bench/busy.py --rows 200000   only fits of this many rows
    python bench/busy.py --loads 0,1     only with these numbers of spinning processes
    python bench/busy.py --peers         also scikit-learn and daal4py, if installed

Every line is one call on a machine that also runs the given number of spinning processes. The
contestants take turns, so that all meet the same conditions. Printed are the median, the 95th
percentile and the maximum (ms), and the ratios of the median and the 95th percentile of the default
to those with one thread, in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import contestants
import numpy as np
from workloads import Workload

SPIN = "while True: pass"
FIRST_FIT = """
import time, sys
import numpy as np
from fusedgmm import GaussianMixture
X = np.random.default_rng(0).normal(size=(200_000, 2))
X[::2] += 3
begin = time.perf_counter()
GaussianMixture(2, random_state=0, n_threads={n_threads}).fit(X)
print(time.perf_counter() - begin)
"""
JOBS = """
import sys, time
import numpy as np
import joblib
from fusedgmm import GaussianMixture
X = np.random.default_rng(0).normal(size=(200_000, 2))
X[::2] += 3
def work(seconds):
    end, count = time.perf_counter() + seconds, 0
    model = GaussianMixture(2, random_state=0, n_threads={n_threads})
    while time.perf_counter() < end:
        model.fit(X)
        count += 1
    return count
with joblib.parallel_config(backend="loky", n_jobs={cores}, inner_max_num_threads={cores}):
    parallel = joblib.Parallel()
    parallel(joblib.delayed(work)(0.2) for _ in range({cores}))
    print(sum(parallel(joblib.delayed(work)(2.0) for _ in range({cores}))))
"""


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """Run `count` processes that use all the CPU time they get."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    time.sleep(0.3)
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def take_turns(
    calls: dict[str, Callable[[], object]], seconds: float, most: int = 200
) -> dict[str, np.ndarray]:
    """Return the milliseconds of each call; they take turns for some seconds, at least ten times.

    The order changes from round to round, because each call leaves cold caches to the next.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while (count := len(next(iter(times.values())))) < 10 or (
        time.perf_counter() < end and count < most
    ):
        for name in order:
            begin = time.perf_counter()
            calls[name]()
            times[name].append(1e3 * (time.perf_counter() - begin))
        order = order[::-1] if count % 2 else order[1:] + order[:1]
    return {name: np.array(found) for name, found in times.items()}


def row(title: str, load: int, times: dict[str, np.ndarray]) -> None:
    ours, one = times["default"], times["one thread"]
    cells = [f"{title:28s} {load:5d}"]
    for found in times.values():
        p95, longest = np.quantile(found, 0.95), found.max()
        cells.append(f"{np.median(found):9.3f} {p95:9.3f} {longest:9.3f}")
    ratio = np.median(ours) / np.median(one)
    tail = np.quantile(ours, 0.95) / np.quantile(one, 0.95)
    print("  ".join(cells) + f"  {ratio:6.2f} {tail:6.2f}", flush=True)


def two_groups(rows: int, features: int = 2) -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(rows, features))
    X[::2] += 3
    return X


def fits(rows: int, peers: bool) -> dict[str, Callable[[], object]]:
    from fusedgmm import GaussianMixture

    X = two_groups(rows)
    ours, one = (GaussianMixture(2, random_state=0, n_threads=n) for n in (None, 1))
    calls: dict[str, Callable[[], object]] = {
        "default": lambda: ours.fit(X),
        "one thread": lambda: one.fit(X),
    }
    if peers:
        from sklearn.mixture import GaussianMixture as Theirs

        theirs = Theirs(2, random_state=0)
        calls["scikit-learn"] = lambda: theirs.fit(X)
        start = one.fit(X)
        names = ("weights", "means", "covariances")
        given = {name: getattr(start, f"{name}_") for name in names}
        intels = contestants.daal4py(Workload("full", rows, 2, 2), X, given)
        if intels is not None:  # it has no start of its own; it runs as many iterations as ours
            calls["daal4py"] = lambda: intels(start.n_iter_)
    return calls


def predictions(rows: int) -> dict[str, Callable[[], object]]:
    from fusedgmm import GaussianMixture

    X = two_groups(rows)
    ours, one = (GaussianMixture(2, random_state=0, n_threads=n).fit(X) for n in (None, 1))
    return {"default": lambda: ours.predict(X), "one thread": lambda: one.predict(X)}


def in_fresh_processes(script: str, count: int) -> dict[str, np.ndarray]:
    times: dict[str, list[float]] = {"default": [], "one thread": []}
    for _ in range(count):
        for name, n_threads in (("default", None), ("one thread", 1)):
            code = script.format(n_threads=n_threads, cores=os.cpu_count())
            out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            times[name].append(float(out.stdout))
    return {name: np.array(found) for name, found in times.items()}


def scores_of_many_threads(callers: int = 32, seconds: float = 2.0) -> np.ndarray:
    """Return the milliseconds of one-row scores by many Python threads at once."""
    from fusedgmm import GaussianMixture

    X = two_groups(1000)
    model = GaussianMixture(2, random_state=0).fit(X)
    times: list[list[float]] = [[] for _ in range(callers)]
    end = time.perf_counter() + seconds

    def work(mine: list[float]) -> None:
        while time.perf_counter() < end:
            begin = time.perf_counter()
            model.score_samples(X[:1])
            mine.append(1e3 * (time.perf_counter() - begin))
            time.sleep(0.001)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return np.concatenate([np.array(mine) for mine in times])


@contextlib.contextmanager
def cpu_quota(cpus: float) -> Iterator[bool]:
    """Put this process into a cgroup with `cpus` CPUs; yields False without the necessary
    rights."""
    root, period = Path("/sys/fs/cgroup/cpu"), 100_000
    group = root / f"fusedgmm-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(int(cpus * period)))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="900,1200,6000,20000,200000,1000000")
    parser.add_argument("--loads", default="0,1,2,4")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each line")
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes, loads = ([int(n) for n in text.split(",")] for text in (args.rows, args.loads))
    names = list(fits(1000, args.peers))
    head = "  ".join(f"{name + ': p50':>9s} {'p95':>9s} {'max':>9s}" for name in names)
    print(f"{'':28s} {'load':>5s}  {head}  {'ratio':>6s} {'p95':>6s}")
    for load in loads:
        with spinning(load):
            for rows in sizes:
                row(f"fit {rows} x 2", load, take_turns(fits(rows, args.peers), args.seconds))
            for rows in (1200, 50_000, 1_000_000):
                row(f"predict {rows} x 2", load, take_turns(predictions(rows), args.seconds / 2))
            times = {k: 1e3 * v for k, v in in_fresh_processes(FIRST_FIT, 7).items()}
            row("first fit of a process", load, times)
    with cpu_quota(1.5) as limited:
        for rows in sizes if limited else ():
            times = take_turns(fits(rows, args.peers), args.seconds)
            row(f"fit {rows} x 2, 1.5 CPUs", 0, times)
    jobs = in_fresh_processes(JOBS, 3)
    ratio = np.median(jobs["default"]) / np.median(jobs["one thread"])
    print(f"as many processes as cores, each with fits: throughput {ratio:.2f} of one thread's")
    times = scores_of_many_threads()
    print(
        f"one-row scores by 32 threads: p50 {np.median(times):.3f} ms, "
        f"p99 {np.quantile(times, 0.99):.3f} ms"
    )


if __name__ == "__main__":
    main()
