"""The commands: what `python -m fusedgmm` does with its arguments."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from itertools import permutations
from time import perf_counter
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from ._data_files import (
    MODELS,
    Table,
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
from ._summary import (
    as_json,
    print_components,
    print_json,
    print_likelihood,
    print_machine,
    print_selection,
    print_summary,
    selection_as_json,
)
from ._tables import Format
from ._typing import Labels, Reals

if TYPE_CHECKING:
    from ._bayesian import BayesianGaussianMixture
    from ._fitting import BaseMixture
    from ._mixture import GaussianMixture
    from ._selection import Selection

STDOUT = "standard output"


@contextmanager
def printing() -> Iterator[None]:
    """Flush standard output at the end, and name it in errors."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, STDOUT) from None


def give_up_stdout() -> None:
    """Let Python exit without trying again to flush standard output."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _format(args: argparse.Namespace) -> Format:
    return Format(**{name: getattr(args, name) for name in vars(Format())})


@contextmanager
def _notes() -> Iterator[None]:
    """Turn warnings into one-line notes on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        note(" ".join(str(warning.message).split()))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors about the data or the options into usage errors."""
    try:
        yield
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error


def fit_model(model: GaussianMixture, X: Reals) -> float:
    """Fit the model and return the seconds it took."""
    with _notes():
        start = perf_counter()
        model.fit(X)
        return perf_counter() - start


def best_matching(labels: Labels, truth: NDArray[np.str_]) -> tuple[float, tuple[str, ...]]:
    """Return (accuracy, name of each label) for the one-to-one naming that agrees with most
    rows."""
    kinds = np.unique(truth)
    best = max(
        permutations(kinds), key=lambda names: int((np.asarray(names)[labels] == truth).sum())
    )
    return float((np.asarray(best)[labels] == truth).mean()), best


def example() -> None:
    from ._mixture import GaussianMixture
    from .datasets import load_heights

    X, sex = load_heights()
    print(
        f"Heights of {len(X)} people (Davis 1990). Two Gaussians are fitted to the heights alone;\n"
        "the sex of each person is hidden from the fit, and used only to evaluate it.\n"
    )
    model = GaussianMixture(2, tol=1e-6, max_iter=2000, random_state=0)
    seconds = fit_model(model, X)
    print_components(model, ["height (cm)"])
    print_likelihood(model, len(X))
    print_summary(model, X)
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
    print_machine(seconds)


def _check_outputs(args: argparse.Namespace) -> None:
    """Check the names of the outputs before anything is computed."""
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


def _read(args: argparse.Namespace, most_components: int) -> Table:
    table = read_data(args.data, args.columns, how=_format(args))
    if args.dtype:
        with np.errstate(over="ignore"):  # the fit reports where a value became infinite
            table = table._replace(X=table.X.astype(args.dtype))
    if most_components > len(table.X):
        raise UsageError(f"-k {most_components}: there are only {len(table.X)} rows")
    return table


def fit_command(args: argparse.Namespace) -> None:
    from ._mixture import GaussianMixture

    _check_outputs(args)
    table = _read(args, args.components)
    model = GaussianMixture(
        args.components,
        covariance_type=args.covariance,
        init_params=args.init,
        n_init=args.n_init,
        random_state=args.seed,
        max_iter=args.max_iter,
        tol=args.tol,
        reg_covar=args.reg_covar,
    )
    with one_line_errors():
        seconds = fit_model(model, table.X)
    saved = _save(model, table, args)
    with printing():
        if args.json:
            print_json(as_json(model, table.X, table.names, seconds))
            return
        print(_title(args, table, f"{args.components} component(s), {args.covariance} covariance"))
        print_components(model, table.names)
        print_likelihood(model, len(table.X))
        print_summary(model, table.X)
        print_machine(seconds)
        print_saved(saved)


def select_command(args: argparse.Namespace) -> None:
    from ._select import select

    _check_outputs(args)
    table = _read(args, max(args.components))
    start = perf_counter()
    with one_line_errors(), _notes():
        selection = select(
            table.X,
            args.components,
            args.covariance,
            criterion=args.criterion,
            init_params=args.init,
            n_init=args.n_init,
            random_state=args.seed,
            max_iter=args.max_iter,
            tol=args.tol,
            reg_covar=args.reg_covar,
            progress=is_terminal(sys.stderr),
        )
        model = selection.best_
    seconds = perf_counter() - start
    saved = _save(model, table, args, selection)
    with printing():
        if args.json:
            best = as_json(model, table.X, table.names, seconds)
            print_json({**selection_as_json(selection), "best": best})
            return
        print(_title(args, table, f"{len(selection)} candidates"))
        print_selection(selection)
        print_components(model, table.names)
        print_summary(model, table.X)
        print_machine(seconds)
        print_saved(saved)


def _title(args: argparse.Namespace, table: Table, what: str) -> str:
    rows, columns = table.X.shape
    return f"{args.data}: {rows} rows, {columns} columns, {table.X.dtype}; {what}\n"


def print_saved(saved: list[tuple[str, str]]) -> None:
    for what, path in saved:
        print(f"{what:<7} -> {path}")


def _save(
    model: GaussianMixture,
    table: Table,
    args: argparse.Namespace,
    selection: Selection | None = None,
) -> list[tuple[str, str]]:
    """Write the requested files; return a description and the name of each."""
    X, names, saved = table.X, table.names, []
    if args.output:
        copied = copy(model)  # the rows are scored later as an array, which has no names
        if table.named:
            copied.feature_names_in_ = np.array(names, dtype=object)
        copied.save(args.output)
        saved.append(("model", args.output))
    if args.labels:
        probability = model.predict_proba(X)
        labels, largest = probability.argmax(axis=1), probability.max(axis=1)
        write_whole(args.labels, lambda file: write_labels(file, labels, largest, table.ids))
        saved.append(("labels", args.labels))
    if args.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 5), layout="constrained")
        if selection is None:
            from .plots import plot_mixture

            # a dollar sign is plain text
            columns = [name.replace("$", r"\$") for name in names]
            plot_mixture(model, X, ax=figure.add_subplot(), columns=columns)
        else:
            selection.plot(ax=figure.add_subplot())
        kind = args.plot.lower()[-3:]  # of the requested name, which may be a link
        write_whole(args.plot, lambda file: figure.savefig(file, format=kind, dpi=150))
        saved.append(("figure", args.plot))
    return saved


def _load_model(path: str) -> GaussianMixture | BayesianGaussianMixture:
    from ._bayesian import BayesianGaussianMixture
    from ._mixture import GaussianMixture

    check_file(path)
    with one_line_errors():
        kind = kind_of(path).removeprefix("fusedgmm.")
        if kind not in MODELS:
            raise UsageError(f"{path}: holds a {kind}, which cannot predict")
        model = GaussianMixture if kind == "GaussianMixture" else BayesianGaussianMixture
        return model.load(path)


def _columns_of_model(model: BaseMixture, path: str, columns: str | None, how: Format) -> Reals:
    """Return the rows of a file in the columns of the model, matched by name if both have names."""
    names_in = getattr(model, "feature_names_in_", None)
    fitted = None if names_in is None else [str(name) for name in names_in]
    n_features = int(np.shape(model.means_)[1])
    X, names, named, _ = read_data(path, columns, fitted, how)
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
    with printing():
        if args.output:
            print(f"{len(values)} rows -> {args.output}")
        else:
            write_csv(sys.stdout, header, values)
