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
  [VR] Varadhan & Roland (2008), "Simple and globally convergent methods for accelerating the
      convergence of any EM algorithm", Scand. J. Statist. 35, 335-353: SQUAREM, scheme S3.

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


def coordinates(
    weights: Floats, means: Floats, covariances: Floats, covariance_type: str
) -> Floats:
    """The parameters as a vector without constraints, in which `fit_squarem` extrapolates.

    log pi_k, mu_k, and of each Sigma = L L^T the lower triangular L, with the logarithm of its
    diagonal; for diag and spherical the logarithm of the standard deviation.
    """
    _check_type(covariance_type)
    roots: Floats
    if covariance_type in ("diag", "spherical"):
        roots = 0.5 * np.log(covariances)
    else:
        roots = np.asarray(np.linalg.cholesky(covariances), dtype=np.float64)
        diagonal = np.arange(roots.shape[-1])
        roots[..., diagonal, diagonal] = np.log(roots[..., diagonal, diagonal])
    return np.concatenate([np.log(weights), means.ravel(), roots.ravel()])


def _split(x: Floats, n_components: int, n_features: int, covariance_type: str) -> list[Floats]:
    """The three parts of coordinates, or of their differences, in the shapes of the parameters."""
    K, d = n_components, n_features
    shapes = {"full": (K, d, d), "tied": (d, d), "diag": (K, d), "spherical": (K,)}
    parts = np.split(x, [K, K + K * d])
    return [parts[0], parts[1].reshape(K, d), parts[2].reshape(shapes[covariance_type])]


def from_coordinates(
    x: Floats, n_components: int, n_features: int, covariance_type: str
) -> tuple[Floats, Floats, Floats]:
    """The inverse of `coordinates`; the weights are normalised."""
    log_weights, means, roots = _split(x, n_components, n_features, covariance_type)
    weights = np.exp(log_weights - log_weights.max())
    if covariance_type in ("diag", "spherical"):
        covariances = np.exp(2 * roots)
    else:
        diagonal = np.arange(n_features)
        lower = roots.copy()
        lower[..., diagonal, diagonal] = np.exp(roots[..., diagonal, diagonal])
        covariances = lower @ np.swapaxes(lower, -1, -2)
    return weights / weights.sum(), means, covariances


def squared_norm(
    change: Floats,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    covariance_type: str,
) -> float:
    """|D|^2 for a small change D of the coordinates of a mixture: its information metric, as if the
    component of every row were known.

    sum_k pi_k ((dlog pi_k - m)^2 + |L_k^-1 dmu_k|^2 + |L_k^-1 dSigma_k L_k^-T|_F^2 / 2), where m is
    the mean of dlog pi. With A = L^-1 dL, L^-1 dSigma L^-T = A + A^T. tied: Sigma has weight 1.
    """
    K, d = means.shape
    dlog, dmeans, droots = _split(change, K, d, covariance_type)
    total = float(weights @ (dlog - weights @ dlog) ** 2)
    if covariance_type in ("diag", "spherical"):
        deviations = np.sqrt(covariances).reshape(K, -1)
        of_covariance = 2 * (droots.reshape(K, -1) ** 2).sum(axis=1) * d / deviations.shape[1]
        of_mean = ((dmeans / deviations) ** 2).sum(axis=1)
        return total + float(weights @ (of_mean + of_covariance))
    lower = np.linalg.cholesky(covariances)
    diagonal = np.arange(d)
    dlower = droots.copy()
    dlower[..., diagonal, diagonal] *= lower[..., diagonal, diagonal]
    A = np.linalg.solve(lower, dlower)
    of_covariance = ((A + np.swapaxes(A, -1, -2)) ** 2).sum(axis=(-1, -2)) / 2
    z = np.linalg.solve(lower, dmeans[:, :, None])[..., 0]
    of_mean = weights @ (z**2).sum(axis=1)
    return total + float(of_mean + (of_covariance if lower.ndim == 2 else weights @ of_covariance))


def fit_squarem(
    X: ArrayLike,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    covariance_type: str,
    tol: float,
    reg_covar: float,
    max_iter: int,
) -> tuple[Floats, Floats, Floats, list[float], bool, int]:
    """EM accelerated by extrapolation [VR]: the results of `fit`, and the number of passes.

    From two EM steps x0 -> x1 -> x2, with r = x1 - x0 and v = x2 - 2 x1 + x0, try the mixture at
    x0 + 2 a r + a^2 v with a = |r| / |v|, at most a limit. If the likelihood there is no lower than
    at x1, the EM step from there is the next iterate; otherwise that pass was in vain and x2 is.
    lower_bounds holds the bounds of the iterates and of the accepted trials. A step from a trial
    does not end the fit: an extrapolation that gains little does not show that EM does.
    """
    K, d = means.shape

    def step(
        theta: tuple[Floats, Floats, Floats],
    ) -> tuple[tuple[Floats, Floats, Floats], float]:
        factors = precision_cholesky(theta[2], covariance_type)
        log_likelihood, g = e_step(X, theta[0], theta[1], factors, covariance_type)
        return m_step(X, g, covariance_type, reg_covar), float(log_likelihood.mean())

    theta, trial, limit, n_passes = (weights, means, covariances), None, 4.0, 0
    cycle: list[tuple[Floats, Floats, Floats]] = []  # the iterates of this cycle
    length = 0.0
    bounds: list[float] = []
    while len(bounds) < max_iter:
        following, bound = step(theta if trial is None else trial)
        n_passes += 1
        is_jump = trial is not None
        if trial is not None:
            accepted = bound >= bounds[-1]
            if not accepted:
                limit = max(length / 20, 2.0)
            elif length == limit:
                limit *= 20
            trial = None
            if not accepted:
                continue
        else:
            cycle.append(theta)
            if len(cycle) == 2:
                x0, x1, x2 = (coordinates(*t, covariance_type) for t in (*cycle, following))
                r, v = x1 - x0, x2 - 2 * x1 + x0
                ratio = np.sqrt(
                    squared_norm(r, *cycle[1], covariance_type)
                    / squared_norm(v, *cycle[1], covariance_type)
                )
                length = min(float(ratio), limit)
                if length > 1.0001:
                    x = x0 + 2 * length * r + length**2 * v
                    trial = from_coordinates(x, K, d, covariance_type)
                cycle = []
        theta = following
        bounds.append(bound)
        if len(bounds) > 1 and not is_jump and abs(bound - bounds[-2]) < tol:
            return *theta, bounds, True, n_passes
    return *theta, bounds, False, n_passes
