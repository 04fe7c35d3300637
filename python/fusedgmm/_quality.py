"""How well components are separated: overlap, thresholds, comparison with true classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._alignment import assignment
from ._covariance import layout_of
from ._estimator import check_fitted
from ._report import table_lines
from ._typing import Floats, Labels

if TYPE_CHECKING:
    from ._fitted import FittedMixture

# ---- overlap ----


def overlap(model: FittedMixture) -> Floats:
    """Return how much each pair of components overlaps, from 0 (not at all) to 1 (identical).

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A fitted model.

    Returns
    -------
    overlap : array of shape (n_components, n_components), float64
        Symmetric, with ones on the diagonal.

    Raises
    ------
    NotFittedError
        The model has not been fitted.

    Notes
    -----
    The Bhattacharyya coefficient of the components' densities, the integral of sqrt(f_i f_j) [1]_;
    weights do not matter. Rows from components i and j, of equal weight, are assigned to the
    wrong one of the two with a probability of at most half of it. Two components of equal variance
    whose means are 4 standard deviations apart have 0.14.

    References
    ----------
    .. [1] Kailath (1967), "The divergence and Bhattacharyya distance measures in signal selection",
       IEEE Trans. Commun. Technol. 15, 52-60.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture, MixtureParameters, overlap
    >>> parameters = MixtureParameters.from_covariances(
    ...     [0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical"
    ... )
    >>> overlap(GaussianMixture.from_parameters(parameters)).round(2).tolist()
    [[1.0, 0.14], [0.14, 1.0]]
    """
    check_fitted(model, "means_", "covariances_")
    means = np.asarray(model.means_, dtype=np.float64)
    n_components, d = means.shape
    layout = layout_of(model.covariance_type)
    covariances = np.asarray(model.covariances_, dtype=np.float64)
    each = layout.each(covariances, n_components)
    if not layout.has_matrices:
        each = layout.variances(covariances, n_components, d)
    logs = np.empty((n_components, n_components))
    for k in range(n_components):
        moved, between = means - means[k], 0.5 * (each + each[k])
        if layout.has_matrices:
            roots = np.linalg.cholesky(between)
            distance = (np.linalg.solve(roots, moved[:, :, None]) ** 2).sum(axis=(1, 2))
            determinants = 2.0 * np.log(layout.diagonals(roots)).sum(axis=1)
        else:
            distance = (moved**2 / between).sum(axis=1)
            determinants = np.log(between).sum(axis=1)
        logs[k] = -0.125 * distance - 0.5 * determinants
    own = np.diag(logs)  # minus half the logarithm of each determinant
    return np.minimum(np.exp(logs - 0.5 * (own[:, None] + own)), 1.0)  # not above by rounding


# ---- thresholds ----


class Crossings(NamedTuple):
    """Where the most probable component changes, on one feature; from `crossings`.

    Attributes
    ----------
    thresholds : array of shape (m,), float64
        In increasing order.
    components : array of shape (m + 1,), int64
        The most probable component below, between and above the thresholds.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import GaussianMixture, MixtureParameters, crossings
    >>> parameters = MixtureParameters.from_covariances(
    ...     [0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical"
    ... )
    >>> found = crossings(GaussianMixture.from_parameters(parameters))
    >>> found
    Crossings(thresholds=array([2.]), components=array([0, 1]))
    >>> found.components[np.searchsorted(found.thresholds, [1.0, 3.0])].tolist()  # as predict
    [0, 1]
    """

    thresholds: Floats
    components: Labels


def crossings(model: FittedMixture) -> Crossings:
    """Return the thresholds between the components of a mixture of one feature.

    Parameters
    ----------
    model : GaussianMixture or BayesianGaussianMixture
        A model fitted to one feature.

    Returns
    -------
    crossings : (thresholds, components)
        `thresholds`, of shape (m,), are the values at which the most probable component changes,
        in increasing order. `components`, of shape (m + 1,), are the most probable components
        below the first threshold, between two, and above the last. A component can occur more than
        once (a wide one on both sides of a narrow one) or not at all.

    Raises
    ------
    NotFittedError
        The model has not been fitted.
    ValueError
        The model has several features.

    Notes
    -----
    The thresholds are roots of quadratics, log w_i N_i(x) = log w_j N_j(x), computed about a mean
    and in standard deviations, so that they are exact to rounding also far from zero.

    Examples
    --------
    >>> from fusedgmm import GaussianMixture, crossings
    >>> from fusedgmm.datasets import load_heights
    >>> X, sex = load_heights()
    >>> model = GaussianMixture(2, tol=1e-6, max_iter=2000, random_state=0).fit(X)
    >>> thresholds, components = crossings(model)
    >>> print(thresholds.round(1), components)
    [ 41.9 172.5] [1 0 1]
    """
    check_fitted(model, "means_", "precisions_cholesky_")
    n_features = np.shape(model.means_)[1]
    if n_features != 1:
        raise ValueError(f"crossings needs a mixture of one feature, this one has {n_features}")
    density = model._as_prepared().density
    factors = layout_of(model.covariance_type).each(density.factors, len(density.means))
    return envelope(density.weights, density.means[:, 0], factors.reshape(len(density.means)))


def envelope(weights: Floats, means: Floats, factors: Floats) -> Crossings:
    """Return the thresholds, given one over the standard deviation of each component.

    From left to right along the upper envelope of the parabolas log w_k N_k: from the component on
    top, go to the nearest place where another one rises above it. Two parabolas cross at most
    twice, so each pair has at most one such place, and at most 2 K - 1 pieces are visited.
    """
    kept = np.flatnonzero(weights > 0.0)
    means, factors = means[kept], factors[kept]
    heights = np.log(weights[kept]) + np.log(factors)
    # one of the widest is on top at minus infinity; the first steps, of length zero, lead to it
    top = int(np.argmin(factors))
    at, thresholds, components = -math.inf, list[float](), [top]
    visited = {top}  # at this place, where rounding could lead around in a circle
    while True:
        rises, falls = _above(top, means, factors, heights)
        rises = np.where(falls > at, np.maximum(rises, at), math.inf)
        rises[[i for i in visited if rises[i] <= at]] = math.inf
        rises[top] = math.inf
        # of those that rise at the same place, the one that is on top for longest
        nearest = np.lexsort((-falls, rises))[0]
        if rises[nearest] == math.inf:
            break
        if rises[nearest] > at:
            at, visited = float(rises[nearest]), {top}
            thresholds.append(at)
            components.append(int(nearest))
        else:
            components[-1] = int(nearest)
        top = int(nearest)
        visited.add(top)
    return Crossings(np.array(thresholds, dtype=np.float64), kept[components].astype(np.int64))


def _above(k: int, means: Floats, factors: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Return where each parabola rises above parabola k, and where it falls below it again."""
    # in standard deviations of k from its mean, f_i - f_k = a t^2 + b t + c
    step = (means - means[k]) * factors[k]
    ratio = (factors / factors[k]) ** 2
    a = 0.5 * (1.0 - ratio)
    b = ratio * step
    higher = heights - heights[k]
    c = higher - 0.5 * ratio * step**2
    # b^2 - 4 a c, in which the large terms have been cancelled
    discriminant = ratio * step**2 - 2.0 * (1.0 - ratio) * higher
    with np.errstate(divide="ignore", invalid="ignore"):
        q = -0.5 * (b + np.copysign(np.sqrt(discriminant), b))
        roots = np.stack([q / a, c / q])  # without cancellation
        left, right = roots.min(axis=0), roots.max(axis=0)
    cross, level = discriminant > 0.0, a == 0.0
    line = roots[1]  # of two components with the same variance
    higher = ~cross & ((a > 0.0) | (level & (c > 0.0)))  # everywhere
    choices = [higher, ~cross, level & (b > 0.0), level, a > 0.0]
    rises = np.select(choices, [-math.inf, math.inf, line, -math.inf, right], left)
    falls = np.select(choices, [math.inf, -math.inf, math.inf, line, math.inf], right)
    return means[k] + rises / factors[k], means[k] + falls / factors[k]


# ---- comparison with true classes ----


@dataclass(frozen=True, eq=False, repr=False)
class ClassificationTable:
    """How many rows of each true class are in each component, from `classification_table`.

    The columns are ordered so that matching classes and components are on the diagonal.

    Attributes
    ----------
    classes : array of shape (n_classes,)
        The true classes: the matched ones in sorted order, then the others.
    components : array of shape (n_components,), int64
        The components: those matched to the classes, in their order, then the others.
    counts : array of shape (n_classes, n_components), int64

    Examples
    --------
    >>> from fusedgmm import GaussianMixture, classification_table
    >>> from fusedgmm.datasets import load_iris
    >>> X, species = load_iris()
    >>> table = classification_table(species, GaussianMixture(3, random_state=0).fit_predict(X))
    >>> table
         class  component 1  component 0  component 2
        setosa           50            0            0
    versicolor            0           45            5
     virginica            0            0           50
    accuracy 0.967, adjusted Rand index 0.904
    """

    classes: NDArray[np.generic]
    components: Labels
    counts: Labels

    @property
    def accuracy(self) -> float:
        """The share of rows on the diagonal: those whose component is matched to their class."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def adjusted_rand_index(self) -> float:
        """The agreement of the two partitions, corrected for chance: 1 if they are equal, about 0
        if they are independent (Hubert & Arabie, 1985, "Comparing partitions", J. Classification
        2, 193-218). It does not depend on the matching."""
        cells, rows, columns = (
            _pairs(counts)
            for counts in (self.counts, self.counts.sum(axis=1), self.counts.sum(axis=0))
        )
        total = _pairs(self.counts.sum())
        if rows + columns in (0, 2 * total):  # all rows alone, or all together, in both
            return 1.0
        expected = rows * columns / total
        return (cells - expected) / (0.5 * (rows + columns) - expected)

    @property
    def matched(self) -> dict[int, object]:
        """The class matched to each component that has one."""
        pairs = zip(self.components.tolist(), self.classes.tolist(), strict=False)
        return dict(pairs)

    def __repr__(self) -> str:
        head = ["class", *(f"component {k}" for k in self.components)]
        rows = [
            [str(name), *map(str, row)] for name, row in zip(self.classes, self.counts, strict=True)
        ]
        last = f"accuracy {self.accuracy:.3f}, adjusted Rand index {self.adjusted_rand_index:.3f}"
        return "\n".join([*table_lines(head, rows), last])


def _pairs(counts: NDArray[np.int64]) -> int:
    return sum(n * (n - 1) // 2 for n in np.ravel(counts).tolist())


def classification_table(y_true: ArrayLike, labels: ArrayLike) -> ClassificationTable:
    """Compare the components of rows with their true classes, matched one to one.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The true class of each row: numbers, strings or other labels that can be sorted.
    labels : array-like of int of shape (n_samples,)
        The component of each row, from `predict`.

    Returns
    -------
    ClassificationTable

    Raises
    ------
    TypeError
        The classes cannot be sorted.
    ValueError
        The arrays are empty, or their shapes differ, or labels are not components.

    Notes
    -----
    The matching has the most rows on the diagonal (a linear assignment problem). With more
    components than classes, or more classes than components, some remain without a partner.

    Examples
    --------
    >>> from fusedgmm import classification_table
    >>> table = classification_table(["F", "M", "M", "M"], [1, 0, 0, 1])
    >>> table.accuracy, table.matched
    (0.75, {1: 'F', 0: 'M'})
    """
    truth, found = np.asarray(y_true), np.asarray(labels)
    if truth.ndim != 1 or truth.shape != found.shape or not len(truth):
        raise ValueError(
            f"y_true and labels need one entry per row; got shapes {truth.shape} and {found.shape}"
        )
    if found.dtype.kind not in "iu" or found.min() < 0:
        raise ValueError(
            "labels must be the numbers of components, from predict; got dtype "
            f"{found.dtype}, smallest {found.min()}"
        )
    classes, row = np.unique(truth, return_inverse=True)
    counts = np.zeros((len(classes), int(found.max()) + 1), dtype=np.int64)
    np.add.at(counts, (row, found), 1)
    wide = counts if counts.shape[0] <= counts.shape[1] else counts.T
    partner = assignment(-wide.astype(np.float64))
    short, long = np.arange(len(partner)), np.r_[partner, _others(partner, wide.shape[1])]
    at_rows, at_columns = (short, long) if wide is counts else (long, short)
    if wide is not counts:  # the matched classes in sorted order
        order = np.argsort(partner)
        at_rows[: len(order)], at_columns = partner[order], order
    return ClassificationTable(classes[at_rows], at_columns, counts[np.ix_(at_rows, at_columns)])


def _others(taken: Labels, count: int) -> Labels:
    return np.setdiff1d(np.arange(count), taken)
