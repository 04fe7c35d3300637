"""Measure what this machine can do: compile machine.c and run it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fusedgmm import _core

HERE = Path(__file__).parent
FLAGS = {
    "scalar": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma",
               "-mprefer-vector-width=512"],
    "neon": [],
}  # fmt: skip


def measure(threads: int, real: str = "f64", isa: str | None = None) -> dict[str, float]:
    """Return fused multiply-adds, bytes read and exponentials per second, for all threads
    together."""
    isa = isa or _core.config()["instruction_set"]
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "machine")
        subprocess.run(
            [compiler, "-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fopenmp",
             *FLAGS[isa], f"-I{HERE.parent / 'src'}", f'-DFG_ISA_HEADER="simd/{isa}.h"',
             f"-DFG_REAL_{real}", str(HERE / "machine.c"), "-o", program, "-lm"],
            check=True,
        )  # fmt: skip
        run = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def best(*runs: dict[str, float]) -> dict[str, float]:
    """Return the highest rate of each kind: disturbances only lower a measurement."""
    return {name: max(run[name] for run in runs) for name in runs[0]}


def describe() -> dict[str, object]:
    """Describe the measurement: processor, compiler, instruction set, versions."""
    import numpy
    import sklearn

    import fusedgmm

    try:
        intel = version("scikit-learn-intelex")  # brings daal4py
    except PackageNotFoundError:
        intel = None
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = dict.fromkeys(("model name", "cpu family", "model"), "?")
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in found and found[name.strip()] == "?":
                found[name.strip()] = value.strip()
        model = f"{found['model name']} (family {found['cpu family']}, model {found['model']})"
    return {
        "processor": model,
        "cpus": os.cpu_count(),
        "core": _core.config(),
        "python": platform.python_version(),
        "fusedgmm": fusedgmm.__version__,
        "numpy": numpy.__version__,
        "scikit-learn": sklearn.__version__,
        "scikit-learn-intelex": intel,
    }
