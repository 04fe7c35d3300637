"""Peak memory of a fit and of a predict above the data, N = 1M, d = 8, K = 8: python bench/memory.py"""

import resource
import warnings

from workloads import Workload

import fusedgmm


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


warnings.simplefilter("ignore")
for kind in ("full", "tied", "diag", "spherical"):
    X, start = Workload(kind, 1_000_000, 8, 8).make()
    before = peak_mb()
    model = fusedgmm.GaussianMixture(8, covariance_type=kind, max_iter=3, random_state=0).fit(X)
    after = peak_mb()
    model.predict(X)
    print(f"{kind:10s} fit {after - before:6.1f} MB   predict {peak_mb() - after:6.1f} MB "
          f"(above the peak before it)")
    del X
