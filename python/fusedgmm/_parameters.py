"""The parameters of a mixture, as an immutable object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from ._covariance import layout_of
from ._typing import CovarianceType, Floats
from ._validation import (
    as_floating,
    as_means,
    as_parameter,
    as_weights,
    check_finite,
    check_shape,
)


def read_only(value: ArrayLike, name: str) -> Floats:
    """Return a finite, read-only, contiguous float64 copy of `value`."""
    array = np.array(as_floating(value, name), dtype=np.float64, order="C")
    check_finite(np.atleast_1d(array), name)
    array.flags.writeable = False
    return array


def as_precisions(
    precisions: ArrayLike, covariance_type: str, shape: tuple[int, ...], what: str = "precision"
) -> Floats:
    """Return starting precisions or covariances as float64. They have the shape of
    `covariance_type`; those of a batch have a leading axis for the problems.

    Raises
    ------
    ValueError
        The shape is wrong, or an entry is not positive or not symmetric positive-definite (the
        message names its component), NaN or infinite.
    """
    name, layout = f"{covariance_type} {what}", layout_of(covariance_type)
    precisions, _ = as_parameter(precisions, shape, name)
    good = layout.is_positive(precisions)
    if not good.all():
        bad = np.argwhere(~good)[0]
        axes = ("problem",) if layout.shared else ("problem", "component")
        places = [f"{axis} {i}" for axis, i in zip(axes[len(axes) - len(bad) :], bad, strict=True)]
        where = f"; it is not in {', '.join(places)}" if places else ""
        raise ValueError(f"'{name}' should be {layout.positive}{where}")
    return precisions


# starting weights, means, covariances and factors of precisions, each or None
StartingValues: TypeAlias = tuple[Floats | None, Floats | None, Floats | None, Floats | None]


def as_starting_values(
    weights: ArrayLike | None,
    means: ArrayLike | None,
    precisions: ArrayLike | None,
    covariances: ArrayLike | None,
    covariance_type: str,
    sizes: tuple[int, int],
    *,
    problems: tuple[int | None, ...] = (None, None, None),
) -> StartingValues:
    """Check a user's starting values and convert them for the core; precisions come with their
    covariances. sizes: numbers of components and features. problems: for a batch, the length of the
    leading axis of weights, of means, and of precisions or covariances, or None."""
    n_components, n_features = sizes
    leading = [() if count is None else (count,) for count in problems]
    weights = None if weights is None else as_weights(weights, (*leading[0], n_components))
    means = None if means is None else as_means(means, (*leading[1], n_components, n_features))
    if precisions is not None and covariances is not None:
        raise ValueError("give precisions_init or covariances_init, not both")
    layout = layout_of(covariance_type)
    shape = (*leading[2], *layout.shape(n_components, n_features))
    if covariances is not None:
        covariances = as_precisions(covariances, covariance_type, shape, "covariance")
        return weights, means, covariances, layout.factors_of_covariances(covariances)
    if precisions is None:
        return weights, means, None, None
    factors = layout.factors(as_precisions(precisions, covariance_type, shape))
    with np.errstate(over="ignore", invalid="ignore"):  # infinite if beyond the range of float64
        covariances = np.ascontiguousarray(layout.covariances(factors))
    return weights, means, covariances, factors


_KIND, _FORMAT = "fusedgmm.MixtureParameters", 1  # of saved parameters
_ARRAYS = ("weights", "means", "covariances", "precisions_cholesky")


@dataclass(frozen=True, eq=False)
class MixtureParameters:
    """Weights, means and covariances of a Gaussian mixture.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
        Non-negative, with sum 1.
    means : array-like of shape (n_components, n_features)
        In units of the data.
    covariances, precisions_cholesky : array-like
        (n_components, n_features, n_features) for "full", (n_features, n_features) for "tied",
        (n_components, n_features) for "diag", (n_components,) for "spherical"; covariances in
        squared units of the data. `precisions_cholesky` holds upper triangular U with
        precision = U U^T; for "diag" and "spherical", one over the standard deviation. A lower
        triangular L with precision = L L^T is converted to U.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"

    Raises
    ------
    TypeError
        An array is not numeric.
    ValueError
        Shapes do not match or are empty, an entry is NaN or infinite, weights are negative or do
        not sum to one, a factor is not triangular or not positive on its diagonal, covariances do
        not match the factors, or the covariance type is unknown.

    Notes
    -----
    The arrays are stored as read-only float64 copies.

    Examples
    --------
    >>> from fusedgmm import MixtureParameters
    >>> parameters = MixtureParameters.from_covariances(
    ...     [0.5, 0.5], [[0.0], [3.0]], [[1.0], [4.0]], "diag"
    ... )
    >>> parameters.precisions_cholesky.tolist()
    [[1.0], [0.5]]
    """

    weights: Floats
    means: Floats
    covariances: Floats
    precisions_cholesky: Floats
    covariance_type: CovarianceType = "full"

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, read_only(getattr(self, name), name))
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(f"means must be 2-D and not empty, got shape {self.means.shape}")
        layout = layout_of(self.covariance_type)
        shape = layout.shape(*self.means.shape)
        # the tolerance of float32, for any dtype: a pickled copy of float32 weights is float64
        as_weights(self.weights, (self.n_components,), tolerance=1e-6)
        check_shape(self.covariances, shape, "covariances")
        check_shape(self.precisions_cholesky, shape, "precisions_cholesky")
        # the rounding error of float32, for the same reason
        rounding = float(np.finfo(np.float32).eps)
        upper = layout.upper_factors(self.precisions_cholesky, rounding)
        if upper is not self.precisions_cholesky:
            object.__setattr__(self, "precisions_cholesky", read_only(upper, "precisions_cholesky"))
        if not layout.belong_together(self.covariances, upper, rounding):
            raise ValueError(
                "covariances do not match precisions_cholesky; from_covariances computes the "
                "latter from the former"
            )

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # use the constructor, so that unpickled arrays are read-only again
        return type(self), (
            self.weights,
            self.means,
            self.covariances,
            self.precisions_cholesky,
            self.covariance_type,
        )

    def save(self, path: str | Path) -> None:
        """Write the parameters to a .npz file, atomically.

        Parameters
        ----------
        path : str or pathlib.Path
            File name ending in .npz. An existing file is replaced.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from fusedgmm import MixtureParameters
        >>> parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [4.0], "spherical")
        >>> with TemporaryDirectory() as folder:
        ...     parameters.save(Path(folder) / "parameters.npz")
        ...     MixtureParameters.load(Path(folder) / "parameters.npz").covariances.tolist()
        [4.0]
        """
        from ._files import save_arrays  # imported here: zipfile and json take 6 ms

        arrays = {name: getattr(self, name) for name in _ARRAYS}
        save_arrays(path, _KIND, _FORMAT, {"covariance_type": self.covariance_type}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read parameters written by `save`. Never runs code from the file.

        Parameters
        ----------
        path : str or pathlib.Path

        Returns
        -------
        MixtureParameters

        Raises
        ------
        ValueError
            The file is of another kind, of a newer format, or damaged.
        """
        from ._files import load_object

        return load_object(path, _KIND, _FORMAT, lambda meta, arrays: cls(**arrays, **meta))

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
        """Create parameters from covariances; the factors of the precisions are computed.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
        means : array-like of shape (n_components, n_features)
        covariances : array-like
            Positive or positive-definite, of the shape given in `MixtureParameters`.
        covariance_type : {"full", "tied", "diag", "spherical"}, default="full"

        Returns
        -------
        MixtureParameters

        Raises
        ------
        ValueError
            A covariance is not positive, or not symmetric positive-definite; or an argument is
            invalid, see `MixtureParameters`.
        """
        means = read_only(means, "means")
        shape = _checked_shape(means)
        layout = layout_of(covariance_type)
        checked = as_precisions(covariances, covariance_type, layout.shape(*shape), "covariance")
        factors = layout.factors_of_covariances(checked)
        return cls(read_only(weights, "weights"), means, checked, factors, covariance_type)

    @classmethod
    def from_precisions(
        cls,
        weights: ArrayLike,
        means: ArrayLike,
        precisions: ArrayLike,
        covariance_type: CovarianceType = "full",
    ) -> Self:
        """Create parameters from precisions, the inverses of covariances.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
        means : array-like of shape (n_components, n_features)
        precisions : array-like
            Positive or positive-definite, of the shape of covariances in `MixtureParameters`.
        covariance_type : {"full", "tied", "diag", "spherical"}, default="full"

        Returns
        -------
        MixtureParameters

        Raises
        ------
        ValueError
            A precision is not positive, or not symmetric positive-definite; or an argument is
            invalid, see `MixtureParameters`.

        Examples
        --------
        >>> from fusedgmm import MixtureParameters
        >>> parameters = MixtureParameters.from_precisions([1.0], [[0.0]], [0.25], "spherical")
        >>> parameters.covariances.tolist()
        [4.0]
        """
        shape = _checked_shape(means)
        given = as_starting_values(weights, means, precisions, None, covariance_type, shape)
        return cls(*cast(tuple[Floats, Floats, Floats, Floats], given), covariance_type)


def _checked_shape(means: ArrayLike) -> tuple[int, int]:
    """Return the numbers of components and features, given the means."""
    shape = np.shape(means)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"means must be 2-D and not empty, got shape {shape}")
    return shape[0], shape[1]
