"""The command line: ``python -m fusedgmm`` (an example), ``fit DATA``, ``predict MODEL DATA``."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from itertools import permutations
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._covariance import COVARIANCE_TYPES, layout_of
from ._data_files import (
    MODELS,
    UsageError,
    check_file,
    check_output,
    note,
    read_data,
    write_answer,
    write_csv,
    write_labels,
)
from ._files import kind_of, write_whole
from ._tables import Format
from ._typing import Floats, Labels, Reals
from ._validation import INIT_PARAMS

if TYPE_CHECKING:
    from ._bayesian import BayesianGaussianMixture
    from ._fitting import BaseMixture
    from ._mixture import GaussianMixture

T = TypeVar("T", int, float)

STDOUT = "standard output"

# ---- reporting ----


def _deviations(model: GaussianMixture) -> Floats:
    layout = layout_of(model.covariance_type)
    return np.sqrt(layout.variances(model.covariances_, *np.shape(model.means_)))


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print cells in columns as wide as their content, separated by spaces."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells in (head, *rows):
        line = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print("  ".join(line).rstrip())


def _print_components(model: GaussianMixture, names: list[str], shown: int = 6) -> None:
    head = ["component", "weight", *names[:shown]]
    values = zip(
        model.weights_, model.means_[:, :shown], _deviations(model)[:, :shown], strict=True
    )
    rows = [
        [str(k), f"{weight:.3f}", *map("{:.4g} ± {:.3g}".format, mean, deviation)]
        for k, (weight, mean, deviation) in enumerate(values)
    ]
    if len(names) > shown:
        head.append(f"... {len(names) - shown} more")
        rows = [[*row, ""] for row in rows]
    _print_table(head, rows)
    print("(mean ± standard deviation)")


def _print_likelihood(model: GaussianMixture, n: int, at_most: int = 12) -> None:
    bounds = np.asarray(model.lower_bounds_) * n
    changes = ["", *(f"{change:.5f}" for change in np.diff(bounds))]
    rows = [
        [str(i), f"{bound:.4f}", change]
        for i, (bound, change) in enumerate(zip(bounds, changes, strict=True), 1)
    ]
    if len(rows) > at_most:
        rows[at_most // 2 : -(at_most // 2)] = [["...", "", ""]]
    print()
    _print_table(["iteration", "log-likelihood", "change"], rows)


def _print_machine(seconds: float) -> None:
    from . import _threads
    from ._core import config

    print(
        f"\nfitted in {seconds:.3g} s with instruction set {config()['instruction_set']}, "
        f"up to {_threads.resolve(None)} thread(s)"
    )


def _print_summary(model: GaussianMixture, X: Reals) -> None:
    state = "converged" if model.converged_ else "NOT converged (raise --max-iter or --tol)"
    mean, n = model.score(X), len(X)  # only once: it reads all rows
    parameters = model._n_parameters()
    print(
        f"\n{state} after {model.n_iter_} iterations   "
        f"log-likelihood {mean * n:.4f}   "
        f"BIC {parameters * math.log(n) - 2 * mean * n:.2f}   "
        f"AIC {2 * parameters - 2 * mean * n:.2f}"
    )


@contextmanager
def _printing() -> Iterator[None]:
    """Flush standard output at the end, and name it in errors."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, STDOUT) from None


def _give_up_stdout() -> None:
    """Let Python exit without trying again to flush standard output."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _fit(model: GaussianMixture, X: Reals) -> float:
    """Fit the model; warnings become one-line notes on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = perf_counter()
        model.fit(X)
        seconds = perf_counter() - start
    for warning in caught:
        note(" ".join(str(warning.message).split()))
    return seconds


def best_matching(labels: Labels, truth: NDArray[np.str_]) -> tuple[float, tuple[str, ...]]:
    """Return (accuracy, name of each label) for the one-to-one naming that agrees with most
    rows."""
    kinds = np.unique(truth)
    best = max(
        permutations(kinds), key=lambda names: int((np.asarray(names)[labels] == truth).sum())
    )
    return float((np.asarray(best)[labels] == truth).mean()), best


# ---- commands ----


def example() -> None:
    from ._mixture import GaussianMixture
    from .datasets import load_heights

    X, sex = load_heights()
    print(
        f"Heights of {len(X)} people (Davis 1990). Two Gaussians are fitted to the heights alone;\n"
        "the sex of each person is hidden from the fit, and used only to evaluate it.\n"
    )
    model = GaussianMixture(2, tol=1e-6, max_iter=2000, random_state=0)
    seconds = _fit(model, X)
    _print_components(model, ["height (cm)"])
    _print_likelihood(model, len(X))
    _print_summary(model, X)
    accuracy, names = best_matching(model.predict(X), sex)
    kinds, counts = np.unique(sex, return_counts=True)
    print(
        f"\nhidden sex recovered for {accuracy:.1%} of the people "
        f"({', '.join(f'component {k} = {n}' for k, n in enumerate(names))}; "
        f"always saying {kinds[counts.argmax()]} gets {counts.max() / len(sex):.1%})"
    )
    for kind in kinds:
        x = X[sex == kind, 0]
        print(f"  really {kind}: weight {len(x) / len(X):.3f}, {x.mean():.1f} ± {x.std():.2f} cm")
    _print_machine(seconds)


def fit_command(args: argparse.Namespace) -> None:
    outputs = [
        (args.output, (".npz",)),
        (args.labels, (".csv",)),
        (args.plot, (".png", ".pdf", ".svg")),
    ]
    asked = [check_output(path, kinds) for path, kinds in outputs if path]
    if len(set(asked)) < len(asked):
        raise UsageError("two outputs have the same name")
    if os.path.realpath(args.data) in asked:
        raise UsageError(f"{args.data}: an output would replace the data")
    if args.plot:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise UsageError("--plot needs matplotlib: pip install fusedgmm[plot]") from None
    X, names, named = read_data(args.data, args.columns, how=_format(args))
    if args.dtype:
        with np.errstate(over="ignore"):  # the fit reports where a value became infinite
            X = X.astype(args.dtype)
    if args.components > len(X):
        raise UsageError(f"-k {args.components}: there are only {len(X)} rows")

    from ._mixture import GaussianMixture

    model = GaussianMixture(
        args.components,
        covariance_type=args.covariance,
        init_params=args.init,
        n_init=args.n_init,
        random_state=args.seed,
        max_iter=args.max_iter,
        tol=args.tol,
    )
    try:
        seconds = _fit(model, X)
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    saved = _save(model, X, names, named, args)
    with _printing():
        print(
            f"{args.data}: {X.shape[0]} rows, {X.shape[1]} columns, {X.dtype}; "
            f"{args.components} component(s), {args.covariance} covariance\n"
        )
        _print_components(model, names)
        _print_likelihood(model, len(X))
        _print_summary(model, X)
        _print_machine(seconds)
        for what, path in saved:
            print(f"{what:<7} -> {path}")


def _save(
    model: GaussianMixture, X: Reals, names: list[str], named: bool, args: argparse.Namespace
) -> list[tuple[str, str]]:
    """Write the requested files; return a description and the name of each."""
    saved = []
    if args.output:
        copied = copy(model)  # the rows are scored later as an array, which has no names
        if named:
            copied.feature_names_in_ = np.array(names, dtype=object)
        copied.save(args.output)
        saved.append(("model", args.output))
    if args.labels:
        probability = model.predict_proba(X)
        labels = probability.argmax(axis=1)
        write_whole(args.labels, lambda file: write_labels(file, labels, probability.max(axis=1)))
        saved.append(("labels", args.labels))
    if args.plot:
        from matplotlib.figure import Figure

        from .plots import plot_mixture

        figure = Figure(figsize=(7, 5), layout="constrained")
        # a dollar sign is plain text
        columns = [name.replace("$", r"\$") for name in names]
        plot_mixture(model, X, ax=figure.add_subplot(), columns=columns)
        kind = args.plot.lower()[-3:]  # of the requested name, which may be a link
        write_whole(args.plot, lambda file: figure.savefig(file, format=kind, dpi=150))
        saved.append(("figure", args.plot))
    return saved


def _load_model(path: str) -> GaussianMixture | BayesianGaussianMixture:
    from ._bayesian import BayesianGaussianMixture
    from ._mixture import GaussianMixture

    check_file(path)
    try:
        kind = kind_of(path).removeprefix("fusedgmm.")
        if kind not in MODELS:
            raise UsageError(f"{path}: holds a {kind}, which cannot predict")
        return (GaussianMixture if kind == "GaussianMixture" else BayesianGaussianMixture).load(
            path
        )
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error


def _columns_of_model(model: BaseMixture, path: str, columns: str | None, how: Format) -> Reals:
    """Return the rows of a file in the columns of the model, matched by name if both have names."""
    names_in = getattr(model, "feature_names_in_", None)
    fitted = None if names_in is None else [str(name) for name in names_in]
    n_features = int(np.shape(model.means_)[1])
    X, names, named = read_data(path, columns, fitted, how)
    if named and fitted is not None and names != fitted:
        raise UsageError(
            f"{path}: the columns are {', '.join(names)}; the model was fitted to "
            f"{', '.join(fitted)}"
        )
    if X.shape[1] != n_features:
        hint = ""
        if X.shape[1] == n_features + 1:
            hint = "; if the first is an index: --index"
        raise UsageError(
            f"{path}: there are {X.shape[1]} columns, the model was fitted to {n_features}{hint}"
        )
    return X


def predict_command(args: argparse.Namespace) -> None:
    if args.output:
        output = check_output(args.output, (".csv", ".npy"))
        if output in map(os.path.realpath, (args.data, args.model)):
            raise UsageError(f"{args.output}: an output would replace the data or the model")
    model = _load_model(args.model)
    X = _columns_of_model(model, args.data, args.columns, _format(args))
    if hasattr(model, "feature_names_in_"):
        del model.feature_names_in_  # already compared; an array has no names
    values: Labels | Reals
    if args.responsibilities:
        values = model.predict_proba(X)
        header = [f"component {k}" for k in range(values.shape[1])]
    elif args.log_likelihood:
        values, header = model.score_samples(X), ["log-likelihood"]
    else:
        values, header = model.predict(X), ["label"]
    if args.output:
        kind = args.output.lower()[-4:]
        write_whole(args.output, lambda file: write_answer(file, kind, header, values))
    elif sys.stdout is None:
        raise UsageError("standard output is closed; -o names a file")
    with _printing():
        if args.output:
            print(f"{len(values)} rows -> {args.output}")
        else:
            write_csv(sys.stdout, header, values)


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


def _format(args: argparse.Namespace) -> Format:
    return Format(**{name: getattr(args, name) for name in vars(Format())})


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description="Gaussian mixtures by fused EM. Without a command: a worked example.",
    )
    commands, text = parser.add_subparsers(dest="command"), _text_options()
    fit = commands.add_parser("fit", help="fit a mixture to a file", parents=[text])
    count = _at_least(1, int)
    fit.add_argument("data", help=".csv, .tsv, .txt, .npy, or .npz (array X, or the only one)")
    fit.add_argument("-k", "--components", type=count, required=True, help="number of components")
    fit.add_argument("--covariance", choices=COVARIANCE_TYPES, default="full")
    fit.add_argument("--columns", help="names or numbers (from 0), separated by commas")
    fit.add_argument("--init", default="kmeans", choices=INIT_PARAMS)
    fit.add_argument(
        "--n-init",
        type=_starts,
        default="auto",
        help="number of starts, the best is kept; auto (the default): several if they are quick",
    )
    fit.add_argument("--seed", type=_at_least(0, int), default=0, help="default 0")
    fit.add_argument("--dtype", choices=["float32", "float64"])
    fit.add_argument("--max-iter", type=count, default=100)
    fit.add_argument("--tol", type=_at_least(0, float), default=1e-3)
    fit.add_argument(
        "-o", "--output", metavar="MODEL.npz", help="save the model, for predict and for load"
    )
    fit.add_argument("--labels", metavar="OUT.csv", help="save the label of every row")
    fit.add_argument("--plot", metavar="FIGURE.png", help="save a plot; also .pdf, .svg")
    predict = commands.add_parser("predict", help="apply a saved model to a file", parents=[text])
    predict.add_argument("model", metavar="MODEL.npz", help="from fit -o, or from model.save")
    predict.add_argument("data", help="as for fit; columns are matched by name")
    predict.add_argument("--columns", help="names or numbers (from 0), separated by commas")
    predict.add_argument(
        "-o", "--output", metavar="OUT", help=".csv or .npy; default: CSV on standard output"
    )
    answer = predict.add_mutually_exclusive_group()
    answer.add_argument(
        "--responsibilities", action="store_true", help="of each component, instead of labels"
    )
    answer.add_argument(
        "--log-likelihood", action="store_true", help="of each row, in nats, instead of labels"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # for "±" on a terminal that cannot show it
        if isinstance(stream, io.TextIOWrapper):
            with suppress(ValueError):
                stream.reconfigure(errors="replace")
    args = _parser().parse_args(argv)
    try:
        if args.command == "fit":
            fit_command(args)
        elif args.command == "predict":
            predict_command(args)
        else:
            with _printing():
                example()
    except BrokenPipeError:  # the reader has gone: exit like other tools in a pipeline
        _give_up_stdout()
        return 141
    except (UsageError, OSError) as error:
        if isinstance(error, OSError) and error.filename == STDOUT:
            _give_up_stdout()
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
