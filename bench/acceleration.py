"""Accelerated EM compared with plain EM: passes to convergence, optima, wall time.

    python bench/acceleration.py            the table of passes, then the wall times
    python bench/acceleration.py --cases    also one line per case
    python bench/acceleration.py --table    only the table
    python bench/acceleration.py --times    only the wall times

Cases: real data that scikit-learn contains, and synthetic data from separated to heavily
overlapping; each with one start, the same for both. All passes count, also those whose
extrapolation was rejected. The limit of a fit is its bound when it changes by less than 1e-13.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from fusedgmm import GaussianMixture, fit_batch
from fusedgmm.datasets import load_faithful

TYPES = ("full", "tied", "diag", "spherical")
DISTANCES = (1e-3, 1e-6, 1e-9)  # nats per row
TOL, END, LONGEST = 1e-3, 1e-13, 20_000


@dataclass(frozen=True)
class Case:
    name: str
    X: np.ndarray
    covariance_type: str
    k: int
    start: str
    seed: int

    def fit(self, **options: object) -> GaussianMixture:
        return GaussianMixture(
            self.k,
            covariance_type=self.covariance_type,
            init_params=self.start,
            random_state=self.seed,
            n_init=1,
            n_threads=1,
            **options,
        ).fit(self.X)


@dataclass(frozen=True)
class Run:
    """Passes to each distance from the limit, and to the own stop under both rules; the limit."""

    passes: dict[object, int]
    short: dict[str, float]  # how far below the limit each stopping rule ends
    limit: float


def tables() -> Iterator[tuple[str, np.ndarray]]:
    scaled = StandardScaler().fit_transform
    yield "iris", scaled(datasets.load_iris().data)
    yield "wine", PCA(5, random_state=0).fit_transform(scaled(datasets.load_wine().data))
    cancer = scaled(datasets.load_breast_cancer().data)
    yield "breast cancer", PCA(6, random_state=0).fit_transform(cancer)
    yield "digits", PCA(12, random_state=0).fit_transform(datasets.load_digits().data)
    yield "diabetes", scaled(datasets.load_diabetes().data[:, 2:9])
    yield "Old Faithful", load_faithful()
    rng = np.random.default_rng(1)
    for name in ("china.jpg", "flower.jpg"):
        pixels = datasets.load_sample_image(name).reshape(-1, 3)[::89]
        yield name, scaled(pixels + rng.uniform(-0.5, 0.5, pixels.shape))


def synthetic(kind: str, apart: float, k: int, d: int, seed: int, n: int = 3000) -> np.ndarray:
    """Return rows of a mixture whose means are `apart` times standard normal numbers."""
    rng = np.random.default_rng(seed)
    means = apart * rng.normal(size=(k, d))
    labels = rng.choice(k, size=n, p=rng.dirichlet(np.full(k, 4.0)))
    if kind in ("full", "tied"):
        roots = np.eye(d) + 0.35 * rng.normal(size=(1 if kind == "tied" else k, d, d))
    else:
        roots = rng.uniform(0.5, 1.6, (k, d if kind == "diag" else 1, 1)) * np.eye(d)
    roots = np.broadcast_to(roots, (k, d, d))
    return means[labels] + np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n, d)))


def cases() -> Iterator[Case]:
    seeds = itertools.count(5000)
    starts = itertools.cycle(("kmeans", "random_from_data", "random_from_data", "kmeans"))
    for (name, X), kind, k in itertools.product(list(tables()), TYPES, (3, 6, 10)):
        if len(X) > 4 * k * X.shape[1]:
            yield Case(name, X, kind, k, next(starts), next(seeds))
    sizes = ((2, 4), (4, 3), (7, 2), (11, 5), (16, 4))
    for apart, kind, (k, d) in itertools.product((3.0, 1.7, 1.1, 0.8, 0.5), TYPES, sizes):
        seed = next(seeds)
        X = synthetic(kind, apart, k, d, seed)
        yield Case(f"synthetic {apart:g}", X, kind, k, next(starts), seed)


def run(case: Case, acceleration: str | None) -> Run:
    options = {"acceleration": acceleration, "max_iter": LONGEST}
    bounds = np.array(case.fit(tol=END, **options).lower_bounds_)
    passes: dict[object, int] = {}
    for distance in DISTANCES:
        reached = int(np.argmax(bounds >= bounds[-1] - distance)) + 1
        passes[distance] = case.fit(tol=0, **options | {"max_iter": reached}).n_passes_
    short = {}
    for rule in ("change", "aitken"):
        model = case.fit(tol=TOL, stopping=rule, **options)
        passes[rule] = model.n_passes_
        short[rule] = bounds[-1] - model.lower_bound_
    return Run(passes, short, bounds[-1])


def describe(ratios: np.ndarray) -> str:
    low, tenth, high = ratios.min(), np.quantile(ratios, 0.1), np.quantile(ratios, 0.9)
    return f"{np.median(ratios):.2f} [{low:.2f} .. {high:.2f}], 10 % quantile {tenth:.2f}"


def table(show_cases: bool) -> None:
    pairs: list[tuple[Case, Run, Run]] = []
    for case in cases():
        try:
            pairs.append((case, run(case, None), run(case, "squarem")))
        except ValueError:
            continue  # a singular covariance: the likelihood has no maximum
        if show_cases:
            _, plain, fast = pairs[-1]
            counts = "  ".join(f"{plain.passes[key]}/{fast.passes[key]}" for key in plain.passes)
            print(
                f"{case.name:14s} {case.covariance_type:9s} K={case.k:2d} {case.start:16s}"
                f" {fast.limit - plain.limit:+.1e}  {counts}",
                flush=True,
            )

    def ratios(key: object) -> np.ndarray:
        return np.array([plain.passes[key] / fast.passes[key] for _, plain, fast in pairs])

    real = sum(not case.name.startswith("synthetic") for case, *_ in pairs)
    print(
        f"{len(pairs)} cases, {real} of them real data. Passes of plain EM over those of SQUAREM,"
    )
    print("median [worst .. 90 %]:")
    print(f"  own stop, tol 1e-3        {describe(ratios('change'))}")
    print(f"  own stop, Aitken's rule   {describe(ratios('aitken'))}")
    for distance in DISTANCES:
        print(f"  to within {distance:g} of the end {describe(ratios(distance))}")
    slow = np.array([plain.passes[1e-6] > 200 for _, plain, _ in pairs])
    print(f"  of these 1e-6, the {slow.sum()} where EM needs over 200 passes:")
    print(f"                            {describe(ratios(1e-6)[slow])}")
    gap = np.array([fast.limit - plain.limit for _, plain, fast in pairs])
    print(
        f"lower optimum (by over 1e-3) {np.mean(gap < -1e-3):.1%}, higher {np.mean(gap > 1e-3):.1%}"
    )
    for rule in ("change", "aitken"):
        shares = [np.mean([run.short[rule] > TOL for run in runs]) for runs in
                  ([plain for _, plain, _ in pairs], [fast for *_, fast in pairs])]  # fmt: skip
        print(f"stopping={rule!r}, tol 1e-3: more than 1e-3 short of the end in {shares[0]:.0%}"
              f" of the plain fits, {shares[1]:.0%} of the accelerated ones")  # fmt: skip


def times() -> None:
    """Print the wall times of whole fits, start included, plain and accelerated, in turns."""
    small = [synthetic("full", 1.0, 3, 2, seed, n=200) for seed in range(1000)]
    for tol in (1e-3, 1e-6):
        for name, data in [
            ("1,000 fits", small),
            *((f"500k 8 8, {kind} {i}", (kind, i)) for kind in ("full", "tied") for i in range(3)),
        ]:
            seconds, bounds, passes = [], [], []
            X = None
            if isinstance(data, tuple):
                X = synthetic(data[0], 0.4, 8, 8, data[1], n=500_000)
            for acceleration in (None, "squarem"):
                options = {"acceleration": acceleration, "tol": tol, "max_iter": 3000}
                began = perf_counter()
                if X is None:
                    result = fit_batch(small, 3, random_state=0, **options)
                    bounds.append(float(result.lower_bound.mean()))
                    passes.append(int(result.n_passes.sum()))
                else:
                    model = GaussianMixture(8, random_state=0, **options).fit(X)
                    bounds.append(model.lower_bound_)
                    passes.append(model.n_passes_)
                seconds.append(perf_counter() - began)
            print(f"{name:16s} tol {tol:g}: {seconds[0]:.2f} s plain, {seconds[1]:.2f} s"
                  f" accelerated, {seconds[0] / seconds[1]:.2f}x; passes {passes[0]}, {passes[1]},"
                  f" {passes[0] / passes[1]:.2f}x; bound {bounds[1] - bounds[0]:+.1e}",
                  flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", action="store_true", help="also print one line per case")
    parser.add_argument("--table", action="store_true", help="print only the table of passes")
    parser.add_argument("--times", action="store_true", help="print only the wall times")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if not arguments.times:
        table(arguments.cases)
    if not arguments.table:
        times()


if __name__ == "__main__":
    main()
