"""EM for Gaussian mixtures in plain NumPy: the specification, and the reference for the tests.

Written to be read, not to be fast: it creates N x K and N x d temporaries throughout. The compiled
core must give the same numbers.

Model:  p(x) = sum_k pi_k N(x | mu_k, Sigma_k),  with K components in d dimensions.

  E-step  g_nk = pi_k N(x_n | mu_k, Sigma_k) / sum_j pi_j N(x_n | mu_j, Sigma_j)   [B 9.23]
  M-step  N_k = sum_n w_n g_nk                                                     [B 9.27]
          mu_k = sum_n w_n g_nk x_n / N_k                                          [B 9.24]
          Sigma_k = sum_n w_n g_nk (x_n - mu_k)(x_n - mu_k)^T / N_k                [B 9.25]
          pi_k = N_k / sum_j N_j                                                   [B 9.26]
  tied    Sigma = sum_k sum_n w_n g_nk (x_n - mu_k)(x_n - mu_k)^T / sum_k N_k      [MP 3.3]

w_n is the weight of row n (default 1): a row of weight 2 counts as two equal rows.

  Dempster, Laird & Rubin (1977), "Maximum likelihood from incomplete data via the EM algorithm",
      J. R. Statist. Soc. B 39, 1-38: the algorithm; the likelihood never decreases (Theorem 1).
  [B]  Bishop (2006), Pattern Recognition and Machine Learning, section 9.2.
  [MP] McLachlan & Peel (2000), Finite Mixture Models, chapter 3.

Shapes of covariances and precisions_cholesky, the same as scikit-learn's:
  full (K, d, d)    tied (d, d)    diag (K, d)    spherical (K,)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._typing import Floats

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


def _check_type(covariance_type: str) -> None:
    if covariance_type not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type is {covariance_type!r}; it must be one of {COVARIANCE_TYPES}"
        )


def precision_cholesky(covariances: ArrayLike, covariance_type: str) -> Floats:
    """Upper triangular U with U U^T = Sigma^-1; for diag and spherical 1 / standard deviation.

    With Sigma = L L^T, Sigma^-1 = L^-T L^-1, so U = L^-T.
    """
    _check_type(covariance_type)
    covariances = np.asarray(covariances, dtype=np.float64)
    if covariance_type in ("diag", "spherical"):
        if not np.all(covariances > 0):
            raise ValueError("a variance is not positive; increase reg_covar")
        scale: Floats = 1.0 / np.sqrt(covariances)
        return scale
    try:
        lower = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError as error:
        raise ValueError("a covariance is not positive definite; increase reg_covar") from error
    inverse: Floats = np.linalg.inv(lower)
    return np.triu(np.swapaxes(inverse, -1, -2))


def log_gaussian_density(
    X: ArrayLike, means: Floats, precisions_cholesky: Floats, covariance_type: str
) -> Floats:
    """log N(x_n | mu_k, Sigma_k), (N, K)  [B 2.43], from the differences x - mu.

    log N = -d/2 log(2 pi) + log det U - |(x - mu)^T U|^2 / 2
    """
    _check_type(covariance_type)
    X = np.asarray(X, dtype=np.float64)
    n, d = X.shape
    result = np.empty((n, len(means)))
    for k, mean in enumerate(means):
        difference = X - mean
        if covariance_type in ("full", "tied"):
            U = precisions_cholesky if covariance_type == "tied" else precisions_cholesky[k]
            z = difference @ U
            log_det = np.log(np.diagonal(U)).sum()
        else:
            scale = np.broadcast_to(precisions_cholesky[k], (d,))
            z = difference * scale
            log_det = np.log(scale).sum()
        result[:, k] = -0.5 * d * np.log(2 * np.pi) + log_det - 0.5 * (z**2).sum(axis=1)
    return result


def e_step(
    X: ArrayLike,
    weights: Floats,
    means: Floats,
    precisions_cholesky: Floats,
    covariance_type: str,
) -> tuple[Floats, Floats]:
    """(log p(x_n), (N,)) and (responsibilities g_nk, (N, K)).

    log-sum-exp: log sum_k exp(a_k) = m + log sum_k exp(a_k - m), m = max_k a_k, never overflows.
    """
    with np.errstate(divide="ignore"):  # a weight of zero gives log pi = -inf and g = 0
        joint = np.log(weights) + log_gaussian_density(
            X, means, precisions_cholesky, covariance_type
        )
    largest = joint.max(axis=1, keepdims=True)
    scaled = np.exp(joint - largest)
    total = scaled.sum(axis=1, keepdims=True)
    return (largest + np.log(total))[:, 0], scaled / total


def _weighted(responsibilities: ArrayLike, sample_weight: ArrayLike | None) -> Floats:
    g = np.asarray(responsibilities, dtype=np.float64)
    return g if sample_weight is None else g * np.asarray(sample_weight, dtype=np.float64)[:, None]


def _second_moments(X: Floats, g: Floats, centres: Floats, covariance_type: str) -> Floats:
    """sum_n g_nk (x_n - c_k)(x_n - c_k)^T, in the shape of the covariance type."""
    _check_type(covariance_type)
    differences = [X - centre for centre in centres]
    if covariance_type in ("full", "tied"):
        sums = np.stack([(g[:, k, None] * y).T @ y for k, y in enumerate(differences)])
        return sums.sum(axis=0) if covariance_type == "tied" else sums
    sums = np.stack([g[:, k] @ y**2 for k, y in enumerate(differences)])
    return sums.sum(axis=1) if covariance_type == "spherical" else sums


def statistics(
    X: ArrayLike,
    responsibilities: ArrayLike,
    shift: ArrayLike,
    sample_weight: ArrayLike | None = None,
    covariance_type: str = "full",
) -> dict[str, Floats]:
    """The sufficient statistics about shift (K, d); y = x_n - shift_k, g includes the row's weight.

    nk (K,) = sum g;  sx (K, d) = sum g y;  sxx = sum g y y^T: full (K, d, d); tied (d, d), summed
    over k; diag (K, d), its diagonal; spherical (K,), its trace.
    """
    X = np.asarray(X, dtype=np.float64)
    g = _weighted(responsibilities, sample_weight)
    shift = np.broadcast_to(np.asarray(shift, dtype=np.float64), (g.shape[1], X.shape[1]))
    return {
        "nk": g.sum(axis=0),
        "sx": np.stack([g[:, k] @ (X - shift[k]) for k in range(g.shape[1])]),
        "sxx": _second_moments(X, g, shift, covariance_type),
    }


def m_step(
    X: ArrayLike,
    responsibilities: ArrayLike,
    covariance_type: str,
    reg_covar: float,
    sample_weight: ArrayLike | None = None,
) -> tuple[Floats, Floats, Floats]:
    """weights, means, covariances that maximize the expected log-likelihood.

    reg_covar is added to every variance. As in scikit-learn, 10 eps is added to N_k, so that an
    empty component does not cause a division by zero.
    """
    X = np.asarray(X, dtype=np.float64)
    d = X.shape[1]
    g = _weighted(responsibilities, sample_weight)
    nk = g.sum(axis=0) + 10 * np.finfo(np.float64).eps
    centre = X.mean(axis=0)  # any fixed point near the data keeps the precision of the means
    means = centre + (g.T @ (X - centre)) / nk[:, None]
    scatter = _second_moments(X, g, means, covariance_type)
    if covariance_type == "full":
        covariances = scatter / nk[:, None, None] + reg_covar * np.eye(d)
    elif covariance_type == "tied":
        covariances = scatter / nk.sum() + reg_covar * np.eye(d)
    elif covariance_type == "diag":
        covariances = scatter / nk[:, None] + reg_covar
    else:
        covariances = scatter / (nk * d) + reg_covar
    return nk / nk.sum(), means, covariances


def fit(
    X: ArrayLike,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    covariance_type: str,
    tol: float,
    reg_covar: float,
    max_iter: int,
    sample_weight: Floats | None = None,
) -> tuple[Floats, Floats, Floats, list[float], bool]:
    """EM from the given start: (weights, means, covariances, lower_bounds, converged).

    lower_bounds[i] is the mean log-likelihood per row *before* M step i. Stopping rule, as in
    scikit-learn: stop after the M step of the first iteration whose bound changed by less than tol.
    """
    if sample_weight is not None:  # a row of weight zero takes no part, whatever its values
        X, sample_weight = np.asarray(X)[sample_weight > 0], sample_weight[sample_weight > 0]
    lower_bounds = []
    previous = -np.inf
    for _ in range(max_iter):
        factors = precision_cholesky(covariances, covariance_type)
        log_likelihood, g = e_step(X, weights, means, factors, covariance_type)
        weights, means, covariances = m_step(X, g, covariance_type, reg_covar, sample_weight)
        bound = float(np.average(log_likelihood, weights=sample_weight))
        lower_bounds.append(bound)
        if abs(bound - previous) < tol:
            return weights, means, covariances, lower_bounds, True
        previous = bound
    return weights, means, covariances, lower_bounds, False
