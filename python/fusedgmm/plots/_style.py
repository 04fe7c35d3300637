"""What all plots share: figures, colors, markers and legends, in the matplotlib style in force."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._typing import Floats, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 20  # maximum number of components in a legend
MARKERS = "os^DvP<X>phd"
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


def whole_numbers(ax: Axes) -> None:
    """Have ticks only at whole numbers on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty pyplot figure of this size in inches."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install fusedgmm[plot]") from error
    return pyplot.figure(figsize=(width, height), layout="constrained")


def background(ax: Axes) -> tuple[float, float, float]:
    """Return the background color."""
    from matplotlib.colors import to_rgba

    below = np.ones(3)
    for color in (ax.figure.get_facecolor(), ax.get_facecolor()):
        *rgb, alpha = to_rgba(color)
        below = alpha * np.array(rgb) + (1 - alpha) * below
    red, green, blue = below
    return float(red), float(green), float(blue)


def luminance(color: Any) -> float:
    """Return the brightness of a color, from 0 to 1."""
    from matplotlib.colors import to_rgb

    return float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))


def ink(ax: Axes) -> Any:
    """Return the color of lines and markers: that of the style's text, if it is visible."""
    from matplotlib import rcParams

    behind, text = luminance(background(ax)), rcParams["text.color"]
    if abs(luminance(text) - behind) >= 0.4:
        return text
    return "black" if behind > 0.5 else "white"


def mixed(ax: Axes, share: float) -> tuple[float, float, float]:
    """Return a color between the background and the ink."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - share) * np.array(background(ax)) + share * np.array(to_rgb(ink(ax)))
    return float(red), float(green), float(blue)


def colors(ax: Axes, count: int) -> list[Any]:
    """Return different colors: those of the style and, if they are too few, shades of them."""
    from matplotlib import colormaps, rcParams
    from matplotlib.colors import to_hex, to_rgb

    cycle = rcParams["axes.prop_cycle"].by_key().get("color", [])
    style = list(dict.fromkeys(map(to_rgb, cycle))) or [to_rgb(ink(ax))]
    rounds = math.ceil(count / len(style))
    found: list[Any] = []
    for i in range(count):
        color, dark = np.array(style[i % len(style)]), to_rgb(ink(ax))
        far = abs(luminance(color) - luminance(dark)) > 0.25
        share = 0.6 * (i // len(style)) / max(1, rounds - 1)
        found.append((1 - share) * color + share * np.array(dark if far else background(ax)))
    if len(set(map(to_hex, found))) < count:  # of a style with a few grays
        return list(colormaps[rcParams["image.cmap"]](np.linspace(0.1, 0.8, count)))
    return found


def legend(
    ax: Axes, weights: Floats, drawn: Labels, *, figure: Any = None, beside: bool = False
) -> None:
    """Add a legend of the components, unless there are too many, and say how many are not drawn.

    figure: to have the legend in its upper right corner instead of in the axes. beside: to have it
    beside the axes, also if it is short.
    """
    handles, labels = ax.get_legend_handles_labels()
    if len(drawn) > MOST_NAMED:
        kept = [i for i, label in enumerate(labels) if not label.startswith("component ")]
        handles, labels = [handles[i] for i in kept], [labels[i] for i in kept]
    title = None
    if len(drawn) < len(weights):
        left = np.delete(weights, drawn).max()
        title = (
            f"{len(weights) - len(drawn)} of {len(weights)} components are not drawn\n"
            f"(weight at most {left:.1g})"
        )
    if handles or title:
        beside = (beside or len(handles) > 6) and ax.figure.get_layout_engine() is not None
        place: dict[str, Any] = {}
        if figure is not None:
            place = {"loc": "upper right"}
        elif beside:  # a layout engine makes room for it
            place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        (ax if figure is None else figure).legend(
            handles,
            labels,
            **place,
            title=title,
            ncols=1 if beside or len(handles) <= 10 or figure is not None else 2,
            fontsize="small",
            title_fontsize="small",
            facecolor=background(ax),
            edgecolor="none",
            framealpha=0.5,
            labelcolor=ink(ax),
        ).get_title().set_color(ink(ax))


def halo(ax: Axes) -> list[Any]:
    """Return an outline in the background color, in which lines and texts are seen on any other."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground=background(ax))]


def label_at(ax: Axes, text: str, at: Any, *, beside: bool = True) -> None:
    """Write a short text beside a point, or on it."""
    ax.annotate(
        text,
        at,
        xytext=(4, 4) if beside else (0, 0),
        textcoords="offset points",
        ha="left" if beside else "center",
        color=ink(ax),
        fontsize="small",
        path_effects=halo(ax),
        annotation_clip=True,
    )
