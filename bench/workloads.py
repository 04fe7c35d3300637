"""The named workloads of the benchmarks: data, and one start for all contestants."""

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
        n = self.n_samples
        rows = f"{n // 1_000_000}M" if n % 1_000_000 == 0 else f"{n // 1000}k"
        return f"{self.covariance_type} {rows} {self.n_features} {self.n_components}"

    @property
    def fused_multiply_adds(self) -> int:
        """Multiply-adds of one iteration: distance and scatter (see README.md)."""
        n, d, k = self.n_samples, self.n_features, self.n_components
        per_pair = {"full": d * (d + 1), "diag": 4 * d, "spherical": 2 * d, "tied": 2 * d}
        once = n * d * (d + 1) // 2 if self.covariance_type == "tied" else 0
        return n * k * per_pair[self.covariance_type] + once

    @property
    def bytes(self) -> int:
        """Bytes of the rows in float64, which an iteration reads once."""
        return self.n_samples * self.n_features * 8

    def floor(self, machine: dict[str, float], itemsize: int = 8) -> float:
        """Lower limit of the time of an iteration in seconds: arithmetic or memory, then
        exponentials."""
        arithmetic = self.fused_multiply_adds / machine["fma"]
        memory = self.bytes * itemsize / 8 / machine["bytes"]
        return max(arithmetic, memory) + self.n_samples * self.n_components / machine["exp"]

    def make(self, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return overlapping groups, so that no responsibility is negligible; and a start for all
        contestants: weights (K,), means (K, d), covariances in the shape of their type."""
        rng = np.random.default_rng(seed)
        k, d = self.n_components, self.n_features
        means = rng.normal(size=(k, d)) * 1.5 / np.sqrt(d)
        X = rng.normal(size=(self.n_samples, d))
        X += means[rng.integers(k, size=self.n_samples)]
        roots = np.eye(d) + rng.normal(size=(k, d, d)) * 0.1 / np.sqrt(d)
        full = roots @ roots.transpose(0, 2, 1)
        diag = np.einsum("kii->ki", full)
        covariances = {
            "full": full, "tied": full.mean(axis=0), "diag": diag, "spherical": diag.mean(axis=1)
        }[self.covariance_type]  # fmt: skip
        return X, {"weights": np.full(k, 1 / k), "means": means, "covariances": covariances}


WORKLOADS = {
    w.name: w
    for w in (
        Workload("full", 20_000, 128, 8),
        Workload("full", 50_000, 64, 16),
        Workload("full", 100_000, 32, 32),
        Workload("full", 200_000, 16, 16),
        Workload("full", 500_000, 8, 8),
        Workload("full", 1_000_000, 2, 3),
        Workload("full", 1_000_000, 1, 2),
        Workload("diag", 1_000_000, 8, 8),
        Workload("diag", 200_000, 32, 64),
        Workload("diag", 200_000, 64, 256),
        Workload("spherical", 500_000, 8, 8),
        Workload("spherical", 100_000, 32, 32),
        Workload("tied", 500_000, 8, 8),
        Workload("tied", 100_000, 32, 32),
    )
}
