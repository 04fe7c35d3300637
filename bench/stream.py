"""Rows that come in chunks: the time of an iteration of fit_chunks over one of fit, memory, starts.

    python bench/stream.py             ratios, median of interleaved rounds
    python bench/stream.py --file GB   also a .npy file of that size: rates and anonymous memory
    python bench/stream.py --starts    also the starts on a sample, compared with those on all rows

Timings are ratios within one run: every round times all contestants one after the other.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from workloads import Workload

from fusedgmm import GaussianMixture, stream

N, D, K = 8_000_000, 8, 8


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def model(start, max_iter: int) -> GaussianMixture:
    p = start.parameters
    return GaussianMixture(
        p.n_components,
        weights_init=p.weights,
        means_init=p.means,
        covariances_init=p.covariances,
        max_iter=max_iter,
        tol=0,
    )


def per_iteration(start, fit) -> float:
    """Return the seconds of one iteration: the difference of two fits leaves out the first look at
    the stream."""
    few, many = (seconds(lambda n=n: fit(model(start, n))) for n in (2, 8))
    return (many - few) / 6


def ratios(X, start, rounds: int) -> None:
    def cut(size):
        return [X[i : i + size] for i in range(0, len(X), size)]

    contestants = {"fit": lambda m: m.fit(X)}
    for size in (262_144, 65_536, 10_007, 4_096):
        chunks = cut(size)
        contestants[f"list of {size}"] = lambda m, chunks=chunks: m.fit_chunks(chunks)
        contestants[f"function, {size}"] = lambda m, size=size: m.fit_chunks(
            lambda: (X[i : i + size] for i in range(0, len(X), size))
        )
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, fit in contestants.items():
            times[name].append(per_iteration(start, fit))
    for name, found in times.items():
        over = [a / b for a, b in zip(found, times["fit"], strict=True)]
        least = min(found) / min(times["fit"])
        print(
            f"{name:20s} {statistics.median(found) * 1e3:8.1f} ms   ratio to fit: median "
            f"{statistics.median(over):.3f}, of the least times {least:.3f}",
            flush=True,
        )


def anonymous_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def on_disk(X, start, gigabytes: float) -> None:
    """A file of many copies of the rows: warm passes, and a cold one after the cache is dropped."""
    copies = max(1, round(gigabytes * 1e9 / X.nbytes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        mapped = np.lib.format.open_memmap(path, "w+", X.dtype, (copies * len(X), X.shape[1]))
        for i in range(copies):
            mapped[i * len(X) : (i + 1) * len(X)] = X
        mapped.flush()
        size = mapped.nbytes
        del mapped
        memory = per_iteration(start, lambda m: m.fit(X)) / X.nbytes * 1e9
        before, peaks = anonymous_mb(), []
        warm = per_iteration(
            start,
            lambda m: m.fit_chunks(path, callback=lambda state: peaks.append(anonymous_mb())),
        )
        warm *= 1e9 / size
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            disk = seconds(lambda: [None for _ in iter(lambda: file.read(4 << 20), b"")])
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        cold = seconds(lambda: model(start, 1).fit_chunks(path))
        print(f"in memory        {1 / memory:.2f} GB/s")
        print(f"file, warm       {1 / warm:.2f} GB/s, {memory / warm:.2f} of memory's")
        print(f"file, cold       {size / cold / 1e9:.2f} GB/s; the disk {size / disk / 1e9:.2f}")
        print(f"anonymous memory {max(peaks) - before:.1f} MB more during the fits")


def starts() -> None:
    """Loss in nats per row below the best found, and iterations over all rows."""
    print("start on a sample of 16,384 rows, and on all rows (n_init=1)")
    for seed in range(4):
        X = Workload("full", 1_000_000, D, K).make(seed)[0]
        found = {}
        for name, rows in (("sample", 16_384), ("all", None)):
            fitted = GaussianMixture(K, random_state=seed).fit_chunks(X, start_rows=rows)
            found[name] = fitted.score(stream.rows(X)), fitted.n_iter_
        best = max(score for score, _ in found.values())
        print(
            f"  data {seed}: "
            + ", ".join(f"{k}: {s - best:+.4f} nats, {n} iterations" for k, (s, n) in found.items())
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=N)
    parser.add_argument("--file", type=float, metavar="GB")
    parser.add_argument("--starts", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    X = Workload("full", arguments.rows, D, K).make()[0].astype(np.float32)
    start = GaussianMixture(K, random_state=0, n_init=1, max_iter=5).fit(X[:50_000])
    ratios(X, start, arguments.rounds)
    if arguments.file:
        on_disk(X, start, arguments.file)
    if arguments.starts:
        starts()


if __name__ == "__main__":
    main()
