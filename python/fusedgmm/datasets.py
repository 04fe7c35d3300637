"""Three small real data sets that come with the package; ``data/README.md`` names the sources."""

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
    """Load the heights of 200 people.

    Returns
    -------
    heights : array of shape (200, 1), float64
        In cm.
    sex : array of shape (200,)
        "F" or "M".

    Notes
    -----
    Davis (1990). In the original, weight and height are swapped in row 12; here this is corrected.
    """
    table = _columns("davis.csv")
    return np.array(table["height"], dtype=np.float64)[:, None], np.array(table["sex"])


def load_faithful() -> Floats:
    """Load eruption times and waiting times of the Old Faithful geyser.

    Returns
    -------
    times : array of shape (272, 2), float64
        Eruption time and waiting time, in minutes.

    Notes
    -----
    Azzalini & Bowman (1990).
    """
    table = _columns("faithful.csv")
    return np.column_stack([np.array(table[c], dtype=np.float64) for c in ("eruptions", "waiting")])


def load_iris() -> tuple[Floats, NDArray[np.str_]]:
    """Load the measurements of 150 iris flowers.

    Returns
    -------
    measurements : array of shape (150, 4), float64
        Sepal length, sepal width, petal length and petal width, in cm.
    species : array of shape (150,)
        "setosa", "versicolor" or "virginica".

    Notes
    -----
    Anderson (1935), Fisher (1936); measured to 0.1 cm.
    """
    table = _columns("iris.csv")
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    measured = [np.array(table[name], dtype=np.float64) for name in names]
    return np.column_stack(measured), np.array(table["species"])
