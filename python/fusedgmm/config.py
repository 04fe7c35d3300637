"""What this build is and how it would run here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import _core, threads

try:
    __version__ = version("fusedgmm")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def show_config() -> None:
    """Print the version, instruction set, OpenMP runtime, build flags and threads."""
    rows: dict[str, object] = {
        "fusedgmm": __version__,
        **_core.config(),
        "threads": threads.resolve(),
    }
    rows |= {"cpus": threads.available_cpus(), "cpu_quota": threads.cpu_quota()}
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
