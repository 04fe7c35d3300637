"""Tables of text, for what is printed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: columns as wide as their cells, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells in (head, *rows):
        line = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(line).rstrip()


def with_error(value: float, error: float) -> str:
    """Return "value ± error" with two digits of the error."""
    if not 1e-5 < error < 1e7:
        return f"{value:.4g} ± {error:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"
