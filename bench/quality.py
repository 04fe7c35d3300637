"""Quality of default fits on real data compared with scikit-learn: log-likelihoods, iterations.

    python bench/quality.py

Each covariance type, K = 1..6, three seeds. Both packages get the same int as random_state and
choose their own starts. Data: iris, wine, breast cancer (standardised), digits (16 principal
components), Old Faithful.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as Theirs
from sklearn.preprocessing import StandardScaler

from fusedgmm import GaussianMixture
from fusedgmm.datasets import load_faithful

TYPES = ("full", "tied", "diag", "spherical")
SLACK = 1e-3  # nats per row, the tolerance of the fits


class Case(NamedTuple):
    """One data set, type, K and seed; NaN if that package's fit raised an exception."""

    name: str
    ours: float
    theirs: float
    our_iterations: float
    their_iterations: float


def tables() -> Iterator[tuple[str, np.ndarray]]:
    yield "iris", datasets.load_iris().data
    yield "wine", datasets.load_wine().data
    yield "breast cancer", StandardScaler().fit_transform(datasets.load_breast_cancer().data)
    yield "digits", PCA(16, random_state=0).fit_transform(datasets.load_digits().data)
    yield "Old Faithful", load_faithful()


def fitted(kind: type, X: np.ndarray, covariance_type: str, k: int, seed: int):
    """Return the final mean log-likelihood and the iterations; NaN, with a printed line, if the fit
    raises an exception."""
    model = kind(k, covariance_type=covariance_type, random_state=seed)
    try:
        model.fit(X)
    except ValueError as error:
        print(f"{kind.__module__} {model!r}: {str(error)[:60]}")
        return np.nan, np.nan
    return model.score(X), model.n_iter_


def summary(name: str, cases: list[Case]) -> str:
    values = np.array([case[1:] for case in cases], dtype=float)
    raised = np.isnan(values[:, :2]).sum(axis=0)
    gap = values[:, 0] - values[:, 1]
    both = ~np.isnan(gap)
    gap, mine, other = gap[both], *values[both, 2:].mean(axis=0)
    return (f"{name:14s} {len(cases):5d} {raised[0]:4d} {raised[1]:7d}"
            f" {np.mean(gap >= -SLACK):8.1%} {np.mean(gap > SLACK):7.1%} {gap.mean():+9.4f}"
            f" {gap.min():+9.4f} {gap.max():+9.4f}"
            f" {mine:6.1f} {other:7.1f}")  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")
    cases: list[Case] = []
    for name, X in tables():
        for covariance_type, k, seed in itertools.product(TYPES, range(1, 7), range(3)):
            mine, other = (fitted(kind, X, covariance_type, k, seed)
                           for kind in (GaussianMixture, Theirs))  # fmt: skip
            cases.append(Case(name, mine[0], other[0], mine[1], other[1]))

    gap = "ours less theirs, nats a row"
    print(f"{'':14s} {'':5s} {'raised':>12s} {'ours >=':>8s} {'better':>7s} {gap:>29s}"
          f" {'iterations':>14s}")  # fmt: skip
    print(f"{'':14s} {'cases':>5s} {'ours':>4s} {'sklearn':>7s} {'-1e-3':>8s} {'> 1e-3':>7s}"
          f" {'mean':>9s} {'least':>9s} {'most':>9s} {'ours':>6s} {'sklearn':>7s}")  # fmt: skip
    for name, group in itertools.groupby(cases, key=lambda case: case.name):
        print(summary(name, list(group)))
    print(summary("total", cases))


if __name__ == "__main__":
    main()
