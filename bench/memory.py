"""Peak memory of a fit and of a predict above the data, N = 1M, d = 8, K = 8 (Linux).

The kernel's high-water mark is reset before each call, so that creating the data does not count.
"""

import warnings
from pathlib import Path

from workloads import Workload

import fusedgmm


def status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def rise_mb(call) -> float:
    """Return how far the peak rose above the resident size before the call."""
    Path("/proc/self/clear_refs").write_text("5")
    before = status_mb("VmRSS")
    call()
    return status_mb("VmHWM") - before


def main() -> None:
    warnings.simplefilter("ignore")
    for kind in ("full", "tied", "diag", "spherical"):
        X, start = Workload(kind, 1_000_000, 8, 8).make()
        model = fusedgmm.GaussianMixture(8, covariance_type=kind, max_iter=3, random_state=0)
        fit = rise_mb(lambda model=model, X=X: model.fit(X))
        predict = rise_mb(lambda model=model, X=X: model.predict(X))
        print(f"{kind:10s} fit {fit:6.1f} MB   predict {predict:6.1f} MB", flush=True)
        del X


if __name__ == "__main__":
    main()
