"""What this build is and how it would run here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import _core, threads

try:
    __version__ = version("fusedgmm")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def show_config() -> None:
    """Print the version, instruction set, OpenMP, compiler and threads, a line each."""
    core = _core.config()
    openmp = core["openmp"]
    rows = {
        "fusedgmm": __version__,
        "instruction set": core["instruction_set"],
        "usable here": ", ".join(core["usable_instruction_sets"]),
        "OpenMP": f"version {openmp}" if openmp else "none in this build: one thread only",
        "built by": core["build"],
        "threads": threads.resolve(),
        "CPUs": threads.available_cpus(),
        "CPU quota": threads.cpu_quota() or "none",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
