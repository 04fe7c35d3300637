"""Three small, real data sets that ship with the package; sources in ``data/README.md``."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from ._typing import Floats


def _columns(name: str) -> dict[str, list[str]]:
    text = files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    return {column: [row[i] for row in rows] for i, column in enumerate(header)}


def load_heights() -> tuple[Floats, NDArray[np.str_]]:
    """Heights in cm of 200 people, (200, 1) float64, and their sex, (200,) of "F" or "M".

    Davis (1990); row 12, whose weight and height are swapped in the original, is mended.
    """
    table = _columns("davis.csv")
    return np.array(table["height"], dtype=np.float64)[:, None], np.array(table["sex"])


def load_faithful() -> Floats:
    """Old Faithful: eruption time and waiting time in minutes, (272, 2) float64.

    Azzalini & Bowman (1990).
    """
    table = _columns("faithful.csv")
    return np.column_stack([np.array(table[c], dtype=np.float64) for c in ("eruptions", "waiting")])


def load_iris() -> tuple[Floats, NDArray[np.str_]]:
    """Sepal length and width, petal length and width of 150 iris flowers in cm, (150, 4) float64,
    and their species, (150,) of "setosa", "versicolor" or "virginica".

    Anderson (1935), Fisher (1936); measured to 0.1 cm.
    """
    table = _columns("iris.csv")
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    measured = [np.array(table[name], dtype=np.float64) for name in names]
    return np.column_stack(measured), np.array(table["species"])
