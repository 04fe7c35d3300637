"""The command line: ``python -m fusedgmm`` (an example), ``python -m fusedgmm fit DATA``."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._covariance import COVARIANCE_TYPES, layout_of
from ._files import DAMAGE, write_whole
from ._typing import Floats, Labels, Reals
from ._validation import INIT_PARAMS

if TYPE_CHECKING:
    from ._mixture import GaussianMixture

T = TypeVar("T", int, float)

MISSING = {"", "na", "nan", "n/a", "null", "none"}


class UsageError(Exception):
    """Something the user can mend: one line on stderr, exit status 2."""


# ---------------------------------------------------------------- reading


def _number(cell: str) -> float | None:
    cell = cell.strip()
    if cell.lower() in MISSING:
        return float("nan")
    if "_" in cell:  # 1_000 is a number to Python, a name to all others
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _select(names: list[str], wanted: str | None) -> list[int]:
    """Positions of the wanted columns: names first, then numbers counted from 0."""
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
            known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise UsageError(
                f"--columns: no column {item!r}; the columns are {known} "
                f"(or numbers 0 to {len(names) - 1})"
            )
    return chosen


def _read_csv(path: Path, wanted: str | None) -> tuple[Reals, list[str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        sample = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=sample.count)
        reader = csv.reader(file, delimiter=delimiter)
        rows = [(reader.line_num, row) for row in reader if any(c.strip() for c in row)]
    if not rows:
        raise UsageError(f"{path}: the file is empty")
    first = rows[0][1]
    text = [_number(c) is None for c in first]
    follows = [_number(c) for c in rows[1][1]] if len(rows) > 1 else []
    header = all(text) or any(t and v is not None for t, v in zip(text, follows, strict=False))
    names = [c.strip() for c in first] if header else [f"column {i}" for i in range(len(first))]
    rows = rows[1:] if header else rows
    if not rows:
        raise UsageError(f"{path}: there is a header but no data")
    chosen = _select(names, wanted)
    X = np.empty((len(rows), len(chosen)))
    for i, (line, row) in enumerate(rows):
        if len(row) != len(names):
            raise UsageError(
                f"{path}: line {line} has {len(row)} cells, the first has {len(names)}"
            )
        for j, column in enumerate(chosen):
            value = _number(row[column])
            if value is None:
                numeric = [
                    str(c) if not header else n
                    for c, n in enumerate(names)
                    if _number(rows[0][1][c]) is not None and c != column
                ]
                hint = f"; choose numeric columns, e.g. --columns {','.join(numeric)}"
                raise UsageError(
                    f"{path}: column {names[column]!r} holds text "
                    f"({row[column].strip()!r} in line {line}){hint if numeric else ''}"
                )
            X[i, j] = value
    return X, [names[c] for c in chosen]


def _read_array(path: Path, wanted: str | None) -> tuple[Reals, list[str]]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded as archive:
            keys = archive.files
            if "X" not in keys and len(keys) != 1:
                raise UsageError(
                    f"{path}: holds arrays {', '.join(keys) or '(none)'}; "
                    "name the one to fit 'X', or store only one"
                )
            X = archive["X" if "X" in keys else keys[0]]
            if not isinstance(X, np.ndarray):  # NumPy gives bytes of what is no array
                raise UsageError(f"{path}: {keys[0]} in it is no array")
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
    return (X if wanted is None else X[:, chosen]), [names[c] for c in chosen]


def read_data(path: str | Path, columns: str | None = None) -> tuple[Reals, list[str]]:
    """(X, column names) of a .csv, .npy or .npz file; UsageError says what is wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: " + ("is not a file" if path.exists() else "no such file"))
    if path.stat().st_size == 0:
        raise UsageError(f"{path}: the file is empty")
    readers = {".csv": _read_csv, ".npy": _read_array, ".npz": _read_array}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path}: unknown kind of file {path.suffix!r}; use .csv, .npy or .npz")
    try:
        X, names = readers[path.suffix.lower()](path, columns)
    except (OSError, MemoryError, csv.Error, zlib.error, *DAMAGE) as error:
        raise UsageError(f"{path}: cannot read it: {error}") from error
    if X.size == 0:
        raise UsageError(f"{path}: no data (shape {X.shape})")
    bad = ~np.isfinite(X)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        column = names[int(np.flatnonzero(bad[rows[0]])[0])]
        raise UsageError(
            f"{path}: {len(rows)} of {len(X)} rows hold missing or infinite values, the first is "
            f"data row {rows[0] + 1}, column {column!r}; remove or fill them first"
        )
    return X, names


# ---------------------------------------------------------------- writing


def _check_output(path: str | Path, suffixes: tuple[str, ...]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the folder {path.parent} is not writable")
    return path


def _write_labels(path: str, labels: Labels, probability: Reals) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "probability"])
        writer.writerows((int(k), f"{p:.6g}") for k, p in zip(labels, probability, strict=True))


# ---------------------------------------------------------------- reporting


def _deviations(model: GaussianMixture) -> Floats:
    layout = layout_of(model.covariance_type)
    return np.sqrt(layout.variances(model.covariances_, *np.shape(model.means_)))


def _print_components(model: GaussianMixture, names: list[str], shown: int = 6) -> None:
    d = len(names)
    width = max(16, *(len(n) + 2 for n in names[:shown]))
    print(
        "component  weight  "
        + "".join(f"{n:>{width}}" for n in names[:shown])
        + (f"  ... {d - shown} more" if d > shown else "")
    )
    rows = zip(model.weights_, model.means_, _deviations(model), strict=True)
    for k, (weight, mean, sd) in enumerate(rows):
        cells = (f"{m:.4g} ± {s:.3g}" for m, s in zip(mean[:shown], sd[:shown], strict=True))
        print(f"{k:>9}  {weight:6.3f}  " + "".join(f"{c:>{width}}" for c in cells))
    print("(mean ± standard deviation)")


def _print_likelihood(model: GaussianMixture, n: int, at_most: int = 12) -> None:
    bounds = np.asarray(getattr(model, "lower_bounds_", [model.lower_bound_])) * n
    print("\niteration  log-likelihood      change")
    last = len(bounds) - 1
    skipped = False
    for i, value in enumerate(bounds):
        if len(bounds) > at_most and at_most // 2 <= i <= last - at_most // 2:
            if not skipped:
                print("      ...")
            skipped = True
            continue
        change = f"{value - bounds[i - 1]:12.5f}" if i else ""
        print(f"{i + 1:>9}  {value:14.4f}{change}")


def _print_machine(seconds: float) -> None:
    from fusedgmm import _threads
    from fusedgmm._core import config

    print(
        f"\nfitted in {seconds:.3g} s with instruction set {config()['instruction_set']}, "
        f"up to {_threads.resolve(None)} thread(s)"
    )


def _print_summary(model: GaussianMixture, X: Reals) -> None:
    state = "converged" if model.converged_ else "NOT converged (raise --max-iter or --tol)"
    print(
        f"\n{state} after {model.n_iter_} iterations   "
        f"log-likelihood {float(model.score(X)) * len(X):.4f}   "
        f"BIC {model.bic(X):.2f}   AIC {model.aic(X):.2f}"
    )


def _fit(model: GaussianMixture, X: Reals) -> float:
    """Fit; warnings become one-line notes on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = perf_counter()
        model.fit(X)
        seconds = perf_counter() - start
    for warning in caught:
        print("note: " + " ".join(str(warning.message).split()), file=sys.stderr)
    return seconds


def best_matching(labels: Labels, truth: NDArray[np.str_]) -> tuple[float, tuple[str, ...]]:
    """(accuracy, name of each label) under the one-to-one naming that agrees with most rows."""
    kinds = np.unique(truth)
    best = max(
        permutations(kinds), key=lambda names: int((np.asarray(names)[labels] == truth).sum())
    )
    return float((np.asarray(best)[labels] == truth).mean()), best


# ---------------------------------------------------------------- commands


def example() -> None:
    from fusedgmm import GaussianMixture
    from fusedgmm.datasets import load_heights

    X, sex = load_heights()
    print(
        f"Heights of {len(X)} people (Davis 1990). Two Gaussians are fitted to the heights alone;\n"
        "the sex of each person is hidden from the fit, and used only to judge it.\n"
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
    asked = [_check_output(path, kinds).resolve() for path, kinds in outputs if path]
    if len(set(asked)) < len(asked):
        raise UsageError("two outputs have the same name")
    if Path(args.data).resolve() in asked:
        raise UsageError(f"{args.data}: an output would replace the data")
    if args.plot:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise UsageError("--plot needs matplotlib: pip install fusedgmm[plot]") from None
    X, names = read_data(args.data, args.columns)
    if args.dtype:
        with np.errstate(over="ignore"):  # the fit says where the first is that became infinite
            X = X.astype(args.dtype)
    if args.components > len(X):
        raise UsageError(f"-k {args.components}: there are only {len(X)} rows")

    from fusedgmm import GaussianMixture

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
    print(
        f"{args.data}: {X.shape[0]} rows, {X.shape[1]} columns, {X.dtype}; "
        f"{args.components} component(s), {args.covariance} covariance\n"
    )
    _print_components(model, names)
    _print_likelihood(model, len(X))
    _print_summary(model, X)
    _print_machine(seconds)
    if args.output:
        write_whole(
            args.output,
            lambda path: np.savez(
                path,
                weights=model.weights_,
                means=model.means_,
                covariances=model.covariances_,
                precisions_cholesky=model.precisions_cholesky_,
                covariance_type=args.covariance,
                columns=np.array(names),
                converged=model.converged_,
                n_iter=model.n_iter_,
                lower_bound=model.lower_bound_,
            ),
        )
        print(f"model   -> {args.output}")
    if args.labels:
        probability = model.predict_proba(X)
        labels = probability.argmax(axis=1)
        write_whole(args.labels, lambda p: _write_labels(p, labels, probability.max(axis=1)))
        print(f"labels  -> {args.labels}")
    if args.plot:
        from matplotlib.figure import Figure

        from fusedgmm.plots import plot_mixture

        figure = Figure(figsize=(7, 5), layout="constrained")
        # a dollar in a name is no mathematics
        columns = [name.replace("$", r"\$") for name in names]
        plot_mixture(model, X, ax=figure.add_subplot(), columns=columns)
        write_whole(args.plot, lambda path: figure.savefig(path, dpi=150))
        print(f"figure  -> {args.plot}")


def _at_least(low: T, kind: type[T]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        value = kind(text)
        if not value >= low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return value

    parse.__name__ = kind.__name__
    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fusedgmm",
        description="Gaussian mixtures by fused EM. Without a command: a worked example.",
    )
    fit = parser.add_subparsers(dest="command").add_parser("fit", help="fit a mixture to a file")
    count = _at_least(1, int)
    fit.add_argument("data", help=".csv, .npy, or .npz (array X, or the only one)")
    fit.add_argument("-k", "--components", type=count, required=True, help="number of components")
    fit.add_argument("--covariance", choices=COVARIANCE_TYPES, default="full")
    fit.add_argument("--columns", help="names or numbers (from 0), separated by commas")
    fit.add_argument("--init", default="kmeans", choices=INIT_PARAMS)
    fit.add_argument(
        "--n-init",
        type=lambda text: text if text == "auto" else count(text),
        default="auto",
        help="starts; the best is kept; auto (the default): several where they are quick",
    )
    fit.add_argument("--seed", type=_at_least(0, int), default=0, help="default 0")
    fit.add_argument("--dtype", choices=["float32", "float64"])
    fit.add_argument("--max-iter", type=count, default=100)
    fit.add_argument("--tol", type=_at_least(0, float), default=1e-3)
    fit.add_argument("-o", "--output", metavar="MODEL.npz")
    fit.add_argument("--labels", metavar="OUT.csv", help="most probable component of every row")
    fit.add_argument("--plot", metavar="FIGURE.png", help="also .pdf, .svg")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # "±" on a terminal that cannot show it
        if isinstance(stream, io.TextIOWrapper):
            with suppress(ValueError):
                stream.reconfigure(errors="replace")
    args = _parser().parse_args(argv)
    try:
        if args.command == "fit":
            fit_command(args)
        else:
            example()
    except (UsageError, OSError) as error:
        print(f"fusedgmm: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fusedgmm: stopped", file=sys.stderr)
        return 130
    return 0
