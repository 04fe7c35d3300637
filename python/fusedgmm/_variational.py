"""The variational posterior of a Bayesian mixture: its update and its lower bound, computed from
sums.

Bishop (2006), "Pattern Recognition and Machine Learning", section 10.2; for the Dirichlet process,
the truncated stick-breaking representation (Blei & Jordan 2006, "Variational inference for
Dirichlet process mixtures", Bayesian Analysis 1, 121-144). The priors for the types "tied" and
"diag" are those of scikit-learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ._covariance import layout_of
from ._typing import CovarianceType, Floats

ConcentrationType: TypeAlias = Literal["dirichlet_process", "dirichlet_distribution"]
# Dirichlet process: the two parameters of each stick's beta distribution; else those of the
# Dirichlet.
Concentration: TypeAlias = tuple[Floats, Floats] | Floats


def _log_gamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except OverflowError:  # huge sample weights, such as 1e305
        return math.inf


_FLOAT_KEEPS = 3e3  # variance times precision of a feature, at most
_lgamma = np.vectorize(_log_gamma, otypes=[np.float64])


def digamma(x: Floats) -> Floats:
    """The derivative of log gamma, for positive x: Abramowitz & Stegun (1964), 6.3.5 and 6.3.18."""
    x = np.array(x, dtype=np.float64)
    result = np.zeros_like(x)
    while (small := x < 10).any():
        result[small] -= 1 / x[small]
        x[small] += 1
    z = (1 / x) ** 2
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132)))))
    return result + np.log(x) - 0.5 / x - series


@dataclass(frozen=True)
class Prior:
    """The parameters of the prior; shapes as in `BayesianGaussianMixture`."""

    concentration_type: ConcentrationType
    concentration: float
    mean_precision: float
    mean: Floats
    degrees_of_freedom: float
    covariance: Floats


@dataclass(frozen=True)
class CentredSums:
    """The sums of a pass over the rows: N_k, the means, and the scatter about them (tied: summed
    over the components), in the shape of the covariances."""

    nk: Floats
    means: Floats
    scatter: Floats


@dataclass(frozen=True)
class Posterior:
    """The parameters of the variational distribution; covariances are expected values."""

    covariance_type: CovarianceType
    concentration: Concentration
    mean_precision: Floats
    means: Floats
    degrees_of_freedom: Floats
    covariances: Floats
    precisions_cholesky: Floats

    @classmethod
    def update(
        cls, prior: Prior, sums: CentredSums, covariance_type: CovarianceType, reg_covar: float
    ) -> Posterior:
        """The M step: Bishop, equations 10.58 and 10.60 to 10.63."""
        nk, K = sums.nk, len(sums.nk)
        if prior.concentration_type == "dirichlet_process":
            behind = np.concatenate((np.cumsum(nk[:0:-1])[::-1], [0.0]))
            concentration: Concentration = (1 + nk, prior.concentration + behind)
        else:
            concentration = prior.concentration + nk
        precision = prior.mean_precision + nk
        away = sums.means - prior.mean
        means = sums.means - (prior.mean_precision / precision)[:, None] * away
        share = prior.mean_precision * nk / precision
        layout = layout_of(covariance_type)
        freedom = np.asarray(prior.degrees_of_freedom + (nk.sum() / K if layout.shared else nk))
        scatter = layout.with_prior(prior.covariance, sums.scatter, nk, reg_covar, share, away)
        covariances = scatter / layout.per_component(freedom)
        return cls(
            covariance_type,
            concentration,
            precision,
            means,
            freedom,
            covariances,
            layout.factors_of_covariances(covariances),
        )

    def weights(self) -> Floats:
        """The expected weights, summing to one."""
        if isinstance(self.concentration, tuple):
            a, b = self.concentration
            left = np.concatenate(([1.0], np.cumprod((b / (a + b))[:-1])))
            weights: Floats = a / (a + b) * left
        else:
            weights = self.concentration
        return np.asarray(weights / weights.sum())

    def expected_log_weights(self) -> Floats:
        """Bishop, equation 10.66; for the process, Blei & Jordan, section 3."""
        if isinstance(self.concentration, tuple):
            a, b = self.concentration
            both = digamma(a + b)
            left = np.concatenate(([0.0], np.cumsum(digamma(b) - both)[:-1]))
            return np.asarray(digamma(a) - both + left)
        total = digamma(np.asarray(self.concentration.sum()))
        return np.asarray(digamma(self.concentration) - total)

    def log_scale(self) -> Floats:
        """The term that the expectation adds to log(weight) + log N(x | means, covariances):
        Bishop, 10.64 and 10.65, without the log-determinant, which the Gaussian contains."""
        d = self.means.shape[1]
        freedom = np.broadcast_to(self.degrees_of_freedom, len(self.means))
        halves = 0.5 * (freedom[:, None] - np.arange(d))
        log_lambda = d * math.log(2.0) + digamma(halves).sum(axis=1)
        expected = log_lambda - d / self.mean_precision - d * np.log(freedom)
        return np.asarray(0.5 * expected)

    def log_determinants(self) -> Floats:
        """The log-determinants of the factors U, one per component."""
        return layout_of(self.covariance_type).log_determinants(
            self.precisions_cholesky, *self.means.shape
        )

    def needs_double(self) -> bool:
        """Whether float32 sums keep too few digits of a covariance that is narrow in some
        direction.

        A fit by maximum likelihood bears ten times as much, see src/arithmetic.c: its bound comes
        from the rows, near the maximum. Here it comes from the sums too, and its error per row is
        about eps times variance times precision."""
        layout = layout_of(self.covariance_type)
        if not layout.has_matrices:
            return False
        variances = layout.diagonals(self.covariances)
        if layout.shared:  # distances are computed from whitened samples and whitened means
            weights = self.weights()
            variances = variances + weights @ (self.means - weights @ self.means) ** 2
        precisions = (self.precisions_cholesky**2).sum(axis=-1)
        return not bool((variances * precisions <= _FLOAT_KEEPS).all())

    def density(self) -> tuple[Floats, Floats, Floats, float]:
        """The Gaussian mixture with the same responsibilities: weights that sum to one, means,
        factors of the precisions; and the logarithm of the constant by which the weights were
        divided."""
        log_weights = self.expected_log_weights() + self.log_scale()
        top = log_weights.max()
        total = float(top + np.log(np.exp(log_weights - top).sum()))
        return np.exp(log_weights - total), self.means, self.precisions_cholesky, total

    def expected_log_density(self, sums: CentredSums, weights: Floats) -> float:
        """The sum over rows and components of responsibility times (log(weight) + log N(x | ...)),
        computed from the sums of these responsibilities. The log-likelihood minus this is their
        entropy."""
        nk, d = sums.nk, self.means.shape[1]
        some = weights > 0  # a component of weight zero has no responsibilities
        constant = self.log_determinants()[some] - 0.5 * d * math.log(2 * math.pi)
        linear = float((nk[some] * (np.log(weights[some]) + constant)).sum())
        square = layout_of(self.covariance_type).squared_distances(
            self.precisions_cholesky, sums.scatter, nk, sums.means - self.means
        )
        return linear - 0.5 * square

    def lower_bound(self, entropy: float) -> float:
        """The variational lower bound up to a constant, given the entropy of the responsibilities
        and directly after an M step: Bishop, 10.70 to 10.77."""
        K, d = self.means.shape
        freedom = np.broadcast_to(self.degrees_of_freedom, K)
        log_det = self.log_determinants() - 0.5 * d * np.log(freedom)
        halves = 0.5 * (freedom[:, None] - np.arange(d))
        log_wishart = -(
            freedom * log_det + freedom * d * 0.5 * math.log(2.0) + _lgamma(halves).sum(axis=1)
        )
        if isinstance(self.concentration, tuple):
            a, b = self.concentration
            log_norm = -(_lgamma(a) + _lgamma(b) - _lgamma(a + b)).sum()
        else:
            log_norm = _log_gamma(self.concentration.sum()) - _lgamma(self.concentration).sum()
        bound = entropy - log_wishart.sum() - log_norm - 0.5 * d * np.log(self.mean_precision).sum()
        return float(bound)
