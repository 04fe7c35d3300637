"""The version of this build, and its configuration on this machine."""

from __future__ import annotations

from . import _core, _threads

__version__ = _core.__version__  # importlib.metadata takes 15 ms to import


def show_config() -> None:
    """Print the version, instruction set, OpenMP, compiler and threads, one per line.

    Examples
    --------
    >>> from fusedgmm import show_config
    >>> show_config()  # doctest: +ELLIPSIS
    fusedgmm         ...
    instruction set  ...
    """
    core = _core.config()
    openmp = core["openmp"]
    rows = {
        "fusedgmm": __version__,
        "instruction set": core["instruction_set"],
        "usable here": ", ".join(core["usable_instruction_sets"]),
        "OpenMP": f"version {openmp}" if openmp else "none: OMP_NUM_THREADS is not read",
        "built by": core["build"],
        "threads": _threads.resolve(),
        "CPUs": _threads.available_cpus(),
        "CPU quota": _threads.cpu_quota() or "none",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
