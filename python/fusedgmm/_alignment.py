"""The best one-to-one naming of components: of two mixtures, or of labels and true classes."""

from __future__ import annotations

import numpy as np

from ._covariance import layout_of
from ._typing import Floats, Labels


def assignment(cost: Floats) -> Labels:
    """Return the column of each row that minimizes the total cost, each column at most once.

    Parameters
    ----------
    cost : array of shape (n, m), n <= m

    Returns
    -------
    columns : array of shape (n,), int64

    Notes
    -----
    The Hungarian method with shortest augmenting paths, in O(n^2 m) [1]_: a row at a time joins the
    matching along the path of least reduced cost, and the dual variables keep reduced costs
    non-negative.

    References
    ----------
    .. [1] Jonker & Volgenant (1987), "A shortest augmenting path algorithm for dense and sparse
       linear assignment problems", Computing 38, 325-340.
    """
    n, m = cost.shape
    of_row, of_column = np.zeros(n), np.zeros(m)  # dual variables
    row_of = np.full(m, -1)  # the row matched to each column
    for start in range(n):
        distance, before = np.full(m, np.inf), np.full(m, -1)
        done = np.zeros(m, dtype=bool)
        row, column, shortest = start, -1, 0.0
        while row >= 0:
            through = shortest + cost[row] - of_row[row] - of_column
            closer = ~done & (through < distance)
            distance[closer], before[closer] = through[closer], column
            column = int(np.where(done, np.inf, distance).argmin())
            done[column], shortest, row = True, distance[column], row_of[column]
        of_row[start] += shortest
        reached = done & (row_of >= 0)
        of_row[row_of[reached]] += shortest - distance[reached]
        of_column[done] -= shortest - distance[done]
        while column >= 0:  # shift the matching along the path
            row_of[column] = start if before[column] < 0 else row_of[before[column]]
            column = int(before[column])
    columns = np.empty(n, dtype=np.int64)
    taken = np.flatnonzero(row_of >= 0)
    columns[row_of[taken]] = taken
    return columns


def alignments(
    covariance_type: str,
    mixture: tuple[Floats, Floats, Floats],
    others: tuple[Floats, Floats, Floats],
) -> Labels:
    """Return, for each of P other mixtures, its component that corresponds to each component of
    this one.

    Parameters
    ----------
    mixture : (weights, means, precisions_cholesky)
        This mixture, with K components of positive weight.
    others : (weights, means, precisions_cholesky)
        The other mixtures, with a leading axis of length P.

    Returns
    -------
    components : array of shape (P, K), int64

    Notes
    -----
    Of all one-to-one namings s, the one that minimizes the Kullback-Leibler divergence between the
    joint distributions of component and row, sum_k w_k [log(w_k / v_s(k)) + KL(N_k || N_s(k))].
    Unlike the distance of the means it also tells apart components with the same mean, and a small
    component counts little.
    """
    weights, means, own = mixture
    their_weights, their_means, factors = others
    n_components, d = means.shape
    layout = layout_of(covariance_type)
    own = layout.each(own, n_components)
    if layout.has_matrices:
        factors = factors[:, None] if layout.shared else factors
        # of the covariances: transposed roots, since (U U^T)^-1 = (U^-1)^T U^-1
        own_roots, own_diagonals = np.linalg.inv(own), layout.diagonals(own)
        diagonals = layout.diagonals(factors)
    else:
        own_diagonals = np.broadcast_to(own.reshape(n_components, -1), means.shape)
        factors = np.broadcast_to(factors.reshape(*factors.shape[:2], -1), their_means.shape)
        own_roots, diagonals = 1.0 / own_diagonals, factors
    log_roots = np.log(diagonals).sum(axis=-1)  # of the determinants of the precisions
    cost = np.empty((*their_weights.shape, n_components))
    for k in range(n_components):
        moved = their_means - means[k]
        if layout.has_matrices:
            distance = ((moved[:, :, None] @ factors) ** 2).sum(axis=(-1, -2))
            trace = ((own_roots[k] @ factors) ** 2).sum(axis=(-1, -2))
        else:
            distance = ((moved * factors) ** 2).sum(axis=-1)
            trace = ((own_roots[k] * factors) ** 2).sum(axis=-1)
        logs = np.log(own_diagonals[k]).sum() - log_roots
        divergence = 0.5 * (distance + trace - d) + logs
        cost[:, k] = weights[k] * (np.log(weights[k] / their_weights) + divergence)
    best: Labels = cost.argmin(axis=2)
    clear = (np.sort(best, axis=1) == np.arange(n_components)).all(axis=1)
    for i in np.flatnonzero(~clear):  # two components have the same nearest one
        best[i] = assignment(cost[i])
    return best
