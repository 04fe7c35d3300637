"""What the bootstrap and the likelihood ratio test share: random rows, and many fits in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ._covariance import layout_of
from ._fits import BatchStatus
from ._mixture import GaussianMixture
from ._typing import Floats, Reals
from ._validation import as_nonnegative, check_finite

_NUMBERS = 1 << 23  # in the random arrays of one part


def parts(n_replicates: int, n_numbers: int) -> Iterator[int]:
    """Yield the sizes of parts of `n_replicates` whose arrays, of `n_numbers` per replicate, fit
    comfortably into memory. Each replicate is drawn on its own, so the parts do not affect it."""
    size = max(1, _NUMBERS // max(1, n_numbers))
    for begin in range(0, n_replicates, size):
        yield min(size, n_replicates - begin)


def of_all(
    progress: bool | Callable[[int, int], object], before: int, total: int
) -> bool | Callable[[int, int], object]:
    """Return the progress of one of several calls of `fit_batch`, of the total."""
    return (lambda done, _: progress(before + done, total)) if callable(progress) else progress


def usable(status: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which fits have a mixture that lost no component and was not repaired."""
    return np.isin(status, (BatchStatus.CONVERGED, BatchStatus.NOT_CONVERGED))


def as_tolerance(tol: float | None, n_rows: int) -> float:
    """Return the tolerance of fits that are compared with each other.

    None: the log-likelihood of all rows changes by less than 1e-5 nats. EM is slow where components
    overlap: with 0.01 instead, standard errors were found to be a fifth too small. The mean over
    the rows has too few digits for less than 1e-12, even in float64.
    """
    return max(1e-5 / n_rows, 1e-12) if tol is None else as_nonnegative(tol, "tol")


def as_rows(X: Reals) -> Floats:
    """Return checked rows as float64, which such a tolerance needs."""
    check_finite(X)
    return X.astype(np.float64, copy=False)


def sampler(
    model: GaussianMixture, n_rows: int, random: np.random.Generator
) -> Callable[[int], Floats]:
    """Return a function that draws the rows of so many replicates from a fitted model.

    The rows are sorted by component.
    """
    n_components, d = np.shape(model.means_)
    weights = np.asarray(model.weights_, dtype=np.float64)
    means = np.asarray(model.means_, dtype=np.float64)
    layout = layout_of(model.covariance_type)
    factors = layout.each(np.asarray(model.precisions_cholesky_, dtype=np.float64), n_components)
    # (U U^T)^-1 = R^T R with R = U^-1, so rows z R have this covariance
    roots = np.linalg.inv(factors) if layout.has_matrices else 1.0 / factors

    def draw(count: int) -> Floats:
        rows = np.empty((count, n_rows, d))
        for replicate in rows:
            begin = 0
            noise = random.standard_normal((n_rows, d))
            for k, size in enumerate(random.multinomial(n_rows, weights)):
                z = noise[begin : begin + size]
                spread = z @ roots[k] if layout.has_matrices else z * roots[k]
                replicate[begin : begin + size] = means[k] + spread
                begin += size
        return rows

    return draw
