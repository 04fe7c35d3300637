"""Files: written whole or not at all, read without running anything."""

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

_MOST_LINKS = 40  # one after another, as in Linux
_MOST_HEADER = 1024  # bytes before an array; Python's parser may run out of memory over longer ones

# What reading an archive or an array raises where bytes are not what they should be.
DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,  # encrypted; NotImplementedError: another compression
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def resolve_output(path: str | Path) -> str:
    """Return the file that writing to `path` replaces: what the last of its links points to.

    Raises
    ------
    OSError
        Links that go round in circles; a folder, a device or a pipe, which to replace would be no
        one's wish; with the name that was asked for.
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
                raise OSError(code, "cannot be replaced, it is no regular file")
    except OSError as error:
        raise OSError(error.errno, error.strerror, asked) from None
    return target


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Call write(file) with a new, open file, then give it the name `path`: all of it, or nothing
    has changed.

    A file that is replaced keeps its mode; a link stays, and what it points to is replaced.
    """
    target = resolve_output(path)
    # short and without an ending: what has no name cannot be given another by NumPy or matplotlib
    temporary = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}")
    try:
        mode: int | None = None
        with suppress(FileNotFoundError):
            mode = os.stat(target).st_mode
        # for a new file the system applies the umask, which cannot be asked for without being set
        first = 0o666 if mode is None else 0o600
        # "+": into a file for writing alone NumPy writes by C, and says nothing of a full disk
        with open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, first)) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name without the bytes
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            # with the name that the user knows
            if error.errno is None:  # NumPy's, of an array that it wrote in part
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
    """Write arrays and what else there is to know (as JSON) to one .npz file."""
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
    """Read one array, after its size was found to be that of the bytes that are there."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as file:
        read_header = {
            (1, 0): npy.read_array_header_1_0,
            (2, 0): npy.read_array_header_2_0,
        }[npy.read_magic(file)]
        try:
            shape, _, dtype = read_header(file, max_header_size=_MOST_HEADER)
        except MemoryError as error:  # of the parser: so short a header takes none to speak of
            raise ValueError(f"{info.filename} has no header of an array") from error
        if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise ValueError(f"{info.filename} has another size than its shape says")
        file.seek(0)
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False, max_header_size=_MOST_HEADER)
        file.read(1)  # at the end zipfile compares the checksum
    return array


def _read(path: str | Path, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the arrays of a saved file; ValueError for any other."""
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
                raise ValueError("its header is not one of ours")
        except (OSError, *DAMAGE) as error:
            # damage may send zipfile to a place before the beginning
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise ValueError(f"{path}: not a whole file of {what}: {error}") from error
    return header, arrays


def load_arrays(path: str | Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_arrays` wrote: (meta, arrays); ValueError for any other file."""
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
    """Return build(meta, arrays); ValueError naming the file where these make no whole object."""
    meta, arrays = load_arrays(path, kind, version)
    try:
        return build(meta, arrays)
    except DAMAGE as error:
        what = kind.removeprefix("fusedgmm.")
        raise ValueError(f"{path}: not a whole {what}: {error}") from error


def kind_of(path: str | Path) -> str:
    """Return what a saved file holds, such as "fusedgmm.BatchResult"; ValueError for any other."""
    return str(_read(path, "fusedgmm")[0]["kind"])
