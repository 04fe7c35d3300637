"""Soak test: random calls for minutes, mixed as in production; no result and no resource may drift.

    python tools/soak.py [minutes] [--seed N]

Fits, batches, repairs, Bayesian fits and passes with one to four threads run alone, from several
Python threads, in forked children, and with interrupts. Every result is compared with the NumPy
reference, if there is one, and bit for bit with the first call of the same case.

After a quarter of the time, the resident size is sampled between calls. The run fails if the 95 %
interval of its slope (Theil & Sen, at least 30 samples) is above zero and the increase is more than
one percent of the size, or if open files, children or threads are left behind. The exit status is
then 1, as it is after a mismatch. The seed is printed first.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import hashlib
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

# A Python thread inside OpenBLAS, which the reference uses, hangs if another thread forks.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fusedgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureParameters,
    _threads,
    accumulate,
    fit_batch,
    reference,
)
from helpers import COVARIANCE_TYPES, mixture_data, of_type, tolerance

N_CASES = 150  # number of different calls; the rest of the run repeats them
N_THREADS = 4
STARTS = ("kmeans", "k-means++", "random", "random_from_data")
DEADLINE = 60  # maximum seconds for a single call


slowest = [0.0, 0.0]  # interrupt: wall-clock time, and CPU time of the calling thread


class Mismatch(AssertionError):
    pass


class Stopped(BaseException):
    """Raised by the handler of the alarm, like Ctrl-C."""


def bits(*values: object) -> str:
    digest = hashlib.sha256()
    for value in values:
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def attributes(model: object) -> str:
    names = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_")
    return bits(*(getattr(model, name) for name in names))


def laid_out(X: np.ndarray, layout: int) -> np.ndarray:
    """Return the same rows in another memory layout: C order, Fortran order, strided, or
    read-only."""
    if layout == 1:
        return np.asfortranarray(X)
    if layout == 2:
        wide = np.zeros((len(X), X.shape[1] + 3), X.dtype)
        wide[:, 1:-2] = X
        return wide[:, 1:-2]
    if layout == 3:
        X = X.copy()
        X.flags.writeable = False
    return X


class Case:
    """One call, determined by its number; it can be repeated with other threads and layouts."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.what = ("fit", "given", "repair", "bayes", "batch", "pass")[seed % 6]
        self.kind = COVARIANCE_TYPES[rng.integers(4)]
        self.dtype = (np.float64, np.float32)[rng.integers(2)]
        n, d, k = int(rng.integers(60, 6000)), int(rng.integers(1, 13)), int(rng.integers(1, 8))
        if self.what == "given":
            n = min(n, 2000)
        self.X, self.weights, self.means, full = mixture_data(n, d, k, self.dtype, seed)
        self.covariances = of_type(full, self.kind)
        self.sample_weight = rng.uniform(0.1, 2, n) if rng.integers(2) else None
        self.options = {
            "covariance_type": self.kind,
            "init_params": STARTS[rng.integers(4)],
            "random_state": int(rng.integers(1000)),
            "max_iter": 20,
            "n_init": int(rng.integers(1, 3)),
        }
        if self.what == "repair":  # rows with few distinct values, and a constant column
            self.X = np.round(self.X)
            self.X[:, 0] = 1
        self.seed, self.k, self.expected = seed, k, ""

    def run(self, n_threads: int, layout: int) -> str:
        """Return a digest of the results; raises Mismatch if they differ from the reference."""
        X = laid_out(self.X, layout)
        k, w = self.k, self.sample_weight
        options = self.options | {"n_threads": n_threads}
        if self.what == "fit":
            model = GaussianMixture(k, **options).fit(X, sample_weight=w)
            return bits(attributes(model), model.predict(X), model.score_samples(X))
        if self.what == "repair":
            model = GaussianMixture(k, degenerate="repair", **options).fit(X, sample_weight=w)
            return bits(attributes(model), model.repairs_)
        if self.what == "bayes":
            model = BayesianGaussianMixture(n_components=k, **options).fit(X, sample_weight=w)
            return bits(attributes(model), model.predict_proba(X))
        if self.what == "batch":
            offsets = np.linspace(0, len(X), 12).astype(int)
            result = fit_batch(X, [1, k], offsets=offsets, sample_weight=w, **options)
            return bits(result.means, result.criteria, result.status, result.bic)
        if self.what == "pass":
            factors = reference.precision_cholesky(self.covariances, self.kind)
            params = MixtureParameters(
                self.weights, self.means, self.covariances, factors, self.kind
            )
            sums = accumulate(X, params, w, n_threads)
            found = sums.maximize(1e-6)
            _, g = reference.e_step(X, self.weights, self.means, factors, self.kind)
            right = reference.m_step(X, g, self.kind, 1e-6, w)
            self.compare((found.weights, found.means, found.covariances), right)
            return bits(sums.nk, sums.sx, sums.sxx, sums.log_likelihood)
        model = GaussianMixture(
            k,
            covariance_type=self.kind,
            weights_init=self.weights,
            means_init=self.means,
            covariances_init=self.covariances,
            tol=0,
            max_iter=4,
            n_threads=n_threads,
        ).fit(X, sample_weight=w)
        right = reference.fit(
            X, self.weights, self.means, self.covariances, self.kind, 0, 1e-6, 4, w
        )
        found = (model.weights_, model.means_, model.covariances_, model.lower_bounds_)
        self.compare(found, right[:4])
        return attributes(model)

    def compare(self, found: tuple, right: tuple) -> None:
        # Distances lose precision with the root of the covariances' condition number, which may be
        # thousands here; the tolerances in the table allow for 30.
        covariances = right[2]
        if self.kind in ("full", "tied"):
            condition = np.linalg.cond(covariances).max()
        elif self.kind == "diag":
            condition = (covariances.max(axis=1) / covariances.min(axis=1)).max()
        else:
            condition = 1.0
        rtol = tolerance("core, reference", self.dtype) * max(1.0, math.sqrt(condition) / 30)
        for name, a, b in zip(("weights", "means", "covariances", "bounds"), found, right):  # noqa: B905
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            if not np.allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max()):
                raise Mismatch(
                    f"case {self.seed} ({self.what}): {name} differ from the reference by "
                    f"{np.abs(a - b).max():.3g}"
                )

    def check(self, n_threads: int, layout: int) -> None:
        """Run the case; store its bits the first time and compare them later."""
        try:
            now = self.run(n_threads, layout)
        except ValueError as error:  # an error is a result too, and must be the same every time
            now = str(error)
        if not self.expected:
            self.expected = now
        elif now != self.expected:
            raise Mismatch(
                f"case {self.seed} ({self.what}) with {n_threads} threads, layout {layout}: the "
                f"bits differ from the first run ({now[:80]} / {self.expected[:80]})"
            )


# ---- ways to mix calls ----


def alone(cases: list[Case], rng: np.random.Generator) -> None:
    pick(cases, rng).check(*how(rng))


def pick(cases: list[Case], rng: np.random.Generator) -> Case:
    return cases[int(rng.integers(len(cases)))]


def how(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(1, N_THREADS + 1)), int(rng.integers(4))


def check(errors: list[BaseException], case: Case, n_threads: int, layout: int) -> None:
    try:
        case.check(n_threads, layout)
    except BaseException as error:
        errors.append(error)


def from_threads(cases: list[Case], rng: np.random.Generator) -> None:
    """Run several Python threads at once, two of them on the same case."""
    picked = [pick(cases, rng) for _ in range(3)]
    jobs = [(case, *how(rng)) for case in [*picked, picked[0]]]
    errors: list[BaseException] = []

    workers = [threading.Thread(target=check, args=(errors, *job), daemon=True) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE)
        if worker.is_alive():
            raise Mismatch(f"a thread hangs: {[case.seed for case, *_ in jobs]}")
    if errors:
        raise errors[0]


def in_a_child(cases: list[Case], rng: np.random.Generator) -> None:
    """Run a case in a forked child, half the time while another thread fits."""
    busy, errors = None, list[BaseException]()
    if rng.integers(2):
        busy = threading.Thread(target=check, args=(errors, pick(cases, rng), *how(rng)))
        busy.start()
    case, (n_threads, layout) = pick(cases, rng), how(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads is the test
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(DEADLINE)  # ends a hanging child
            case.check(n_threads, layout)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if busy is not None:
        busy.join()
    if errors:
        raise errors[0]
    if status != 0:
        raise Mismatch(f"a child ended with {status}: case {case.seed}, {n_threads} threads")


def interrupted(cases: list[Case], rng: np.random.Generator) -> None:
    """Interrupt a fit by an exception from a signal handler; the model must keep its last fit."""
    case = pick(cases, rng)
    n = 200_000
    X = np.tile(case.X[:60], (n // 60, 1))
    model = GaussianMixture(2, random_state=0, reg_covar=0.1, tol=0, max_iter=3).fit(case.X)
    before = attributes(model)
    model.max_iter = 10**7
    model.init_params = STARTS[int(rng.integers(4))]
    began, worked = time.monotonic(), time.thread_time()
    signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(0.001, 0.05)))
    try:
        if rng.integers(3):
            model.fit(X)
        else:
            fit_batch(X, 3, offsets=np.arange(0, len(X) + 1, 60), tol=0, max_iter=10**7)
        raise Mismatch("a fit that should run forever has ended")
    except Stopped:
        pass
    took, worked = time.monotonic() - began, time.thread_time() - worked
    slowest[:] = max(slowest[0], took), max(slowest[1], worked)
    if worked > 1.5:  # on a busy machine wall-clock time alone says little
        raise Mismatch(f"an interrupt took {took:.1f} s, {worked:.1f} s of CPU time")
    if attributes(model) != before:
        raise Mismatch("an interrupted fit has changed the model")
    case.check(*how(rng))


def handle_alarm(signum: int, frame: object) -> None:
    raise Stopped


# ---- resources that must not grow ----


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sample() -> tuple[float, int, int, int, int]:
    """Return (time, resident bytes, open files, threads, children) while nothing is running."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # free memory is not a leak
    tasks = os.listdir("/proc/self/task")
    children = 0
    for task in tasks:
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                children += len(file.read().split())
        except OSError:  # the thread has just ended
            pass
    return (
        time.monotonic(),
        resident_bytes(),
        len(os.listdir("/proc/self/fd")),
        len(tasks),
        children,
    )


def slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Return Theil & Sen's slope and its 95 % interval (Sen 1968), from the ranks of all pairwise
    slopes."""
    i, j = np.triu_indices(len(times), 1)
    slopes = np.sort((values[j] - values[i]) / (times[j] - times[i]))
    n = len(times)
    reach = 1.96 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, int((len(slopes) - reach) / 2))
    high = min(len(slopes) - 1, int(math.ceil((len(slopes) + reach) / 2)))
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


def judge(samples: np.ndarray) -> list[str]:
    """Return messages about the resources that have grown."""
    times, (resident, files, tasks, children) = samples[:, 0], samples[:, 1:].T.astype(int)
    middle, low, high = slope(times, resident.astype(float))
    span = times[-1] - times[0]
    print(
        f"resident size: {resident[0] / 2**20:.1f} MiB first, {resident[-1] / 2**20:.1f} last, "
        f"{resident.max() / 2**20:.1f} at most; slope {middle * 60 / 1024:.2f} KiB a minute, "
        f"95 % interval {low * 60 / 1024:.2f} to {high * 60 / 1024:.2f}, {len(times)} samples "
        f"over {span / 60:.1f} minutes"
    )
    print(
        f"open files {files.min()} to {files.max()}, threads {tasks.min()} to {tasks.max()}, "
        f"children {children.max()}"
    )
    complaints = []
    if len(times) >= 30 and low > 0 and middle * span > 0.01 * resident[0]:
        complaints.append(f"the resident size grows by {middle * 60 / 1024:.1f} KiB per minute")
    if files[-1] > files[0]:
        complaints.append(f"open files have grown from {files[0]} to {files[-1]}")
    if tasks.max() > N_THREADS:
        complaints.append(f"{tasks.max()} threads are left, but {N_THREADS} were requested")
    if children.any():
        complaints.append("children are left")
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"soak: {arguments.minutes:g} minutes, seed {arguments.seed}", flush=True)
    warnings.simplefilter("ignore")
    _threads.available_cpus = lambda: N_THREADS  # allow more threads than CPUs
    signal.signal(signal.SIGALRM, handle_alarm)
    rng = np.random.default_rng(arguments.seed)
    cases = [Case(int(seed)) for seed in rng.integers(2**31, size=N_CASES)]
    for case in cases:
        case.check(1, 0)
    ways = [alone] * 12 + [from_threads] * 3 + [in_a_child] * 2 + [interrupted]
    begin = time.monotonic()
    end, warm = begin + 60 * arguments.minutes, begin + 15 * arguments.minutes
    every = max(0.5, 60 * arguments.minutes / 400)
    done: Counter[str] = Counter()
    # of fixed size: a growing list of samples added 3 KiB per minute by itself
    samples, n_samples, next_sample = np.full((1000, 5), np.nan), 0, warm
    while (now := time.monotonic()) < end:
        way = ways[int(rng.integers(len(ways)))]
        faulthandler.dump_traceback_later(2 * DEADLINE, exit=True)  # a hang counts as a failure
        way(cases, rng)
        faulthandler.cancel_dump_traceback_later()
        done[way.__name__] += 1
        if now >= next_sample:
            samples[n_samples] = sample()
            n_samples += 1
            next_sample = now + every
    counts = ", ".join(f"{name} {count}" for name, count in sorted(done.items()))
    kinds = Counter(case.what for case in cases)
    refused = sum(" " in case.expected for case in cases)
    print(f"{sum(done.values())} steps: {counts}")
    print(f"{len(cases)} cases: {dict(kinds)}, {refused} refused")
    print(f"slowest interrupt {slowest[0]:.2f} s, {slowest[1]:.2f} s of CPU time")
    complaints = judge(samples[:n_samples])
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    print("no mismatch, " + ("but see above" if complaints else "nothing grows"))
    return 1 if complaints else 0


if __name__ == "__main__":
    # With one arena per thread, fragmentation slowly grows glibc's heap (72 to 77 MiB in 1600
    # steps, and 53.8 to 53.9 with a single arena); a leak of that size would go unnoticed.
    if os.environ.get("MALLOC_ARENA_MAX") != "1":
        os.environ["MALLOC_ARENA_MAX"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    try:
        sys.exit(main())
    except Mismatch as mismatch:
        print(f"MISMATCH: {mismatch}")
        sys.exit(1)
