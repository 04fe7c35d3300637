"""The command ``python -m fusedgmm.patch script.py args...``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from . import patch_sklearn


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit("usage: python -m fusedgmm.patch script.py args...")
    for name in patch_sklearn():
        print(f"fusedgmm in place of {name}", file=sys.stderr)
    sys.argv = sys.argv[1:]
    if not sys.flags.safe_path:  # the script can import the modules next to it
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
