"""Measure how long Ctrl-C takes to stop a call, from the signal to the exception.

    python bench/interrupts.py            every call below; about 5 GB of memory, two minutes
    python bench/interrupts.py batch K=   the calls with one of these words in their name

The signal is sent at several times after the start of a call; prints the median and the maximum.
Requires POSIX signals.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import threading
import time
import warnings

import numpy as np

from fusedgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureParameters,
    accumulate,
    fit_batch,
)

MOMENTS = (0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 4.0)  # seconds after the call began
ENDLESS = {"random_state": 0, "tol": 0, "max_iter": 10**7}
rng = np.random.default_rng(0)


def seconds_to_stop(call, after):
    """Return None if the call finished before the signal."""
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        call()
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
    timer.cancel()
    return None


def fitting(X, n_components, covariance_type="full", init_params="kmeans", **options):
    cls = options.pop("cls", GaussianMixture)
    weight = options.pop("sample_weight", None)
    model = cls(
        n_components=n_components,
        covariance_type=covariance_type,
        init_params=init_params,
        **ENDLESS | options,
    )
    return lambda: model.fit(X, sample_weight=weight)


def calls():
    plane, wide = rng.normal(size=(700_000, 2)), rng.normal(size=(1_000_000, 8))
    matrix = rng.normal(size=(2600, 2500))
    few = np.repeat(rng.normal(size=(20, 2)), 20_000, axis=0)
    d, K = 16, 64
    parameters = MixtureParameters.from_covariances(
        np.full(K, 1 / K), rng.normal(size=(K, d)), np.broadcast_to(np.eye(d), (K, d, d))
    )
    mixture = GaussianMixture.from_parameters(parameters)
    rows = np.tile(rng.normal(size=(10_000, d)), (300, 1))
    ours, bayes = "random_from_data", {"cls": BayesianGaussianMixture}
    return {
        "full, N=1M d=8 K=8": fitting(wide, 8),
        "k-means, K=20,000": fitting(plane, 20_000, "spherical"),
        "k-means, K=200,000": fitting(plane, 200_000, "spherical"),
        "k-means, full, K=200,000": fitting(plane, 200_000),
        "random, K=200,000": fitting(plane, 200_000, "diag", "random"),
        "full, K=200,000": fitting(plane, 200_000, "full", ours),
        "Bayesian, diag, K=100,000": fitting(plane[:200_000], 100_000, "diag", ours, **bayes),
        "Bayesian, full, K=100,000": fitting(plane[:200_000], 100_000, "full", ours, **bayes),
        "tied, d=2500": fitting(matrix, 2, "tied", ours),
        "full, d=2500": fitting(matrix, 3, "full", ours),
        "Bayesian, d=1500": fitting(matrix[:, :1500], 3, "full", ours, **bayes),
        "rows by weight, K=9000": fitting(
            wide[:, :1], 9000, "diag", ours, sample_weight=rng.random(len(wide))
        ),
        "repair": fitting(few, 30, degenerate="repair"),
        "batch of 20,000": lambda: fit_batch(wide.reshape(-1, 50, 8), 3, **ENDLESS),
        "batch of two large": lambda: fit_batch([wide, wide], 8, **ENDLESS),
        "batch, 29 candidates": lambda: fit_batch([plane], list(range(1, 30)), **ENDLESS),
        "predict, K=64 d=16": lambda: [mixture.predict(rows) for _ in range(30)],
        "predict_proba": lambda: [mixture.predict_proba(rows) for _ in range(30)],
        "score_samples, by columns": lambda: [
            mixture.score_samples(np.asfortranarray(rows)) for _ in range(30)
        ],
        "accumulate": lambda: [accumulate(rows, parameters) for _ in range(30)],
    }


def main():
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    longest = 0.0
    for name, call in calls().items():
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        took = [t for after in MOMENTS if (t := seconds_to_stop(call, after)) is not None]
        longest = max(longest, *took)
        print(
            f"{name:28}{len(took):3} stops, median {1e3 * statistics.median(took):5.0f} ms, "
            f"longest {1e3 * max(took):5.0f} ms",
            flush=True,
        )
    print(f"longest of all {1e3 * longest:.0f} ms; load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
