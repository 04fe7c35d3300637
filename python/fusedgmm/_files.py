"""Files: written whole or not at all, read without running anything."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def write_whole(path: str | Path, write: Callable[[str], object]) -> None:
    """Call write(temporary path) and rename the result to path: all of it, or nothing changed."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def save_arrays(
    path: str | Path,
    kind: str,
    version: int,
    meta: Mapping[str, object],
    arrays: Mapping[str, Any],
) -> None:
    """Write arrays and what else there is to know (as JSON) to one .npz file."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"{path}: the name must end in .npz")
    header = json.dumps({"kind": kind, "format": version, "meta": meta})
    write_whole(path, lambda temporary: np.savez(temporary, header=header, **arrays))


def load_arrays(path: str | Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_arrays` wrote: (meta, arrays); ValueError for any other file."""
    try:
        # opened here: of a broken archive NumPy leaves the file open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
        found = header["kind"], header["format"], header["meta"]
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a whole file of {kind}: {error}") from error
    if found[0] != kind:
        raise ValueError(f"{path}: holds {found[0]}, not {kind}")
    if found[1] != version:
        raise ValueError(f"{path}: has format {found[1]}; this version reads {version}")
    return found[2], arrays
