"""The command `segment`: the regions of a photo, by a mixture of the colors of its pixels."""

from __future__ import annotations

import argparse
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._commands import fit_model, one_line_errors, print_saved, printing
from ._data_files import UsageError, check_file, check_output
from ._files import write_whole
from ._report import table_lines
from ._summary import as_json, print_json, print_machine
from ._typing import Labels

COLORS = ["red", "green", "blue"]


def _pillow() -> Any:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UsageError("segment needs Pillow: pip install fusedgmm[image]") from None
    return Image, ImageOps


def read_photo(path: str) -> NDArray[np.uint8]:
    """Return the pixels of a photo, upright, of shape (height, width, 3)."""
    check_file(path)
    image, operations = _pillow()
    try:
        with image.open(path) as opened:
            upright = operations.exif_transpose(opened)
            return np.asarray(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise UsageError(f"{path}: cannot read it as an image: {error}") from error


class Segments(NamedTuple):
    """The component of each pixel, and the mean color of each component."""

    labels: Labels  # (height, width)
    colors: NDArray[np.uint8]  # (n_components, 3)

    def painted(self) -> NDArray[np.uint8]:
        """Return a picture in which each pixel has the mean color of its component."""
        return self.colors[self.labels]

    def kept(self, pixels: NDArray[np.uint8], component: int) -> NDArray[np.uint8]:
        """Return the pixels of one component; the others become transparent."""
        alpha = np.where(self.labels == component, 255, 0).astype(np.uint8)
        return np.dstack([pixels, alpha])


def segment_command(args: argparse.Namespace) -> None:
    from ._mixture import GaussianMixture

    output = check_output(args.output, (".png",))
    if output == os.path.realpath(args.photo):
        raise UsageError(f"{args.output}: the output would replace the photo")
    if args.keep is not None and args.keep >= args.components:
        raise UsageError(
            f"--keep {args.keep}: the components are 0 to {args.components - 1}, the most frequent "
            "first"
        )
    pixels = read_photo(args.photo)
    height, width, _ = pixels.shape
    X = pixels.reshape(-1, 3) / np.float32(255)
    if args.components > len(X):
        raise UsageError(f"-k {args.components}: there are only {len(X)} pixels")
    model = GaussianMixture(
        args.components, covariance_type=args.covariance, random_state=args.seed
    )
    with one_line_errors():
        seconds = fit_model(model, X)
    order = np.argsort(-model.weights_, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    colors = np.clip(np.rint(model.means_[order] * 255), 0, 255).astype(np.uint8)
    segments = Segments(place[model.predict(X)].reshape(height, width), colors)
    picture = segments.painted() if args.keep is None else segments.kept(pixels, args.keep)
    image, _ = _pillow()
    write_whole(args.output, lambda file: image.fromarray(picture).save(file, format="PNG"))
    shares = np.bincount(segments.labels.ravel(), minlength=len(order)) / len(X)
    with printing():
        if args.json:
            found = as_json(model, X, COLORS, seconds)
            print_json({**found, "width": width, "height": height, "order": order.tolist()})
            return
        print(f"{args.photo}: {width} x {height} pixels; {args.components} component(s)\n")
        rows = [
            [str(k), f"{share:.3f}", *map(str, color), "#" + bytes(color).hex()]
            for k, (share, color) in enumerate(zip(shares, colors, strict=True))
        ]
        print("\n".join(table_lines(["component", "share", *COLORS, "color"], rows)))
        print("(share of the pixels, mean color)")
        print_machine(seconds)
        print_saved([("picture", args.output)])
