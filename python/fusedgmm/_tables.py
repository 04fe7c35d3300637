"""Tables in text files: cells, names and numbers, as pandas, R, NumPy and spreadsheets write them.

The format is detected. If that is a guess, a note says what was assumed and which option overrides
it:

=============================================  =================================================
in the file                                    is read as
=============================================  =================================================
cells separated by tabs, ``;``, ``|``, ``,``   the separator that gives most numbers, in lines of
or spaces; a first line such as ``sep=;``      equal length
``1,5;2,5`` or ``"1,5","2,5"``                 decimal commas
one name above ``165,75``                      one column with decimal commas
``165,75`` in all lines, without a name        two columns; noted
``1,234.5``, ``1.234,5``, ``1 234,5``          1234.5
``"1,234"``, ``1,234;5``                       1234, and 1.234 beside semicolons; noted
text above numbers, or quoted above unquoted   names
numbers that cannot be data: 0, 1, 2, ...;     names; noted
years or other integers above decimals
names in a comment above the first line        names
a first column without a name, or named        the index: left out; noted
``Unnamed: 0``
one name fewer than cells (R's write.table)    as if the first column had no name
no names, a first column 0, 1, ... or 1, 2,    the index, of 10 rows and more: left out; noted
...
a named first column 0, 1, ... or 1, 2, ...    a feature; noted
an empty cell, NA, NaN, null, ?, #N/A, ...     missing
lines that begin with #, empty lines, empty    nothing
cells at the ends of all lines
bytes that are not UTF-8                       Latin-1; noted
=============================================  =================================================
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

# in lower case; what pandas reads as missing, and what statistics programs and spreadsheets write
# fmt: off
MISSING = {
    "", "na", "nan", "-nan", "n/a", "<na>", "null", "none", "nil", ".", "?", "-", "--",
    "#n/a", "#n/a n/a", "#na", "#null!", "#div/0!", "#value!", "#ref!", "#num!", "#name?",
    "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
}
# fmt: on
DELIMITERS = "\t;|, "  # in order of preference
_SPACES = " \u00a0\u202f\u2009"  # within numbers; including non-breaking and thin spaces
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_EXCEL_ERROR = re.compile(r"#(?:n/a|na\b|null!|div/0!|value!|ref!|num!|name\?)", re.IGNORECASE)
_SAMPLE = 200  # number of lines used to detect the separator
_NONE = "\x1f"  # a separator that occurs in no file
_SAID = re.compile(rb'"?sep=([^"\r\n])"?[ \t]*(?:\r\n|\r|\n)')  # as Excel reads it


class TableError(Exception):
    """The fault of a table, in words; without the name of the file."""


@dataclass(frozen=True)
class Format:
    """The format of a table; None: to be detected."""

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    comment: str | None = None  # "": no comments
    header: bool | None = None
    index: bool | None = None


@dataclass
class TextTable:
    """The cells of a file, and how to read them."""

    names: list[str]
    named: bool  # the names are from the file
    index: int  # number of index columns on the left
    rows: list[list[str]]
    lines: list[int]  # the line of each row in the file, from 1
    number: Callable[[str], float | None]  # NaN: missing; None: text
    plain: bool  # whatever float() can read, it reads as `number` does
    notes: list[str]  # assumptions
    index_notes: list[str]  # assumptions about the index

    def column(self, c: int) -> list[float | None]:
        """Return the values of a column, as read by `number`."""
        cells = [row[c] for row in self.rows]
        if self.plain:
            with suppress(ValueError):
                return [float(cell) for cell in cells]
        return list(map(self.number, cells))


# ---------------------------------------------------------------- numbers


def _grouped(separators: str, decimal: str) -> re.Pattern[str]:
    """Return a pattern of numbers with digits in groups of three."""
    return re.compile(
        rf"[+-]?[1-9]\d{{0,2}}(?:([{re.escape(separators)}])\d{{3}})(?:\1\d{{3}})*"
        rf"(?:{re.escape(decimal)}\d*)?(?:[eE][+-]?\d+)?"
    )


_GROUPED = {".": _grouped(",'’" + _SPACES, "."), ",": _grouped(".'’" + _SPACES, ",")}
_SEPARATORS = re.compile(f"[,.'’{_SPACES}]")

# the meaning of a cell with a comma
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3}){2,}(?:\.\d*)?|(?:,\d{3})+\.\d*)")
_DECIMAL = re.compile(
    rf"[+-]?(?:\d+|[1-9]\d{{0,2}}(?:[.'’{_SPACES}]\d{{3}})+)?,\d+(?:[eE][+-]?\d+)?"
)


def _number(cell: str, decimal: str) -> float | None:
    """Return the value of a cell: NaN if it is missing, None if it is text."""
    cell = cell.strip().replace("\u2212", "-")  # a typographic minus sign
    if cell.lower() in MISSING:
        return float("nan")
    if _GROUPED[decimal].fullmatch(cell):
        whole, point, rest = cell.partition(decimal)
        return float(_SEPARATORS.sub("", whole) + point.replace(",", ".") + rest)
    if "_" in cell:  # 1_000 is a number in Python, but a name elsewhere
        return None
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None


_POINT, _COMMA = (partial(_number, decimal=decimal) for decimal in ".,")


def _may_be_number(cell: str) -> bool:
    value = _POINT(cell)
    return value == value is not None or _DECIMAL.fullmatch(cell.strip()) is not None


def _missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _decimal(rows: Sequence[list[str]], lines: list[int], delimiter: str, notes: list[str]) -> str:
    """Choose between decimal point and decimal comma."""
    either: tuple[str, int] | None = None
    commas = thousands = points = 0
    for row, line in zip(rows, lines, strict=True):
        for cell in row:
            if "," in cell:
                cell = cell.strip()
                if _EITHER.fullmatch(cell):
                    either = either or (cell, line)
                elif _THOUSANDS.fullmatch(cell):
                    thousands += 1
                elif _DECIMAL.fullmatch(cell):
                    commas += 1
    if not (either or commas or thousands):
        return "."
    if commas or not thousands:
        cells = (cell for row in rows for cell in row if "." in cell)
        points = sum(_COMMA(cell) is None is not _POINT(cell) for cell in cells)
    if commas or thousands or points:
        decimal = "," if commas > thousands + points else "."
        certain = True
    else:
        decimal, certain = ("," if delimiter == ";" else "."), False
    if either and not certain:
        cell, line = either
        other = "." if decimal == "," else ","
        notes.append(
            f"{cell!r} in line {line} was read as {_number(cell, decimal):.12g} "
            f"(--decimal {other} reads {_number(cell, other):.12g})"
        )
    return decimal


# ---------------------------------------------------------------- lines


def _as_utf8(content: bytes, encoding: str | None, notes: list[str]) -> bytes:
    for mark, marked in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if encoding is None and content.startswith(mark):
            encoding = marked
    try:
        text = content.decode(encoding or "utf-8-sig")
    except LookupError:
        raise TableError(f"--encoding: unknown encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise TableError(f"it is not encoded in {encoding}: {error.reason}") from None
        text = content.decode("latin-1")
        notes.append("it is not UTF-8 and was read as Latin-1 (--encoding overrides this)")
    if "\0" in text:
        raise TableError("it contains zero bytes: if it is text, give its --encoding")
    return text.removeprefix("\ufeff").encode()


class _Lines:
    """The lines of a text for csv.reader, without comments and empty lines between records."""

    def __init__(self, content: bytes, comment: str, skip: bool = False) -> None:
        self._lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
        self._comment = comment
        self._line = 0  # number of the last line, from 1
        self.within = False  # inside a record; the reader sets it to False at the end
        self.begin = 0  # line at which that record begins
        self.empty: list[int] = []
        self.comments: list[tuple[int, str]] = []
        if skip:  # the first line describes the format of the others
            next(self._lines)
            self._line = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            self._line += 1
            if not self.within:
                if not line.strip(" \r\n"):
                    self.empty.append(self._line)
                    continue
                mark = self._comment
                if mark and mark in line and self._is_comment(line.lstrip()):
                    self.comments.append((self._line, line.strip()))
                    continue
                self.within, self.begin = True, self._line
            return line
        raise StopIteration

    def _is_comment(self, line: str) -> bool:
        return line.startswith(self._comment) and not _EXCEL_ERROR.match(line)


def _split(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each record; a space as the delimiter means any number of spaces."""
    if delimiter == " ":
        stripped = (line.strip() for line in lines)
        return csv.reader(stripped, delimiter=" ", skipinitialspace=True)
    return csv.reader(lines, delimiter=delimiter)


# ---------------------------------------------------------------- columns


def _counts(rows: Sequence[list[str]]) -> bool:
    """Return whether the first column is 0, 1, 2, ... or 1, 2, 3, ..."""
    if not rows or not rows[0]:
        return False
    start = 1 if rows[0][0].strip() == "1" else 0
    return all(row and row[0].strip() == str(i) for i, row in enumerate(rows, start))


def _widths_agree(rows: Sequence[list[str]]) -> bool:
    """Return whether all lines have the same number of cells, except for a header line as R and
    others write it."""
    rest = {len(row) for row in rows[1:]} or {len(rows[0])}
    if len(rest) > 1:
        return False
    missing = rest.pop() - len(rows[0])
    if missing == 1:  # the column of row names has no name
        labels = [row[0] for row in rows[1:]]
        numbers = any(_may_be_number(label) for label in labels)
        return not numbers or _counts(rows[1:]) or not any(row[-1].strip() for row in rows[1:])
    return missing == 0


def _detect_delimiter(sample: list[str], decimal: str | None) -> str:
    """Choose the separator that gives most numbers, in lines of equal length."""
    best, chosen = (False, False, 0.0), _NONE
    for delimiter in DELIMITERS:
        if not any(delimiter in line.strip() for line in sample):
            continue
        rows = [row for row in _split(sample, delimiter) if row]
        if delimiter == decimal and not any(decimal in cell for row in rows for cell in row):
            continue  # it occurs only within numbers
        cells = [cell for row in rows[1:] or rows for cell in row]
        share = sum(map(_may_be_number, cells)) / max(1, len(cells))
        if delimiter == " " and best[2] > 0 and share < 1:
            continue
        several = max(map(len, rows)) > 1
        quality = (share > 0 and several, several and _widths_agree(rows), share)
        if quality > best:
            best, chosen = quality, delimiter
    return chosen


def _one_column(rows: Sequence[list[str]]) -> bool:
    """Return whether a table with commas is one column with decimal commas, below a cell without
    one."""
    return (
        len(rows) > 1
        and len(rows[0]) == 1
        and {2} <= {len(row) for row in rows[1:]} <= {1, 2}
        and all(_COMMA(",".join(row)) is not None for row in rows[1:])
        and not _counts(rows[1:])
    )


def _two_or_one(rows: Sequence[list[str]]) -> bool:
    """Return whether two columns of integers might be one with decimal commas."""
    return all(
        len(row) == 2 and _INTEGER.fullmatch(row[0].strip()) is not None and row[1].isdecimal()
        for row in rows
    )


def _equal_steps(values: Sequence[float | None]) -> bool:
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or len(numbers) < 2:
        return False
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    ideal = (numbers[0] + i * step for i in range(len(numbers)))
    return step != 0 and all(
        abs(a - b) <= 1e-6 * abs(step) for a, b in zip(numbers, ideal, strict=True)
    )


def _numbers_are_names(
    first: list[str], columns: list[list[str]], number: Callable[[str], float | None]
) -> bool:
    """Return whether the numbers in the first line are names, as pandas writes them.

    Examples are years, wavelengths, and the numbers from 0 of unnamed columns.
    """
    first = [cell.strip() for cell in first]
    n, d = len(columns[0]), len(first)
    values = [number(cell) for cell in first]
    if d >= 5 and _equal_steps(values):
        return not all(_equal_steps([number(c[i]) for c in columns]) for i in range(min(n, 3)))
    if not all(map(_INTEGER.fullmatch, first)):
        return False
    if n > 1 and _equal_steps([values[0], *map(number, columns[0])]):
        return False  # the first line continues with the next ones
    counted = first == [str(i) for i in range(d)]
    numbers = [float(cell) for cell in first]
    ordered = len(set(numbers)) == d and numbers in (sorted(numbers), sorted(numbers)[::-1])
    years = ordered and all(1800 <= value < 2200 for value in numbers)
    # columns in which no other number is written as an integer
    present = [[c.strip() for c in column if not _missing(c)] for column in columns]
    decimals = [bool(p) and not any(map(_INTEGER.fullmatch, p)) for p in present]
    if counted and any(decimals):
        return True
    if all(decimals) and (years or n >= 10):
        return True
    known = [[v for v in map(number, p) if v is not None] for p in present]
    if years and d > 1:
        return not any(1800 <= v < 2200 for column in known for v in column)
    if not counted:
        return False
    outside = all(k and not min(k) <= v <= max(k) for k, v in zip(known, numbers, strict=True))
    again = sum([cell.strip() for cell in row] == first for row in zip(*columns, strict=True))
    return d > 2 or (outside and n > 2) or (d == 2 and (again + 1) / (n + 2) < 0.05)


def _quoted(record: str, delimiter: str) -> list[bool]:
    """Return whether each cell of a line is quoted."""
    cells = next(csv.reader([record], delimiter=delimiter, quoting=csv.QUOTE_NONE), [])
    return [cell.strip().startswith('"') for cell in cells]


def _has_header(
    rows: Sequence[list[str]],
    records: list[str],
    delimiter: str,
    number: Callable[[str], float | None],
    notes: list[str],
) -> bool:
    first, rest = rows[0], rows[1:]
    kinds = [number(cell) for cell in first]
    if all(kind is None or not cell.strip() for kind, cell in zip(kinds, first, strict=True)):
        return any(cell.strip() for cell in first)
    shift = len(rest[0]) - len(first) if rest else 0
    if not rest or shift not in (0, 1) or len({len(row) for row in rest}) > 1:
        return bool(rest) and any(kind is None for kind in kinds)
    below: list[float | None] = []  # the first number or text below each name
    for c in range(shift, shift + len(first)):
        cell = next((row[c] for row in rest if not _missing(row[c])), "")
        below.append(number(cell))
    if any(a is None is not b for a, b in zip(kinds, below, strict=True)):
        return True  # text above numbers
    blank = next(i for i, cell in enumerate(first) if cell.strip())
    if any(b is None for b in below[:blank]):
        return True  # empty cells above text
    if blank and _counts(rest):
        return True
    used = [
        i
        for i in range(blank, len(first))
        if kinds[i] is not None is not below[i] and not _missing(first[i])
    ]
    if not used:
        return False
    quoted = [_quoted(record, delimiter) for record in records[:2]]
    if list(map(len, quoted)) == [len(first), len(rest[0])] and all(
        quoted[0][i] and not quoted[1][i + shift] for i in used
    ):
        return True
    names = [first[i].strip() for i in used]
    columns = [[row[i + shift] for row in rest] for i in used]
    shown = ",".join(names[:5]) + (",..." if len(names) > 5 else "")
    labelled = shift == 1 and (_counts(rest) or not any(_may_be_number(row[0]) for row in rest))
    if labelled or _numbers_are_names(names, columns, number):
        notes.append(f"the first line, {shown}, was read as names (--no-header reads it as data)")
        return True
    if names == [str(i) for i in range(len(first))]:
        notes.append(f"the first line, {shown}, was read as data (--header reads it as names)")
    return False


_UNNAMED = re.compile(r"Unnamed: \d+(?:\.\d+|_level_\d+)?")  # an index, read and written by pandas
_INDEX_NAMES = frozenset(["X", "...1", "index", "level_0", "rowname", "rownames", "row.names"])


def _index(names: list[str] | None, width: int, rows: Sequence[list[str]], notes: list[str]) -> int:
    """Return the number of index columns on the left."""
    if width < 2:
        return 0
    if names is not None:
        unnamed = (not name or _UNNAMED.fullmatch(name) for name in names)
        count = next((i for i, blank in enumerate(unnamed) if not blank), 0)
        if count:
            what = "first column has no name" if count == 1 else f"first {count} have no names"
            notes.append(f"the {what}: left out, as an index (--no-index keeps it)")
            return count
    if len(rows) < 3 or not _counts(rows):
        return 0
    if len(rows) >= 10 if names is None else names[0] in _INDEX_NAMES:
        notes.append("the first column counts the rows: left out (--no-index keeps it)")
        return 1
    name = "" if names is None else f", {names[0]!r},"
    notes.append(f"the first column{name} counts the rows, and was kept (--index leaves it out)")
    return 0


# ---------------------------------------------------------------- the whole


def _names_in_comment(comment: str, mark: str, delimiter: str, width: int) -> list[str] | None:
    """Return the names in a comment, as np.savetxt writes them, if their number is `width`."""
    text = comment.removeprefix(mark).strip()
    cells = [cell.strip() for cell in next(_split([text], delimiter), [])]
    single = width == 1 and " " in text  # probably a sentence
    if len(cells) != width or single or any(not c or _may_be_number(c) for c in cells):
        return None
    return cells


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _check_widths(rows: Sequence[list[str]], lines: list[int], first: int, header: bool) -> None:
    """Raise TableError if a row has another number of cells than the first line."""
    for row, line in zip(rows, lines, strict=True):
        if len(row) != first:
            hint = ""
            if first == 1:
                hint = "; is the first a title? Remove it, or begin it with #"
            elif header and len(row) == 2 * first:
                hint = "; decimal commas between commas cannot be told apart: use another delimiter"
            elif len(row) == 1:
                hint = "; a comment begins with # (or see --comment), decimals with --decimal"
            raise TableError(
                f"line {line} has {_plural(len(row), 'cell')}, the first has {first}{hint}"
            )


def _sample(content: bytes, mark: str) -> list[str]:
    """Return the first lines."""
    lines, sample, quoted = _Lines(content, mark), [], False
    for line in islice(lines, _SAMPLE):
        sample.append(line)
        quoted ^= line.count('"') % 2 == 1
        lines.within = quoted
    return sample


def _records(lines: _Lines, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Return the cells of each record and the line where it begins, without empty records at the
    end and empty cells at the ends of all lines."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    for row in _split(lines, delimiter):
        rows.append(row)
        numbers.append(lines.begin)
        lines.within = False
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
        numbers.pop()
    return rows, numbers


def _without_last(rows: list[list[str]]) -> list[list[str]]:
    """Remove the empty cells at the ends of all lines, if they have no name."""
    width = len(rows[-1])
    while (
        width > 1
        and len(rows[0]) in (width, width - 1)
        and all(len(row) == width and not row[-1].strip() for row in rows[1:])
        and (len(rows[0]) < width or not rows[0][-1].strip())
    ):
        width -= 1
        rows = [row[:width] for row in rows]
    return rows


def read_table(path: Path, how: Format) -> TextTable:
    """Read the cells of a text file.

    Raises
    ------
    TableError
        The file does not contain a table.
    """
    notes: list[str] = []
    content = _as_utf8(path.read_bytes(), how.encoding, notes)
    mark = "#" if how.comment is None else how.comment
    delimiter, said = how.delimiter, _SAID.match(content)
    if said:
        delimiter = delimiter or said[1].decode()
    detected, either = delimiter is None, False
    if delimiter is None:
        delimiter = _detect_delimiter(_sample(content, mark), how.decimal)
    lines = _Lines(content, mark, skip=bool(said))
    rows, numbers = _records(lines, delimiter)
    if not rows:
        raise TableError("all lines are comments" if lines.comments else "the file is empty")
    decimal = how.decimal
    if detected and delimiter == "," and decimal is None:
        either = b'"' not in content and _two_or_one(rows)
        zeros = either and any(len(row[1]) > 1 and row[1].startswith("0") for row in rows)
        if zeros or (how.header is not False and _one_column(rows)):
            notes.append("one column with decimal commas (--delimiter , reads two columns)")
            delimiter, decimal, either = _NONE, ",", False
            lines = _Lines(content, mark, skip=bool(said))
            rows, numbers = _records(lines, delimiter)
    rows = _without_last(rows)
    if decimal is None and b"," in content and (delimiter != "," or b'"' in content):
        decimal = _decimal(rows, numbers, delimiter, notes)
    number = partial(_number, decimal=decimal or ".")
    plain = decimal != "," and b"_" not in content
    header = how.header
    if header is None:
        header = _has_header(
            rows, _sample(content, mark)[said is not None :], delimiter, number, notes
        )
    names = None
    if header:
        names = [cell.strip() for cell in rows[0]]
        rows, numbers = rows[1:], numbers[1:]
        if not rows:
            raise TableError("there is a header but no data")
        title = len(names) == 1 and not any(number(cell) is not None for cell in rows[0])
        if not title and all(len(row) == len(names) + 1 for row in rows):
            names = ["", *names]
    else:
        if either:
            notes.append("two columns (--decimal , reads one column with decimal commas)")
        above = [comment for line, comment in lines.comments if line < numbers[0]]
        if above:
            names = _names_in_comment(above[-1], mark, delimiter, len(rows[0]))
    width = len(rows[0]) if names is None else len(names)
    _check_widths(rows, numbers, width, header)
    if width == 1 and (count := sum(numbers[0] < line < numbers[-1] for line in lines.empty)):
        notes.append(f"{_plural(count, 'empty line')} left out")
    index = 0
    index_notes: list[str] = []
    if how.index:
        unnamed = next((i for i, name in enumerate(names or []) if name), 0)
        index = max(1, unnamed)
        if index >= width:
            raise TableError("--index: there is no other column")
    elif how.index is None:
        index = _index(names, width, rows, index_notes)
    shown = [name or f"column {i}" for i, name in enumerate(names or [""] * width)]
    return TextTable(
        shown, names is not None, index, rows, numbers, number, plain, notes, index_notes
    )
