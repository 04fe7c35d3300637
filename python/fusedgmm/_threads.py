"""The number of threads of a call."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from . import _core
from ._validation import as_integer

PASSES = 20  # typical number of passes of a fit, which decides how many threads are worth using
_CGROUP = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Return the number of CPUs available to this process, at least 1."""
    return _core.available_cpus() or os.cpu_count() or 1


def _cgroup_folders() -> Iterator[Path]:
    """Yield the cgroup folders of this process, nearest first, up to the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUP / "cpu" if controllers else _CGROUP
        folder = root / path.lstrip("/")
        while folder != root and root in folder.parents:
            yield folder
            folder = folder.parent
    yield _CGROUP
    yield _CGROUP / "cpu"


def _folder_quota(folder: Path) -> float:
    """Return the quota of one folder in CPUs, or infinity if it sets none or cannot be read."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        cpus = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is the ValueError
        return math.inf
    return cpus if cpus > 0 else math.inf


def cpu_quota() -> int | None:
    """Return the container's CPU quota, rounded up, or None if there is none."""
    try:
        quota = min(map(_folder_quota, _cgroup_folders()))
    except (OSError, ValueError):
        return None
    return None if math.isinf(quota) else max(1, math.ceil(quota))


def resolve(n_threads: int | None = None) -> int:
    """Return the number of threads a call may use.

    Parameters
    ----------
    n_threads : int or None
        None: the smallest of OMP_NUM_THREADS or an active threadpoolctl limit, the CPU affinity
        and the cgroup quota. An int is limited to the CPUs of the affinity.

    Raises
    ------
    ValueError
        `n_threads` is neither None nor an int >= 1.
    """
    cpus = available_cpus()
    if n_threads is not None:
        return min(as_integer(n_threads, "n_threads", 1), cpus)
    # read in this thread: an OpenMP limit belongs to the thread that set it
    return max(1, min(_core.omp_max_threads(), cpus, cpu_quota() or cpus))


def for_passes(
    n_threads: int | None,
    covariance_type: str,
    n_samples: int,
    n_components: int,
    n_features: int,
    n_passes: int = 1,
) -> int:
    """Return the number of threads for passes over data of this shape: by default, no more than are
    worth using.

    If a single thread is as fast, the system is not queried, which would take longer than the pass.
    """
    if n_threads is not None:
        return resolve(n_threads)
    return of_worth(
        _core.worth_threads(
            covariance_type=covariance_type,
            n_samples=n_samples,
            n_components=n_components,
            n_features=n_features,
            n_passes=n_passes,
        )
    )


def of_worth(worth: int) -> int:
    """Return the number of threads for work for which so many pay."""
    return 1 if worth <= 1 else min(worth, resolve())
