"""The parameters of a mixture, immutable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._typing import CovarianceType, Floats
from ._validation import (
    as_floating,
    as_means,
    as_precisions,
    as_weights,
    check_finite,
    check_shape,
    covariance_shape,
)


def frozen(value: ArrayLike, name: str) -> Floats:
    """Return a finite, read-only, contiguous float64 copy of `value`."""
    array = np.array(as_floating(value, name), dtype=np.float64, order="C")
    check_finite(np.atleast_1d(array), name)
    array.flags.writeable = False
    return array


def precisions_of(precisions_cholesky: Floats, covariance_type: str) -> Floats:
    """Return the precisions whose upper factors U (precision = U U^T) are given."""
    if covariance_type in ("diag", "spherical"):
        return precisions_cholesky**2
    return precisions_cholesky @ np.swapaxes(precisions_cholesky, -1, -2)


def covariances_of(precisions_cholesky: Floats, covariance_type: str) -> Floats:
    """Return the covariances whose precisions' upper factors are given."""
    if covariance_type in ("diag", "spherical"):
        return 1.0 / precisions_cholesky**2
    inverse = np.linalg.inv(precisions_cholesky)
    covariances: Floats = np.swapaxes(inverse, -1, -2) @ inverse
    return covariances


def factor_precisions(precisions: Floats, covariance_type: str) -> Floats:
    """Return the upper factors U (precision = U U^T) of positive-definite precisions."""
    if covariance_type in ("diag", "spherical"):
        return np.sqrt(precisions)
    # reversing both axes turns NumPy's lower factor into the upper one
    lower = np.linalg.cholesky(precisions[..., ::-1, ::-1])
    return np.ascontiguousarray(lower[..., ::-1, ::-1])


# weights, means, covariances and factors of precisions to start from; None where not given
Given: TypeAlias = tuple[Floats | None, Floats | None, Floats | None, Floats | None]


def as_given(
    weights: ArrayLike | None,
    means: ArrayLike | None,
    precisions: ArrayLike | None,
    covariance_type: str,
    n_components: int,
    n_features: int,
    problems: tuple[int | None, ...] = (None, None, None),
    covariances: ArrayLike | None = None,
) -> Given:
    """Return a user's starting values as the core takes them, checked; precisions come with their
    covariances. problems: of a batch, where the values have an axis for them in front."""
    leading = [() if count is None else (count,) for count in problems]
    weights = None if weights is None else as_weights(weights, (*leading[0], n_components))
    means = None if means is None else as_means(means, (*leading[1], n_components, n_features))
    if precisions is not None and covariances is not None:
        raise ValueError("give precisions_init or covariances_init, not both")
    shape = (*leading[2], *covariance_shape(covariance_type, n_components, n_features))
    if covariances is not None:
        covariances = as_precisions(covariances, covariance_type, shape, "covariance")
        return (
            weights,
            means,
            covariances,
            _core.precision_cholesky(covariances, covariance_type=covariance_type),
        )
    if precisions is None:
        return weights, means, None, None
    precisions = as_precisions(precisions, covariance_type, shape)
    factors = factor_precisions(precisions, covariance_type)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite where float64 cannot hold them
        covariances = np.ascontiguousarray(covariances_of(factors, covariance_type))
    return weights, means, covariances, factors


@dataclass(frozen=True, eq=False)
class MixtureParameters:
    """Weights, means and covariances of a Gaussian mixture.

    Parameters
    ----------
    weights : array of shape (n_components,)
    means : array of shape (n_components, n_features)
    covariances, precisions_cholesky : array
        (n_components, n_features, n_features) for "full", (n_features, n_features) for "tied",
        (n_components, n_features) for "diag", (n_components,) for "spherical".
    covariance_type : {"full", "tied", "diag", "spherical"}

    Raises
    ------
    ValueError
        Shapes that do not fit together or are empty, NaN or infinity, weights that are negative or
        do not sum to one, factors that are not positive, an unknown covariance type.

    Examples
    --------
    >>> from fusedgmm import MixtureParameters
    >>> params = MixtureParameters.from_covariances(
    ...     [0.5, 0.5], [[0.0], [3.0]], [[1.0], [4.0]], "diag"
    ... )
    >>> params.precisions_cholesky.tolist()
    [[1.0], [0.5]]
    """

    weights: Floats
    means: Floats
    covariances: Floats
    precisions_cholesky: Floats
    covariance_type: CovarianceType = "full"

    def __post_init__(self) -> None:
        for name in ("weights", "means", "covariances", "precisions_cholesky"):
            object.__setattr__(self, name, frozen(getattr(self, name), name))
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(f"means must be 2-D and not empty, got shape {self.means.shape}")
        shape = covariance_shape(self.covariance_type, *self.means.shape)
        # float32's rounding, whatever the dtype: a pickled copy has been float64 ever since
        as_weights(self.weights, (self.n_components,), tolerance=1e-6)
        check_shape(self.covariances, shape, "covariances")
        check_shape(self.precisions_cholesky, shape, "precisions_cholesky")
        scales = self.precisions_cholesky
        if self.covariance_type in ("full", "tied"):
            scales = np.diagonal(scales, axis1=-2, axis2=-1)
        if not (scales > 0.0).all():
            raise ValueError(
                f"precisions_cholesky must be positive on the diagonal, got {scales.min():.5g}; "
                "from_covariances makes it from covariances"
            )

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # through the constructor, so that unpickled arrays are read-only again
        return type(self), (
            self.weights,
            self.means,
            self.covariances,
            self.precisions_cholesky,
            self.covariance_type,
        )

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.means)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @classmethod
    def from_covariances(
        cls,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        covariance_type: CovarianceType = "full",
    ) -> Self:
        """Build from covariances, factoring their precisions.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
        means : array-like of shape (n_components, n_features)
        covariances : array-like
            In the shape of their type, see `MixtureParameters`.
        covariance_type : {"full", "tied", "diag", "spherical"}, default="full"

        Returns
        -------
        MixtureParameters

        Raises
        ------
        ValueError
            A covariance is singular; or as the class itself.
        """
        means = frozen(means, "means")
        covariances = frozen(covariances, "covariances")
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(f"means must be 2-D and not empty, got shape {means.shape}")
        check_shape(covariances, covariance_shape(covariance_type, *means.shape), "covariances")
        factors = _core.precision_cholesky(covariances, covariance_type=covariance_type)
        return cls(frozen(weights, "weights"), means, covariances, factors, covariance_type)
