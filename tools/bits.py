"""Hash the results of a set of fits, to show that a code change keeps them identical bit for bit.

    python tools/bits.py            one line per group of fits, and one for all of them
    python tools/bits.py --verbose  one line per fit

Install the package from one commit, run this, do the same for another commit on the same machine,
and compare the lines (FUSEDGMM_ISA chooses the instruction set). The fits cover all covariance
types, both real types, every start, sample weights, memory layouts, warm starts, repairs, batches,
Bayesian mixtures, scores and sufficient statistics.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import warnings

import numpy as np

import fusedgmm
from fusedgmm import BayesianGaussianMixture, GaussianMixture, accumulate, fit_batch

TYPES = ("full", "tied", "diag", "spherical")
STARTS = ("kmeans", "k-means++", "random", "random_from_data")
FITTED = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
SIZES = [
    (400, 1, 2),
    (900, 2, 3),
    (700, 5, 4),
    (600, 8, 3),
    (500, 9, 2),
    (800, 17, 5),
    (600, 40, 3),
]


def starts(count: int) -> dict[str, int]:
    """Return the options for exactly `count` starts, in this version and in those before
    n_init="auto"."""
    old = "n_starts" in inspect.signature(GaussianMixture.__init__).parameters
    return {"n_init": count} | ({"n_starts": 1} if old else {})


class Hashes:
    def __init__(self, verbose: bool) -> None:
        self.verbose, self.groups = verbose, {}

    def add(self, group: str, name: str, *values: object) -> None:
        one = hashlib.sha256()
        for value in values:
            array = np.asarray(value)
            one.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
        if self.verbose:
            print(f"{one.hexdigest()[:16]}  {group}: {name}")
        self.groups.setdefault(group, hashlib.sha256()).update(one.digest())

    def model(self, group: str, name: str, model: object, X: np.ndarray) -> None:
        arrays = [getattr(model, attribute) for attribute in FITTED]
        scores = [model.score_samples(X), model.predict(X), model.predict_proba(X), model.score(X)]
        self.add(group, name, *arrays, model.lower_bounds_, model.converged_, *scores)


def rows(n: int, d: int, k: int, dtype: type = np.float64, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(1000 * n + 10 * d + k)
    means = 3 * rng.normal(size=(k, d)) + offset
    scale = rng.uniform(0.4, 1.6, size=(k, d))
    label = rng.integers(k, size=n)
    return (means[label] + scale[label] * rng.normal(size=(n, d))).astype(dtype)


def degenerate_rows(dtype: type) -> np.ndarray:
    X = rows(300, 3, 2, dtype)
    X[:40] = X[0]
    X[40:80, 1] = X[40, 1]
    return X


def fits(hashes: Hashes) -> None:
    for kind in TYPES:
        for dtype in (np.float64, np.float32):
            for n, d, k in SIZES:
                X = rows(n, d, k, dtype)
                weight = np.random.default_rng(n).uniform(0, 3, n)
                weight[::7] = 0
                name = f"{kind} {np.dtype(dtype)} {n} {d} {k}"
                for start in STARTS:
                    model = GaussianMixture(
                        k, covariance_type=kind, init_params=start, random_state=3, **starts(2)
                    )
                    hashes.model("starts", f"{name} {start}", model.fit(X), X)
                    model.fit(np.asfortranarray(X), sample_weight=weight)
                    hashes.model("weights, columns", f"{name} {start}", model, X)
                model = GaussianMixture(k, covariance_type=kind, random_state=5, tol=1e-6)
                hashes.model("default starts", name, model.fit(X), X)
                model.set_params(warm_start=True, max_iter=3, tol=0.0)
                hashes.model("warm start", name, model.fit(X), X)
                far = rows(n, d, k, dtype, 1e3 if dtype is np.float32 else 1e8)
                model = GaussianMixture(k, covariance_type=kind, random_state=5)
                hashes.model("far from zero", name, model.fit(far), far)
            X = rows(150_000, 3, 4, dtype)
            model = GaussianMixture(4, covariance_type=kind, random_state=0, max_iter=8)
            hashes.model("many rows", f"{kind} {np.dtype(dtype)}", model.fit(X), X)
            X = degenerate_rows(dtype)
            for k in (2, 5, 8):
                for start in STARTS:
                    model = GaussianMixture(
                        k,
                        covariance_type=kind,
                        init_params=start,
                        random_state=1,
                        reg_covar=0,
                        degenerate="repair",
                        **starts(2),
                    )
                    hashes.model("repair", f"{kind} {np.dtype(dtype)} {k} {start}", model.fit(X), X)
                    repairs = getattr(model, "repairs_", getattr(model, "degeneracies_", None))
                    hashes.add("repair", "list", [tuple(r) for r in repairs])


def given_starts(hashes: Hashes) -> None:
    X = rows(900, 4, 3)
    whole = GaussianMixture(3, random_state=0, **starts(1)).fit(X)
    for parts in (("weights",), ("means",), ("precisions",), ("weights", "means", "precisions")):
        given = {f"{part}_init": getattr(whole, f"{part}_") for part in parts}
        model = GaussianMixture(3, random_state=2, **given).fit(X)
        hashes.model("given starts", " ".join(parts), model, X)
    model = GaussianMixture(3, covariances_init=whole.covariances_, random_state=2).fit(X)
    hashes.model("given starts", "covariances", model, X)


def batches(hashes: Hashes) -> None:
    rng = np.random.default_rng(7)
    for kind in TYPES:
        for dtype in (np.float64, np.float32):
            X = np.stack([rows(80 + i // 100, 2, 1 + i % 4, dtype)[:80] for i in range(60)])
            X[3] = X[3, 0]
            X[5, 4, 1] = np.nan
            groups = rng.integers(40, size=4000)
            many = rows(4000, 3, 5, dtype)
            weight = rng.uniform(0, 2, 4000)
            for repair in ("raise", "repair"):
                options = {"covariance_type": kind, "degenerate": repair, "random_state": 11}
                for name, result in {
                    "several K": fit_batch(X, [1, 2, 3], **options),
                    "one K": fit_batch(X, 2, n_init=2, init_params="k-means++", **options),
                    "groups": fit_batch(
                        many,
                        [1, 4],
                        groups=groups,
                        sample_weight=weight,
                        criterion="aic",
                        **options,
                    ),
                }.items():
                    arrays = [result.weights, result.means, result.covariances, result.bic]
                    arrays += [result.precisions_cholesky, result.lower_bound, result.n_iter]
                    arrays += [result.status, result.n_components, result.criteria, result.seeds]
                    hashes.add("batch", f"{kind} {np.dtype(dtype)} {repair} {name}", *arrays)


def bayesian(hashes: Hashes) -> None:
    for kind in TYPES:
        for dtype in (np.float64, np.float32):
            for prior in ("dirichlet_process", "dirichlet_distribution"):
                for n, d, k in SIZES[:6]:
                    X = rows(n, d, k, dtype)
                    weight = np.random.default_rng(n).uniform(0, 3, n)
                    model = BayesianGaussianMixture(
                        n_components=k + 2,
                        covariance_type=kind,
                        weight_concentration_prior_type=prior,
                        random_state=4,
                        n_init=2,
                        max_iter=30,
                    )
                    name = f"{kind} {np.dtype(dtype)} {prior} {n} {d} {k}"
                    hashes.model("Bayesian", name, model.fit(X), X)
                    model.set_params(warm_start=True, max_iter=5)
                    hashes.model("Bayesian", f"{name} warm", model.fit(X, sample_weight=weight), X)


def statistics(hashes: Hashes) -> None:
    for kind in TYPES:
        for dtype in (np.float64, np.float32):
            for n, d, k in SIZES:
                X = rows(n, d, k, dtype)
                model = GaussianMixture(k, covariance_type=kind, random_state=0, **starts(1)).fit(X)
                parameters = fusedgmm.MixtureParameters(
                    model.weights_,
                    model.means_,
                    model.covariances_,
                    model.precisions_cholesky_,
                    kind,
                )
                sums = accumulate(X, parameters)
                sums += accumulate(X[: n // 3], parameters)
                found = sums.maximize()
                arrays = [sums.nk, sums.sx, sums.sxx, sums.log_likelihood, found.weights]
                arrays += [found.means, found.covariances, found.precisions_cholesky]
                hashes.add("statistics", f"{kind} {np.dtype(dtype)} {n} {d} {k}", *arrays)


def main() -> None:
    hashes = Hashes("--verbose" in sys.argv)
    warnings.simplefilter("ignore")
    for part in (fits, given_starts, batches, bayesian, statistics):
        part(hashes)
    whole = hashlib.sha256()
    for group, hashed in hashes.groups.items():
        print(f"{hashed.hexdigest()[:16]}  {group}")
        whole.update(hashed.digest())
    print(f"{whole.hexdigest()[:16]}  all ({fusedgmm._core.config()['instruction_set']})")


if __name__ == "__main__":
    main()
