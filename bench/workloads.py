"""The named workloads that every benchmark uses: data and one start for all the contestants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    covariance_type: str
    n_samples: int
    n_features: int
    n_components: int

    @property
    def name(self) -> str:
        return f"{self.covariance_type} {self.n_samples}x{self.n_features} K={self.n_components}"

    def make(self, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Overlapping spherical groups, and a start (weights, means, precisions) for all."""
        rng = np.random.default_rng(seed)
        k, d = self.n_components, self.n_features
        means = rng.normal(size=(k, d)) * 2
        X = rng.normal(size=(self.n_samples, d))
        X += means[rng.integers(k, size=self.n_samples)]
        eye = np.eye(d)
        precisions = {
            "full": np.tile(eye, (k, 1, 1)),
            "tied": eye,
            "diag": np.ones((k, d)),
            "spherical": np.ones(k),
        }[self.covariance_type]
        return X, {
            "weights_init": np.full(k, 1 / k),
            "means_init": means + rng.normal(size=(k, d)) * 0.3,
            "precisions_init": precisions,
        }


WORKLOADS = {
    w.name: w
    for w in (
        Workload("full", 500_000, 8, 8),
        Workload("full", 100_000, 32, 32),
        Workload("diag", 1_000_000, 8, 8),
        Workload("spherical", 500_000, 8, 8),
        Workload("tied", 500_000, 8, 8),
    )
}
