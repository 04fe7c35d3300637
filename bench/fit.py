"""Time of one EM iteration: ours, scikit-learn, the NumPy reference; same start, same run.

    python bench/fit.py [--repeats 3] [--threads 2] [--reference]

An iteration is the difference of two fits of different max_iter, divided by the difference, so
that start and final scoring cancel. The contestants take turns; medians are printed. These
machines are noisy: read the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
from workloads import WORKLOADS

import fusedgmm
from fusedgmm import reference


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def per_iteration(fit, few: int, many: int) -> float:
    return (seconds(lambda: fit(many)) - seconds(lambda: fit(few))) / (many - few)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--reference", action="store_true", help="time the slow NumPy reference too"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    from sklearn.mixture import GaussianMixture as Theirs

    print(f"{'workload':28s} {'ours ms':>9s} {'sklearn':>9s} {'numpy':>9s}  ratio to each")
    for workload in WORKLOADS.values():
        X, start = workload.make()
        options = dict(
            n_components=workload.n_components,
            covariance_type=workload.covariance_type,
            tol=0,
            **start,
        )

        def ours(n, X=X, options=options):
            fusedgmm.GaussianMixture(max_iter=n, n_threads=args.threads, **options).fit(X)

        def sklearn(n, X=X, options=options):
            Theirs(max_iter=n, **options).fit(X)

        def numpy(n, X=X, start=start, workload=workload):
            p = start["precisions_init"]
            covariances = (
                np.linalg.inv(p)
                if p.ndim >= 2
                and p.shape[-1] == p.shape[-2]
                and (workload.covariance_type in ("full", "tied"))
                else 1 / p
            )
            reference.fit(
                X,
                start["weights_init"],
                start["means_init"],
                covariances,
                workload.covariance_type,
                0,
                1e-6,
                n,
            )

        ours(1)
        times = [
            (
                per_iteration(ours, 1, 11),
                per_iteration(sklearn, 1, 3),
                per_iteration(numpy, 1, 2) if args.reference else float("nan"),
            )
            for _ in range(args.repeats)
        ]
        a, b, c = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{workload.name:28s} {a:9.2f} {b:9.1f} {c:9.1f}  {b / a:6.1f}x {c / a:6.1f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
