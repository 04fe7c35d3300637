"""Time and agreement of two packages that fit mixtures through scikit-learn: their own code before
and after `fusedgmm.patch_sklearn(everywhere=True)`.

    pip install scikit-lego pyod
    python bench/packages.py

The packages are scikit-lego's GMMClassifier (one mixture per class) and pyod's GMM (outliers).
Both have imported scikit-learn's class before the patch, hence `everywhere=True`.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from pyod.models.gmm import GMM
from sklego.mixture import GMMClassifier

import fusedgmm


def groups(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """k overlapping Gaussian groups and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(k, size=n)
    return rng.normal(size=(k, d))[labels] * 2 + rng.normal(size=(n, d)), labels


def lego() -> tuple[np.ndarray, float]:
    """Return the predicted classes, and the mean log-likelihood of the rows of the first class."""
    X, labels = groups(100_000, 8, 8)
    y = labels % 2
    model = GMMClassifier(n_components=4, random_state=0).fit(X, y)
    return model.predict(X), model.gmms_[0].score(X[y == 0])


def outliers() -> tuple[np.ndarray, float]:
    """Return the outlier labels, and the mean log-likelihood of the rows."""
    X, _ = groups(100_000, 16, 8)
    model = GMM(n_components=8, random_state=0).fit(X)
    return model.predict(X), -float(model.decision_scores_.mean())


def measured(work: Callable[[], tuple[np.ndarray, float]]) -> tuple[float, np.ndarray, float]:
    """Return the median seconds of three runs, and the results of the last one."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        labels, likelihood = work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), labels, likelihood


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")
    print(f"{'fit and predict':28s} {'before s':>9s} {'after s':>8s} {'ratio':>7s}"
          f" {'same labels':>12s}  log-likelihood before, after")  # fmt: skip
    for name, work in (("scikit-lego GMMClassifier", lego), ("pyod GMM", outliers)):
        before = measured(work)
        replaced = fusedgmm.patch_sklearn(everywhere=True)
        try:
            after = measured(work)
        finally:
            fusedgmm.unpatch_sklearn()
        assert any(place.startswith(("sklego.", "pyod.")) for place in replaced)
        print(f"{name:28s} {before[0]:9.3f} {after[0]:8.3f} {before[0] / after[0]:6.1f}x"
              f" {np.mean(before[1] == after[1]):12.3%}  {before[2]:.4f} {after[2]:.4f}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
