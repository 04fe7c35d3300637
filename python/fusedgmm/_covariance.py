"""The covariance types: everything that depends on the type.

A type defines the shape of covariances and of the factors of precisions: one matrix per component
("full"), one matrix for all components ("tied"), one variance per component and feature ("diag"),
or one variance per component ("spherical"). Names are used consistently: covariances, precisions,
factors (upper triangular U with precision = U U^T) and scatter (sums of g (x - m) (x - m)^T) are
arrays of the type's shape; nk (K,) are sums of responsibilities g; vectors such as step and away
are (K, d)."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._typing import CovarianceType, Floats, Labels
from ._validation import as_option, check_finite


@lru_cache(maxsize=8)
def _lower_triangle(d: int) -> tuple[Labels, Labels, Labels]:
    """Return the row and column indices of a lower triangle, row by row; and, for each element of a
    symmetric (d, d) matrix, the position of its value in the triangle."""
    rows, columns = np.tril_indices(d)
    places = np.empty((d, d), dtype=np.int64)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return rows, columns, places


def _transposed(matrices: Floats) -> Floats:
    return np.swapaxes(matrices, -1, -2)


def _outer(vectors: Floats) -> Floats:
    return vectors[..., :, None] * vectors[..., None, :]


def _check_diagonals(diagonals: Floats) -> None:
    if not (diagonals > 0.0).all():
        raise ValueError(
            f"precisions_cholesky must be positive on the diagonal, got {diagonals.min():.5g}; "
            "MixtureParameters.from_covariances computes it from covariances"
        )


class Layout(ABC):
    """One covariance type."""

    name: ClassVar[CovarianceType]
    shared: ClassVar[bool] = False  # one covariance for all components
    has_matrices: ClassVar[bool]  # matrices or variances
    positive: ClassVar[str]  # the condition on a covariance, for messages

    # ---- shapes and counts ----

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of covariances, precisions and factors."""
        return _core.covariance_shape(self.name, n_components, n_features)

    def moment_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of second moments in the core: matrices are stored as their lower
        triangle, row by row."""
        return _core.moment_shape(self.name, n_components, n_features)

    @abstractmethod
    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        """Return the shape of the covariance of one component, which is also that of a prior."""

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of the covariances."""
        return int(np.prod(self.moment_shape(int(n_components), int(n_features)), dtype=np.int64))

    @abstractmethod
    def entries(self, n_features: int) -> list[tuple[str, tuple[Any, ...]]]:
        """Return the name of each free entry of a covariance, and its index in an array of
        covariances."""

    # ---- covariances, precisions and factors ----

    @abstractmethod
    def precisions(self, factors: Floats) -> Floats:
        """Return the precisions with the given factors."""

    @abstractmethod
    def covariances(self, factors: Floats) -> Floats:
        """Return the covariances whose precisions have the given factors."""

    @abstractmethod
    def factors(self, precisions: Floats) -> Floats:
        """Return the factors of positive-definite precisions; leading axes are allowed."""

    def factors_of_covariances(self, covariances: Floats) -> Floats:
        """Return the factors of the precisions, given covariances; leading axes are allowed.

        Raises
        ------
        ValueError
            A covariance is singular.
        """
        # one covariance at a time, shared or not
        kind, matrix = ("full", 2) if self.has_matrices else ("spherical", 0)
        each = covariances.reshape(-1, *covariances.shape[covariances.ndim - matrix :])
        d = covariances.shape[-1] if self.has_matrices else 1
        factors = _core.precision_cholesky(
            each, covariance_type=kind, n_components=len(each), n_features=d
        )
        return factors.reshape(covariances.shape)

    @abstractmethod
    def upper_factors(self, factors: Floats, rounding: float) -> Floats:
        """Return the factors as the core takes them: upper triangular with a positive diagonal.

        Parameters
        ----------
        factors : array, float64
            As a user gives them. For a lower triangular L the precision is L L^T, as in
            scikit-learn, which multiplies by whatever matrix there is.
        rounding : float
            The rounding error of the user's dtype: a triangle of such errors counts as zero.

        Raises
        ------
        ValueError
            An entry is NaN or infinite, a matrix is not triangular, or a diagonal is not positive.
        """

    @abstractmethod
    def belong_together(self, covariances: Floats, factors: Floats, rounding: float) -> bool:
        """Return whether covariances match upper factors, up to rounding errors of this size; of
        matrices, whether their product with one vector does."""

    @abstractmethod
    def is_positive(self, covariances: Floats) -> NDArray[np.bool_]:
        """Return for each covariance whether it satisfies `positive`; leading axes are allowed."""

    def diagonals(self, array: Floats) -> Floats:
        """Return the diagonals of matrices; return variances unchanged."""
        return np.diagonal(array, axis1=-2, axis2=-1) if self.has_matrices else array

    @abstractmethod
    def log_determinants(self, factors: Floats, n_components: int, n_features: int) -> Floats:
        """Return log det U of each component, (K,)."""

    def each(self, covariances: Floats, n_components: int) -> Floats:
        """Return the covariance of each component, along the first axis."""
        if self.shared:
            return np.broadcast_to(covariances, (n_components, *covariances.shape))
        return covariances

    @abstractmethod
    def matrices(self, covariances: ArrayLike, n_components: int, n_features: int) -> Floats:
        """Return the covariances as matrices, (K, d, d)."""

    def variances(self, covariances: ArrayLike, n_components: int, n_features: int) -> Floats:
        """Return the variances of each component, (K, d)."""
        array = self.diagonals(np.asarray(covariances, dtype=np.float64))
        array = array if self._axes else array[:, None]
        shape = (n_components, n_features)
        return array if array.shape == shape else np.broadcast_to(array, shape)

    def identity(self, n_features: int) -> Floats:
        """Return the covariance of one component with independent features of variance 1."""
        return np.eye(n_features) if self.has_matrices else np.ones(self.prior_shape(n_features))

    # ---- sums ----

    def per_component(self, values: Floats) -> Floats:
        """Reshape values (K,), or a scalar if the covariance is shared, to broadcast against
        covariances."""
        return values.reshape(values.shape + (1,) * self._axes) if values.ndim else values

    _axes: ClassVar[int]  # number of axes of one component's covariance

    @abstractmethod
    def second_moments(self, vectors: Floats) -> Floats:
        """Return the second moments v v^T of vectors (K, d), in the core's layout."""

    def unpacked(self, moments: Floats, n_features: int) -> Floats:
        """Convert second moments from the core's layout to the shape of covariances."""
        return moments

    def packed(self, moments: Floats) -> Floats:
        """Convert second moments from the shape of covariances to the core's layout."""
        return moments

    @abstractmethod
    def scatter(self, sxx: Floats, nk: Floats, sx: Floats, step: Floats) -> Floats:
        """Return the scatter about each component's mean, from the moments sx and (unpacked) sxx
        about a shift, where `step` = mean - shift. Spherical: per feature."""

    @abstractmethod
    def squared_distances(
        self, factors: Floats, scatter: Floats, nk: Floats, step: Floats
    ) -> float:
        """Return the sum over rows and components of g |U^T (x - c)|^2, where `scatter` is about
        the components' means and `step` = mean - c."""

    @abstractmethod
    def with_prior(
        self,
        prior: Floats,
        scatter: Floats,
        nk: Floats,
        reg_covar: float,
        share: Floats,
        away: Floats,
    ) -> Floats:
        """Return the scatter of the posterior: prior + scatter + reg_covar nk + share away away^T;
        if it is shared, the mean over the components. The order of additions of each type is fixed,
        because it determines the last bits."""


class _Matrices(Layout):
    has_matrices = True
    positive = "symmetric, positive-definite"
    _axes = 2

    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        return (n_features, n_features)

    def entries(self, n_features: int) -> list[tuple[str, tuple[Any, ...]]]:
        lower = ((i, j) for i in range(n_features) for j in range(i + 1))
        return [(f"covariance_{i}_{j}", (..., i, j)) for i, j in lower]

    def precisions(self, factors: Floats) -> Floats:
        return factors @ _transposed(factors)

    def covariances(self, factors: Floats) -> Floats:
        inverse = np.linalg.inv(factors)
        covariances: Floats = np.swapaxes(inverse, -1, -2) @ inverse
        return covariances

    def factors(self, precisions: Floats) -> Floats:
        # reversing both axes turns NumPy's lower factor into an upper one
        lower = np.linalg.cholesky(precisions[..., ::-1, ::-1])
        return np.ascontiguousarray(lower[..., ::-1, ::-1])

    def upper_factors(self, factors: Floats, rounding: float) -> Floats:
        if _core.are_factors(factors):
            return factors
        check_finite(factors, "precisions_cholesky")
        _check_diagonals(self.diagonals(factors))
        # U U^T = M M^T: with both axes reversed, M^T = Q R gives R^T R
        triangle: Any = np.linalg.qr(_transposed(factors)[..., ::-1], mode="r")
        upper = _transposed(triangle)[..., ::-1, ::-1]
        upper = np.triu(upper * np.sign(self.diagonals(upper))[..., None, :])
        with np.errstate(divide="ignore"):
            ours, theirs = (np.log(self.diagonals(f)).sum(axis=-1) for f in (upper, factors))
        # scikit-learn computes the determinant from the diagonal, whatever the matrix
        if not (np.abs(ours - theirs) <= np.sqrt(rounding) * factors.shape[-1]).all():
            raise ValueError(
                "precisions_cholesky must be triangular: upper U with precision U U^T, as "
                "MixtureParameters.from_covariances and .from_precisions compute it, or lower"
            )
        return np.ascontiguousarray(upper)

    def belong_together(self, covariances: Floats, factors: Floats, rounding: float) -> bool:
        return _core.are_inverse(covariances, factors, 100 * math.sqrt(rounding))

    def is_positive(self, covariances: Floats) -> NDArray[np.bool_]:
        symmetric = np.isclose(covariances, _transposed(covariances)).all(axis=(-1, -2))
        return np.asarray(symmetric & (np.linalg.eigvalsh(covariances)[..., 0] > 0.0))

    def log_determinants(self, factors: Floats, n_components: int, n_features: int) -> Floats:
        each = np.log(self.diagonals(factors)).sum(axis=-1)
        return np.full(n_components, each) if self.shared else np.asarray(each)

    def matrices(self, covariances: ArrayLike, n_components: int, n_features: int) -> Floats:
        shape = (n_components, n_features, n_features)
        return np.broadcast_to(np.asarray(covariances, dtype=np.float64), shape).copy()

    def second_moments(self, vectors: Floats) -> Floats:
        rows, columns, _ = _lower_triangle(vectors.shape[-1])
        return vectors[..., rows] * vectors[..., columns]

    def unpacked(self, moments: Floats, n_features: int) -> Floats:
        return moments.take(_lower_triangle(n_features)[2], axis=-1)

    def packed(self, moments: Floats) -> Floats:
        rows, columns, _ = _lower_triangle(moments.shape[-1])
        return np.ascontiguousarray(moments[..., rows, columns])

    def squared_distances(
        self, factors: Floats, scatter: Floats, nk: Floats, step: Floats
    ) -> float:
        moved = _outer(np.sqrt(nk)[:, None] * step)
        if self.shared:
            moved = moved.sum(axis=0)
        return float((self.precisions(factors) * (scatter + moved)).sum())


class _Full(_Matrices):
    name = "full"

    def scatter(self, sxx: Floats, nk: Floats, sx: Floats, step: Floats) -> Floats:
        # this order of operations keeps the matrices exactly symmetric
        return sxx - self.per_component(nk) * _outer(step)

    def with_prior(
        self,
        prior: Floats,
        scatter: Floats,
        nk: Floats,
        reg_covar: float,
        share: Floats,
        away: Floats,
    ) -> Floats:
        regular = self.per_component(reg_covar * nk) * np.eye(away.shape[1])
        return prior + scatter + regular + self.per_component(share) * _outer(away)


class _Tied(_Matrices):
    name = "tied"
    shared = True

    def second_moments(self, vectors: Floats) -> Floats:
        return np.asarray(super().second_moments(vectors).sum(axis=0))

    def scatter(self, sxx: Floats, nk: Floats, sx: Floats, step: Floats) -> Floats:
        root = np.sqrt(nk)[:, None] * step
        return sxx - root.T @ root

    def with_prior(
        self,
        prior: Floats,
        scatter: Floats,
        nk: Floats,
        reg_covar: float,
        share: Floats,
        away: Floats,
    ) -> Floats:
        K, d = away.shape
        regular = scatter + reg_covar * nk.sum() * np.eye(d)
        root = np.sqrt(share)[:, None] * away
        return np.asarray(prior + regular / K + root.T @ root / K)


class _Variances(Layout):
    has_matrices = False
    positive = "positive"

    def precisions(self, factors: Floats) -> Floats:
        return factors**2

    def covariances(self, factors: Floats) -> Floats:
        return 1.0 / factors**2

    def factors(self, precisions: Floats) -> Floats:
        return np.sqrt(precisions)

    def upper_factors(self, factors: Floats, rounding: float) -> Floats:
        if not _core.all_within(factors, 5e-324, sys.float_info.max):
            check_finite(factors, "precisions_cholesky")
            _check_diagonals(factors)
        return factors

    def belong_together(self, covariances: Floats, factors: Floats, rounding: float) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            product = covariances * factors**2
            # NaN, after an overflow, shows nothing
            return not (np.abs(product - 1.0) > 100 * math.sqrt(rounding) * (product + 1.0)).any()

    def matrices(self, covariances: ArrayLike, n_components: int, n_features: int) -> Floats:
        variances = self.variances(covariances, n_components, n_features)
        matrices: Floats = variances[:, :, None] * np.eye(n_features)
        return matrices


class _Diag(_Variances):
    name = "diag"
    _axes = 1

    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        return (n_features,)

    def entries(self, n_features: int) -> list[tuple[str, tuple[Any, ...]]]:
        return [(f"variance_{j}", (..., j)) for j in range(n_features)]

    def is_positive(self, covariances: Floats) -> NDArray[np.bool_]:
        return np.asarray((covariances > 0.0).all(axis=-1))

    def log_determinants(self, factors: Floats, n_components: int, n_features: int) -> Floats:
        return np.asarray(np.log(factors).sum(axis=1))

    def second_moments(self, vectors: Floats) -> Floats:
        return vectors**2

    def scatter(self, sxx: Floats, nk: Floats, sx: Floats, step: Floats) -> Floats:
        return sxx - sx * step

    def squared_distances(
        self, factors: Floats, scatter: Floats, nk: Floats, step: Floats
    ) -> float:
        return float((factors**2 * (scatter + nk[:, None] * step**2)).sum())

    def with_prior(
        self,
        prior: Floats,
        scatter: Floats,
        nk: Floats,
        reg_covar: float,
        share: Floats,
        away: Floats,
    ) -> Floats:
        regular = scatter + self.per_component(reg_covar * nk)
        return prior + regular + self.per_component(share) * away**2


class _Spherical(_Variances):
    name = "spherical"
    _axes = 0

    def prior_shape(self, n_features: int) -> tuple[int, ...]:
        return ()

    def entries(self, n_features: int) -> list[tuple[str, tuple[Any, ...]]]:
        return [("variance", (...,))]

    def is_positive(self, covariances: Floats) -> NDArray[np.bool_]:
        return np.asarray(covariances > 0.0)

    def log_determinants(self, factors: Floats, n_components: int, n_features: int) -> Floats:
        return np.asarray(n_features * np.log(factors))

    def second_moments(self, vectors: Floats) -> Floats:
        return np.asarray((vectors**2).sum(axis=-1))

    def scatter(self, sxx: Floats, nk: Floats, sx: Floats, step: Floats) -> Floats:
        return np.asarray((sxx - (sx * step).sum(axis=1)) / sx.shape[1])

    def squared_distances(
        self, factors: Floats, scatter: Floats, nk: Floats, step: Floats
    ) -> float:
        d = step.shape[1]
        return float((factors**2 * (d * scatter + nk * (step**2).sum(axis=1))).sum())

    def with_prior(
        self,
        prior: Floats,
        scatter: Floats,
        nk: Floats,
        reg_covar: float,
        share: Floats,
        away: Floats,
    ) -> Floats:
        regular = scatter + reg_covar * nk
        return np.asarray(prior + regular + share * np.mean(away**2, axis=1))


_LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (_Full(), _Tied(), _Diag(), _Spherical())
}
COVARIANCE_TYPES: tuple[CovarianceType, ...] = tuple(layout.name for layout in _LAYOUTS.values())


def layout_of(covariance_type: str) -> Layout:
    """Return the layout of a covariance type.

    Raises
    ------
    ValueError
        The covariance type is unknown."""
    return _LAYOUTS[as_option(covariance_type, "covariance_type", COVARIANCE_TYPES)]


def moments_layout(covariance_type: str) -> Layout:
    """Return the layout of a prior's moments: matrices if the type has them, else variances."""
    return _LAYOUTS["full" if layout_of(covariance_type).has_matrices else "diag"]


# ---- several types ----


def equal_type(n_components: int, covariance_type: str, n_features: int) -> str:
    """Return a type that has the same mixtures, the same one for all such types: with one component
    "tied" is "full"; with one feature matrices are variances."""
    layout = layout_of(covariance_type)
    if layout.shared and n_components > 1:
        return "tied"
    return "full" if layout.shared or n_features == 1 else layout.name


def common_type(covariance_types: tuple[CovarianceType, ...]) -> CovarianceType:
    """Return the type of arrays that can hold the covariances of all these types."""
    if len(covariance_types) == 1:
        return covariance_types[0]
    matrices = any(layout_of(name).has_matrices for name in covariance_types)
    return "full" if matrices else "diag"


def widened(array: Floats, covariance_type: str, common: str, shape: tuple[int, int]) -> Floats:
    """Convert covariances or factors of K components and d features, `shape`, to the common type of
    several; leading axes are allowed."""
    if covariance_type == common:
        return array
    layout, (K, d) = layout_of(covariance_type), shape
    if layout.shared:
        return np.broadcast_to(array[..., None, :, :], (*array.shape[:-2], K, d, d))
    if not layout.prior_shape(d):
        array = np.broadcast_to(array[..., None], (*array.shape, d))
    return array[..., None] * np.eye(d) if layout_of(common).has_matrices else array


def narrowed(array: Floats, covariance_type: str, common: str) -> Floats:
    """Return what `widened` converted."""
    if covariance_type == common:
        return array
    layout = layout_of(covariance_type)
    if layout.shared:
        return array[..., 0, :, :]
    variances = layout_of(common).diagonals(array)
    return variances if layout.prior_shape(variances.shape[-1]) else variances[..., 0]
