"""Files: written atomically, and read without running code."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

T = TypeVar("T")

_MOST_LINKS = 40  # maximum length of a chain of links, as in Linux
# Maximum bytes of an array's header: Python's parser may run out of memory on longer ones.
_MOST_HEADER = 1024

# Exceptions raised by reading a damaged archive or array.
DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,  # encrypted; NotImplementedError: unknown compression
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def resolve_output(path: str | Path) -> str:
    """Return the file that writing to `path` replaces: the target of the last of its links.

    Raises
    ------
    OSError
        The links form a cycle, or the target is a folder, a device or a pipe, which must not be
        replaced. The error has the requested file name.
    """
    asked = target = os.fspath(path)
    try:
        for _ in range(_MOST_LINKS):
            if not os.path.islink(target):
                break
            target = os.path.join(os.path.dirname(target), os.readlink(target))
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        with suppress(FileNotFoundError):
            mode = os.stat(target).st_mode
            if not stat.S_ISREG(mode):
                code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
                raise OSError(code, "cannot be replaced, it is not a regular file")
    except OSError as error:
        raise OSError(error.errno, error.strerror, asked) from None
    return target


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Call write(file) with a new, open file, then rename it to `path`: after an error, the old
    file is unchanged.

    A replaced file keeps its mode; if `path` is a link, its target is replaced.
    """
    target = resolve_output(path)
    # short and without an extension; NumPy and matplotlib get an open file, to which they cannot
    # add one
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}")
    try:
        mode: int | None = None
        with suppress(FileNotFoundError):
            mode = os.stat(target).st_mode
        # for a new file the system applies the umask, which cannot be read without setting it
        first = 0o666 if mode is None else 0o600
        # "+": to a write-only file NumPy writes with C functions, which do not report a full disk
        with open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, first)) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name without contents
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            # with the user's file name
            if error.errno is None:  # from NumPy, after writing part of an array
                raise OSError(f"{path}: {error}") from error
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def save_arrays(
    path: str | Path,
    kind: str,
    version: int,
    meta: Mapping[str, object],
    arrays: Mapping[str, Any],
) -> None:
    """Write arrays and metadata (as JSON) to a .npz file."""
    if not os.fspath(path).lower().endswith(".npz"):
        raise ValueError(f"{path}: the name must end in .npz")
    header = json.dumps({"kind": kind, "format": version, "meta": meta})
    write_whole(path, lambda file: _write_archive(file, {"header": header, **arrays}))


def _write_archive(file: BinaryIO, arrays: Mapping[str, Any]) -> None:
    """Write what np.savez writes. NumPy 1.26 leaves the archive open where a write fails."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.asanyarray(array), allow_pickle=False)


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array, after checking its size against the bytes in the file."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as file:
        read_header = {
            (1, 0): npy.read_array_header_1_0,
            (2, 0): npy.read_array_header_2_0,
        }[npy.read_magic(file)]
        try:
            shape, _, dtype = read_header(file, max_header_size=_MOST_HEADER)
        except MemoryError as error:  # from the parser: the header is short
            raise ValueError(f"{info.filename} has no valid header") from error
        if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise ValueError(f"{info.filename} has a size that does not match its shape")
        file.seek(0)
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False, max_header_size=_MOST_HEADER)
        file.read(1)  # at the end, zipfile verifies the checksum
    return array


def _read(path: str | Path, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the arrays of a saved file; ValueError for any other file."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading it might never end
        raise ValueError(f"{path}: not a whole file of {what}: it is a device or a pipe")
    with open(path, "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
                if sum(info.file_size for info in infos) > size:
                    raise ValueError("parts of it are missing")
                arrays = {
                    info.filename.removesuffix(".npy"): _read_array(archive, info) for info in infos
                }
            header = json.loads(str(arrays.pop("header")))
            header = {name: header[name] for name in ("kind", "format", "meta")}
            if not isinstance(header["meta"], dict):
                raise ValueError("its header is not from fusedgmm")
        except (OSError, *DAMAGE) as error:
            # in a damaged file, zipfile may seek to a negative position
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise ValueError(f"{path}: not a whole file of {what}: {error}") from error
    return header, arrays


def load_arrays(path: str | Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file written by `save_arrays`: (meta, arrays); ValueError for any other file."""
    header, arrays = _read(path, kind)
    if header["kind"] != kind:
        raise ValueError(f"{path}: holds {header['kind']}, not {kind}")
    if header["format"] != version:
        raise ValueError(f"{path}: has format {header['format']}; this version reads {version}")
    return header["meta"], arrays


def load_object(
    path: str | Path,
    kind: str,
    version: int,
    build: Callable[[dict[str, Any], dict[str, Any]], T],
) -> T:
    """Return build(meta, arrays); raise a ValueError that names the file if they do not form a
    valid object."""
    meta, arrays = load_arrays(path, kind, version)
    try:
        return build(meta, arrays)
    except DAMAGE as error:
        what = kind.removeprefix("fusedgmm.")
        raise ValueError(f"{path}: not a whole {what}: {error}") from error


def kind_of(path: str | Path) -> str:
    """Return the kind of a saved file, such as "fusedgmm.BatchResult"; ValueError for any other
    file."""
    return str(_read(path, "fusedgmm")[0]["kind"])
