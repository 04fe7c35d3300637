"""How many threads a call may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from . import _core
from ._validation import as_integer

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Return the number of CPUs this process may run on, at least 1."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):  # not Linux
        return os.cpu_count() or 1


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
    """Return one folder's quota in CPUs, or infinity when it sets none or cannot be read."""
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
    """Return the container's CPU quota rounded up, or None when there is none."""
    try:
        quota = min(map(_folder_quota, _cgroup_folders()))
    except (OSError, ValueError):
        return None
    return None if math.isinf(quota) else max(1, math.ceil(quota))


def resolve(n_threads: int | None = None, n_tasks: int | None = None) -> int:
    """Return the number of threads to use.

    Parameters
    ----------
    n_threads : int or None
        None: the fewest of OMP_NUM_THREADS or an active threadpoolctl limit, the CPU affinity
        and the cgroup quota. An int is clamped to the CPUs of the affinity.
    n_tasks : int or None
        How many tasks the work is cut into. For a single one nothing needs to be asked of the
        system, which would take longer than the work itself.

    Raises
    ------
    ValueError
        `n_threads` is neither None nor an int >= 1.
    """
    if n_threads is not None:
        n_threads = as_integer(n_threads, "n_threads", 1)
    if n_tasks is not None and n_tasks <= 1:
        return 1
    cpus = available_cpus()
    if n_threads is not None:
        return min(n_threads, cpus)
    # asked in this thread: an OpenMP limit belongs to the thread that set it
    return max(1, min(_core.omp_max_threads(), cpus, cpu_quota() or cpus))


def for_pass(
    n_threads: int | None, covariance_type: str, n_samples: int, n_components: int, n_features: int
) -> int:
    """Return the number of threads for passes over data of this shape."""
    n_tasks = _core.n_tasks(
        covariance_type=covariance_type,
        n_samples=n_samples,
        n_components=n_components,
        n_features=n_features,
    )
    return resolve(n_threads, n_tasks)
