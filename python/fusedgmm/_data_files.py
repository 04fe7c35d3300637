"""The data files of the command line: rows are read, labels and other results are written."""

from __future__ import annotations

import csv
import io
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

import numpy as np

from ._files import DAMAGE, kind_of, resolve_output
from ._tables import Format, TableError, TextTable, read_table
from ._typing import Labels, Reals
from ._validation import listed

MODELS = ("GaussianMixture", "BayesianGaussianMixture")
TEXT, ARRAYS = (".csv", ".tsv", ".txt"), (".npy", ".npz")


class UsageError(Exception):
    """An error that the user can fix: one line on stderr, exit status 2."""


def note(text: str, kind: str = "note") -> None:
    """Print a line on stderr, if it is open."""
    if sys.stderr is not None:  # print would write to stdout
        with suppress(OSError):
            print(f"{kind}: {text}", file=sys.stderr)


# ---- reading ----


def check_file(path: str | Path) -> Path:
    """Return the path of an existing file."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: " + ("is not a file" if path.exists() else "no such file"))
    return path


class Table(NamedTuple):
    """Rows of a file, and the names of their columns."""

    X: Reals
    names: list[str]
    named: bool  # the names are from the file, not numbers assigned here
    ids: list[str] | None = None  # the cells of an index that was left out


def _select(names: list[str], wanted: str | None) -> list[int]:
    """Return the positions of the wanted columns, given as names or as numbers counted from 0."""
    if wanted is None:
        return list(range(len(names)))
    chosen = []
    for item in (part.strip() for part in wanted.split(",")):
        if names.count(item) > 1:
            places = ", ".join(str(i) for i, name in enumerate(names) if name == item)
            raise UsageError(f"--columns: {item!r} names several columns; use a number: {places}")
        if item in names:
            chosen.append(names.index(item))
        elif item.isdecimal() and int(item) < len(names):
            chosen.append(int(item))
        else:
            raise UsageError(
                f"--columns: no column {item!r}; the columns are {listed(names)} "
                f"(or numbers 0 to {len(names) - 1})"
            )
    return chosen


def _find(names: list[str], fitted: Sequence[str]) -> list[int]:
    """Return the positions of the columns to which a model was fitted."""
    for name in fitted:
        if names.count(name) != 1:
            found = f"{names.count(name)} columns" if name in names else "no column"
            raise UsageError(
                f"{found} {name!r}, to which the model was fitted; the columns are {listed(names)}"
            )
    return [names.index(name) for name in fitted]


def _text_error(table: TextTable, row: int, column: int, wanted: str | None) -> UsageError:
    """Return the error for a cell that is not a number."""
    number, names, first = table.number, table.names, table.rows[0]
    cell, line = table.rows[row][column].strip(), table.lines[row]
    if row == 0 and not any(number(c) is not None for c in first):
        return UsageError(
            f"line {line} contains no numbers; if it contains names or units, remove it, or begin "
            "it with #"
        )
    hint = ""
    numeric = [c for c in range(table.index, len(names)) if number(first[c]) is not None]
    columns = [names[c] if table.named else str(c) for c in numeric if c != column]
    if number(cell.replace(",", ".") if "," in cell else cell.replace(".", ",")) is not None:
        hint = "; is it a decimal comma? See --decimal"
    elif columns:
        hint = f"; choose numeric columns, e.g. --columns {','.join(columns)}"
        if column == 0 and wanted is None:
            hint += ", or leave the first out: --index"
    return UsageError(f"column {names[column]!r} holds text ({cell!r} in line {line}){hint}")


def _values(table: TextTable, columns: list[int], wanted: str | None) -> Reals:
    X = np.empty((len(table.rows), len(columns)))
    for j, column in enumerate(columns):
        values = table.column(column)
        if None in values:
            raise _text_error(table, values.index(None), column, wanted)
        X[:, j] = values
    return X


def _read_text(path: Path, wanted: str | None, fitted: Sequence[str] | None, how: Format) -> Table:
    try:
        table = read_table(path, how)
        names, notes = table.names, list(table.notes)
        if wanted is not None:
            chosen = _select(names, wanted)
        elif table.named and fitted is not None:
            chosen = _find(names, fitted)
        else:
            chosen = list(range(table.index, len(names)))
            notes += table.index_notes
        X = _values(table, chosen, wanted)
    except (TableError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from None
    if notes:
        note(f"{path}: {'; '.join(notes)}")
    ids = None
    if table.index and 0 not in chosen:
        ids = [row[0].strip() for row in table.rows]
    return Table(X, [names[c] for c in chosen], table.named, ids)


def _read_array(path: Path, wanted: str | None) -> Table:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded as archive:
            keys = archive.files
            if "header" in keys:
                _refuse_our_own(path)
            if "X" not in keys and len(keys) != 1:
                raise UsageError(
                    f"{path}: contains arrays {', '.join(keys) or '(none)'}; "
                    "name the one to fit 'X', or store only one"
                )
            X = archive["X" if "X" in keys else keys[0]]
            if not isinstance(X, np.ndarray):  # NumPy returns bytes if it is not an array
                raise UsageError(f"{path}: {keys[0]} in it is not an array")
    else:
        X = loaded
    if X.dtype.kind not in "fiub":
        raise UsageError(f"{path}: the array has dtype {X.dtype}; it must hold real numbers")
    if X.ndim == 1:
        X = X[:, None]
    if X.ndim != 2:
        raise UsageError(
            f"{path}: the array has {X.ndim} dimensions; it must have 2 (rows, columns)"
        )
    names = [f"column {i}" for i in range(X.shape[1])]
    chosen = _select(names, wanted)
    return Table(X if wanted is None else X[:, chosen], [names[c] for c in chosen], False)


def _refuse_our_own(path: Path) -> None:
    """Raise UsageError for a file that `save` wrote."""
    with suppress(ValueError):
        kind = kind_of(path).removeprefix("fusedgmm.")
        hint = ""
        if kind in MODELS:
            hint = f"; to apply it: python -m fusedgmm predict {path} DATA"
        raise UsageError(f"{path}: is a saved {kind}, not data{hint}")


def read_data(
    path: str | Path,
    columns: str | None = None,
    fitted: Sequence[str] | None = None,
    how: Format | None = None,
) -> Table:
    """Read a text, .npy or .npz file; raises UsageError with a description of the fault.

    columns: the columns that the user asks for. fitted: if `columns` is None and the columns have
    names, those to which a model was fitted. how: known properties of the text.
    """
    path = check_file(path)
    if path.stat().st_size == 0:
        raise UsageError(f"{path}: the file is empty")
    how = how or Format()
    kind = path.suffix.lower()
    if kind not in (*TEXT, *ARRAYS):
        known = ", ".join((*TEXT, *ARRAYS))
        raise UsageError(f"{path}: unknown kind of file {path.suffix!r}; known: {known}")
    if kind in ARRAYS and how != Format():
        given = [f"--{name}" for name, value in vars(how).items() if value is not None]
        raise UsageError(f"{given[0]}: {path} is not a text file")
    try:
        table = (
            _read_text(path, columns, fitted, how) if kind in TEXT else _read_array(path, columns)
        )
    except (OSError, MemoryError, csv.Error, zlib.error, *DAMAGE) as error:
        raise UsageError(f"{path}: cannot read it: {error or 'not enough memory'}") from error
    X, names = table.X, table.names
    if X.size == 0:
        raise UsageError(f"{path}: no data (shape {X.shape})")
    bad = ~np.isfinite(X)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        column = names[int(np.flatnonzero(bad[rows[0]])[0])]
        raise UsageError(
            f"{path}: {len(rows)} of {len(X)} rows have missing or infinite values, the first is "
            f"data row {rows[0] + 1}, column {column!r}; remove or fill them first"
        )
    return table


# ---- writing ----


def check_output(path: str, suffixes: tuple[str, ...]) -> str:
    """Return the file to be written, after following all links."""
    if not path.lower().endswith(suffixes):
        raise UsageError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if os.path.isdir(path):
        raise UsageError(f"{path}: is a folder")
    target = os.path.realpath(resolve_output(path))
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: the folder {folder} is not writable")
    return target


@contextmanager
def _as_text(file: BinaryIO) -> Iterator[TextIO]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    yield text
    text.detach()  # flushes it, and leaves the file open


def write_labels(
    file: BinaryIO, labels: Labels, probability: Reals, ids: Sequence[str] | None
) -> None:
    """Write the label of each row and its probability, after the row's id if there are ids."""
    with _as_text(file) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", "probability"] if ids is None else ["id", "label", "probability"])
        for i, (k, p) in enumerate(zip(labels, probability, strict=True)):
            row = [int(k), f"{p:.6g}"]
            writer.writerow(row if ids is None else [ids[i], *row])


def write_csv(file: TextIO, header: list[str], values: Labels | Reals) -> None:
    """Write values, one line per row; reading them back gives the same bits."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    table = values if values.ndim == 2 else values[:, None]
    writer.writerows([str(value) for value in row] for row in table)


def write_answer(file: BinaryIO, kind: str, header: list[str], values: Labels | Reals) -> None:
    if kind == ".npy":
        np.save(file, values)
        return
    with _as_text(file) as text:
        write_csv(text, header, values)
