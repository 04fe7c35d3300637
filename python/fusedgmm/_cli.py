"""The command line: ``fusedgmm``, or ``python -m fusedgmm``; without a command, an example."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ._commands import (
    STDOUT,
    example,
    fit_command,
    give_up_stdout,
    predict_command,
    printing,
    select_command,
)
from ._core import __version__
from ._covariance import COVARIANCE_TYPES
from ._data_files import UsageError, note
from ._segment import segment_command
from ._selection import CRITERIA
from ._validation import INIT_PARAMS

T = TypeVar("T", int, float)


def _at_least(low: T, kind: type[T]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        value = kind(text)
        if not value >= low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return value

    parse.__name__ = kind.__name__
    return parse


def _starts(text: str) -> int | str:
    return text if text == "auto" else _at_least(1, int)(text)


_starts.__name__ = "int"  # for argparse's messages


DELIMITERS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}


def _delimiter(text: str) -> str:
    text = {**DELIMITERS, r"\t": "\t"}.get(text, text)
    if len(text) != 1 or text.isalnum() or text in '"\r\n\0':
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one character, nor one of {', '.join(DELIMITERS)}"
        )
    return text


def _text_options() -> argparse.ArgumentParser:
    """The options about text files, shared by several commands."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group(
        "text files", "Defaults are detected; assumptions are reported on stderr."
    )
    yes_or_no = argparse.BooleanOptionalAction
    group.add_argument("--header", action=yes_or_no, help="the first line contains names")
    group.add_argument("--index", action=yes_or_no, help="omit the first column")
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="CHAR",
        help=f"separator of cells: a character, or {', '.join(DELIMITERS)}",
    )
    group.add_argument("--decimal", choices=[".", ","], metavar="CHAR", help="point or comma")
    group.add_argument(
        "--comment", metavar="TEXT", help="lines that begin with it are ignored; default #"
    )
    group.add_argument("--encoding", help="default utf-8")
    return parser


def _fitting_options() -> argparse.ArgumentParser:
    """The options that fit and select share."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("data", help=".csv, .tsv, .txt, .npy, or .npz (array X, or the only one)")
    add("--columns", help="names or numbers (from 0), separated by commas")
    add("--init", default="kmeans", choices=INIT_PARAMS)
    add(
        "--n-init",
        type=_starts,
        default="auto",
        help="number of starts, the best is kept; auto (the default): several if they are quick",
    )
    add("--seed", type=_at_least(0, int), default=0, help="default 0")
    add("--dtype", choices=["float32", "float64"])
    add("-o", "--output", metavar="MODEL.npz", help="save the model, for predict and for load")
    add("--labels", metavar="OUT.csv", help="save the label of every row, after its id if any")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def _add_limits(parser: argparse.ArgumentParser, *, max_iter: int, tol: float, reg: float) -> None:
    """Add the options that select has by default stricter than fit."""
    add = parser.add_argument
    add("--max-iter", type=_at_least(1, int), default=max_iter, help=f"default {max_iter}")
    add("--tol", type=_at_least(0, float), default=tol, help=f"default {tol:g}")
    add(
        "--reg-covar",
        type=_at_least(0, float),
        default=reg,
        metavar="VARIANCE",
        help=f"added to every variance, in squared units of the data; default {reg:g}",
    )


def _sizes(text: str) -> list[int]:
    """Numbers of components: "2", "1-9" or "1,2,4-8"."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _at_least(1, int)(first)
        high = _at_least(low, int)(last) if dash else low
        found += range(low, high + 1)
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text} names a number twice")
    return found


_sizes.__name__ = "numbers"


def _types(text: str) -> list[str]:
    """Covariance types: "all", or names separated by commas."""
    found: list[str] = list(COVARIANCE_TYPES) if text == "all" else text.split(",")
    for name in found:
        if name not in COVARIANCE_TYPES:
            known = ", ".join(COVARIANCE_TYPES)
            raise argparse.ArgumentTypeError(f"unknown type {name!r}; known: {known}, all")
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text} names a type twice")
    return found


def _add_fit(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("fit", help="fit a mixture to a file", parents=parents)
    parser.set_defaults(run=fit_command)
    count = _at_least(1, int)
    parser.add_argument("-k", "--components", type=count, required=True)
    parser.add_argument("--covariance", choices=COVARIANCE_TYPES, default="full")
    parser.add_argument("--plot", metavar="FIGURE.png", help="save a plot; also .pdf, .svg")
    _add_limits(parser, max_iter=100, tol=1e-3, reg=1e-6)


def _add_select(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "select", help="choose the number of components and the covariance type", parents=parents
    )
    parser.set_defaults(run=select_command)
    add = parser.add_argument
    add(
        "-k",
        "--components",
        type=_sizes,
        default=list(range(1, 10)),
        metavar="SIZES",
        help="for example 1-9 (the default) or 1,2,4",
    )
    add(
        "--covariance",
        type=_types,
        default=list(COVARIANCE_TYPES),
        metavar="TYPES",
        help=f"of {', '.join(COVARIANCE_TYPES)}, separated by commas; default all",
    )
    add("--criterion", choices=list(CRITERIA), default="bic", help="default bic")
    add("--plot", metavar="FIGURE.png", help="plot the criterion; also .pdf, .svg")
    _add_limits(parser, max_iter=200, tol=1e-4, reg=0.0)


def _add_predict(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("predict", help="apply a saved model to a file", parents=parents)
    parser.set_defaults(run=predict_command)
    add = parser.add_argument
    add("model", metavar="MODEL.npz", help="from fit -o, select -o, or model.save")
    add("data", help="as for fit; columns are matched by name")
    add("--columns", help="names or numbers (from 0), separated by commas")
    add("-o", "--output", metavar="OUT", help=".csv or .npy; default: CSV on standard output")
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument(
        "--responsibilities", action="store_true", help="of each component, instead of labels"
    )
    answer.add_argument(
        "--log-likelihood", action="store_true", help="of each row, in nats, instead of labels"
    )


def _add_segment(commands: Any) -> None:
    parser = commands.add_parser(
        "segment", help="divide a photo by its colors, for example into foreground and background"
    )
    parser.set_defaults(run=segment_command)
    add = parser.add_argument
    add("photo", help="a file that Pillow can read: .jpg, .png, ...")
    add("-k", "--components", type=_at_least(1, int), default=2, help="default 2")
    add("--covariance", choices=COVARIANCE_TYPES, default="full")
    add(
        "--keep",
        type=_at_least(0, int),
        metavar="N",
        help="keep the pixels of component N (0 has the most); the others become transparent. "
        "Without it, each pixel gets the mean color of its component",
    )
    add("--seed", type=_at_least(0, int), default=0, help="default 0")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    add("-o", "--output", metavar="OUT.png", required=True)


def _parser() -> argparse.ArgumentParser:
    program = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        prog=program if program == __package__ else f"python -m {__package__}",
        description="Gaussian mixtures by fused EM. Without a command: a worked example.",
    )
    parser.add_argument("--version", action="version", version=f"{__package__} {__version__}")
    commands, text = parser.add_subparsers(dest="command"), _text_options()
    _add_fit(commands, [text, _fitting_options()])
    _add_select(commands, [text, _fitting_options()])
    _add_predict(commands, [text])
    _add_segment(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # for "±" on a terminal that cannot show it
        if isinstance(stream, io.TextIOWrapper):
            with suppress(ValueError):
                stream.reconfigure(errors="replace")
    args = _parser().parse_args(argv)
    try:
        if args.command:
            args.run(args)
        else:
            with printing():
                example()
    except BrokenPipeError:  # the reader has gone: exit like other tools in a pipeline
        give_up_stdout()
        return 141
    except (UsageError, OSError) as error:
        if isinstance(error, OSError) and error.filename == STDOUT:
            give_up_stdout()
        note(str(error), "fusedgmm: error")
        return 2
    except MemoryError as error:
        what = " ".join(str(error).split())
        note("not enough memory" + (f": {what}" if what else ""), "fusedgmm: error")
        return 2
    except KeyboardInterrupt:
        note("stopped", "fusedgmm")
        return 130
    return 0
