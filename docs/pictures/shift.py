"""Draws shift.svg: the correct digits of a variance computed in one pass, around zero and a shift.

    python docs/pictures/shift.py [--png FILE]

Rows of standard deviation 1 lie at a growing offset from zero. Their variance is computed in one
pass by two formulas, in float64 and in float32,

    around zero      sum x^2 / n - (sum x / n)^2
    around a shift   sum y^2 / n - (sum y / n)^2,  y = x - c

with c half a standard deviation from the mean, as the mean of the previous EM iteration might be.
Each is compared with the variance of the same stored rows in extended precision. Needs NumPy
and matplotlib, and a machine whose long double is longer than float64.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent
N_ROWS, N_SAMPLES, STEP = 4096, 24, 0.5
OFFSETS = {np.float64: 10.0 ** np.arange(0, 12.1, 0.5), np.float32: 10.0 ** np.arange(0, 6.1, 0.5)}
COLOURS = {np.float64: "#0b6e4f", np.float32: "#e08e45"}


def one_pass_variance(x: np.ndarray, shift: float) -> float:
    """The variance of x from the sums of y and y^2, y = x - shift, all in the dtype of x."""
    y = x - x.dtype.type(shift)
    mean = y.mean()
    return float((y * y).mean() - mean * mean)


def exact_variance(x: np.ndarray) -> float:
    x = x.astype(np.longdouble)
    return float(np.square(x - x.mean()).mean())


def digits(dtype: type, offset: float, shifted: bool) -> float:
    """Correct decimal digits of the variance, the median over samples; 0 where none is right."""
    errors = []
    for seed in range(N_SAMPLES):
        x = (offset + np.random.default_rng(seed).normal(size=N_ROWS)).astype(dtype)
        exact = exact_variance(x)
        found = one_pass_variance(x, offset + STEP if shifted else 0.0)
        errors.append(abs(found - exact) / exact)
    return float(np.clip(-np.log10(max(np.median(errors), np.finfo(dtype).eps)), 0, None))


LABELS = {  # where each line is named
    (np.float64, True): (1e9, 16.1),
    (np.float64, False): (4e5, 5.0),
    (np.float32, True): (2, 7.3),
    (np.float32, False): (1.1, 0.7),
}


def draw() -> plt.Figure:
    figure, axes = plt.subplots(figsize=(7.5, 4))
    for dtype, offsets in OFFSETS.items():
        name, colour = np.dtype(dtype).name, COLOURS[dtype]
        for shifted, line in (True, "-o"), (False, "--s"):
            kept = [digits(dtype, offset, shifted) for offset in offsets]
            text = f"{name}, around a shift" if shifted else f"{name}, around zero"
            axes.plot(offsets, kept, line, color=colour, markersize=4)
            axes.text(*LABELS[dtype, shifted], text, color=colour, fontsize=9)
            print(f"{text}:", " ".join(f"{value:.1f}" for value in kept))
        bound = np.clip(-np.log10(np.finfo(dtype).eps * (1 + offsets**2)), 0, None)
        axes.plot(offsets, bound, ":", color="grey", linewidth=1)
    axes.text(2e7, 1.9, "dotted: eps (1 + offset² / sd²)", color="grey", fontsize=9)
    axes.set_xscale("log")
    axes.set_ylim(-0.3, 17)
    axes.set_xlabel("offset of the data from zero, in standard deviations")
    axes.set_ylabel("correct decimal digits of the variance")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--png", help="also as PNG, to look at")
    args = parser.parse_args()
    # the same text in every run: no date, and ids that do not change
    with plt.rc_context({"svg.hashsalt": "shift"}):
        figure = draw()
        figure.savefig(FOLDER / "shift.svg", metadata={"Date": None, "Creator": None})
    if args.png:
        figure.savefig(args.png, dpi=130)


if __name__ == "__main__":
    main()
