"""What the commands print about a mixture, as text or as JSON."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, _threads
from ._covariance import layout_of
from ._report import table_lines
from ._typing import Floats, Reals

if TYPE_CHECKING:
    from ._mixture import GaussianMixture
    from ._selection import Selection


def _deviations(model: GaussianMixture) -> Floats:
    layout = layout_of(model.covariance_type)
    return np.sqrt(layout.variances(model.covariances_, *np.shape(model.means_)))


def print_components(model: GaussianMixture, names: list[str], shown: int = 6) -> None:
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
    print("\n".join(table_lines(head, rows)))
    print("(mean ± standard deviation)")


def print_likelihood(model: GaussianMixture, n: int, at_most: int = 12) -> None:
    bounds = np.asarray(model.lower_bounds_) * n
    changes = ["", *(f"{change:.5f}" for change in np.diff(bounds))]
    rows = [
        [str(i), f"{bound:.4f}", change]
        for i, (bound, change) in enumerate(zip(bounds, changes, strict=True), 1)
    ]
    if len(rows) > at_most:
        rows[at_most // 2 : -(at_most // 2)] = [["...", "", ""]]
    print()
    print("\n".join(table_lines(["iteration", "log-likelihood", "change"], rows)))


def print_machine(seconds: float) -> None:
    print(
        f"\nfitted in {seconds:.3g} s with instruction set {_core.config()['instruction_set']}, "
        f"up to {_threads.resolve(None)} thread(s)"
    )


def print_summary(model: GaussianMixture, X: Reals) -> None:
    state = "converged" if model.converged_ else "NOT converged (raise --max-iter or --tol)"
    mean, n = model.score(X), len(X)  # only once: it reads all rows
    parameters = model._n_parameters()
    print(
        f"\n{state} after {model.n_iter_} iterations   "
        f"log-likelihood {mean * n:.4f}   "
        f"BIC {parameters * math.log(n) - 2 * mean * n:.2f}   "
        f"AIC {2 * parameters - 2 * mean * n:.2f}"
    )


def print_selection(selection: Selection) -> None:
    """Print the criterion of every candidate: a line for each number of components."""
    curves = selection.curves
    sizes = sorted({int(k) for numbers, _ in curves.values() for k in numbers})
    rows = []
    for size in sizes:
        cells = [str(size)]
        for numbers, values in curves.values():
            found = values[numbers == size]
            cells.append("-" if len(found) == 0 or math.isnan(found[0]) else f"{found[0]:.4f}")
        rows.append(cells)
    print("\n".join(table_lines(["components", *curves], rows)))
    print(f"\n{selection!r}\n")


def as_json(
    model: GaussianMixture, X: Reals, names: list[str], seconds: float
) -> dict[str, object]:
    """Return what a fit has found, ready for `print_json`."""
    mean, n = model.score(X), len(X)
    parameters = model._n_parameters()
    return {
        "n_rows": n,
        "columns": names,
        "dtype": str(X.dtype),
        "n_components": len(model.weights_),
        "covariance_type": model.covariance_type,
        "converged": model.converged_,
        "n_iter": model.n_iter_,
        "log_likelihood": mean * n,
        "n_parameters": parameters,
        "bic": parameters * math.log(n) - 2 * mean * n,
        "aic": 2 * parameters - 2 * mean * n,
        "weights": model.weights_.tolist(),
        "means": model.means_.tolist(),
        "covariances": model.covariances_.tolist(),
        "seconds": seconds,
    }


def selection_as_json(selection: Selection) -> dict[str, object]:
    """Return all candidates, ready for `print_json`."""
    rows = [{**row._asdict(), "status": row.status.name.lower()} for row in selection.table]
    return {"criterion": selection.criterion, "candidates": rows}


def print_json(content: dict[str, object]) -> None:
    """Print one JSON object; NaN becomes null."""
    print(json.dumps(_without_nan(content), ensure_ascii=False, indent=1))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
