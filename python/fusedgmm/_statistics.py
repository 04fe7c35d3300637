"""Sufficient statistics: every fit accumulates, merges and maximizes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core, _threads
from ._covariance import layout_of
from ._parameters import MixtureParameters
from ._typing import CovarianceType, Floats, PassSums, Sums
from ._validation import (
    as_data,
    as_finite,
    as_integer,
    as_nonnegative,
    as_sample_weight,
    check_finite,
    check_shape,
)

_KIND, _FORMAT = "fusedgmm.SufficientStatistics", 1  # of saved statistics
_ARRAYS = ("nk", "_shift", "_sx", "_sxx")


def _are_finite(arrays: Iterable[Floats]) -> bool:
    """Return whether all entries are finite. The sum is a fast test: it is hardly ever infinite if
    all entries are finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return all(
            math.isfinite(np.add.reduce(array, axis=None)) or np.isfinite(array).all()
            for array in arrays
        )


def _not_finite() -> ValueError:
    return ValueError("the sums are not finite: scale the rows, their weights or the parameters")


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """The sufficient statistics of one pass over the rows.

    ``a + b`` and ``sum([a, b, c])`` merge passes over different rows. ``a == b`` compares all sums
    bit for bit. ``w * a`` multiplies the
    weight of the rows of `a` by `w`, for example to forget old rows. Moments are stored about a
    shift near the means, so data far from zero lose no precision.

    Attributes
    ----------
    nk : array of shape (n_components,), float64
        Sum of the responsibilities g, weighted by the sample weights.
    sx : array of shape (n_components, n_features), float64
        Sum of g x, about zero, in units of the data.
    sxx : array, float64
        Sum of g x x^T, about zero, in squared units of the data: (n_components, n_features,
        n_features) for "full"; (n_features, n_features), summed over all components, for "tied";
        (n_components, n_features), the diagonals, for "diag"; (n_components,), the sum of
        g |x|^2, for "spherical".
    log_likelihood : float
        Log-likelihood summed over all rows, in nats, weighted by the sample weights.
    weight_sum : float
        Sum of the sample weights; without weights, the number of rows.
    n_samples : int
        Number of rows.
    covariance_type : {"full", "tied", "diag", "spherical"}

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import MixtureParameters, accumulate
    >>> parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [1.0], "spherical")
    >>> statistics = accumulate(np.array([[1.0], [2.0]]), parameters)
    >>> statistics.nk.tolist(), statistics.sx.tolist(), statistics.sxx.tolist()
    ([2.0], [[3.0]], [5.0])
    >>> (0.5 * statistics + statistics).nk.tolist()
    [3.0]
    """

    covariance_type: CovarianceType
    nk: Floats
    _shift: Floats = field(repr=False)
    _sx: Floats = field(repr=False)
    _sxx: Floats = field(repr=False)
    log_likelihood: float
    weight_sum: float
    n_samples: int

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            array = np.array(getattr(self, name), dtype=np.float64, order="C")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        numbers = math.isfinite(self.log_likelihood) and math.isfinite(self.weight_sum)
        if not (numbers and _are_finite((self.nk, self._shift, self._sx, self._sxx))):
            raise _not_finite()
        if self._sx.ndim != 2 or 0 in self._sx.shape:
            raise ValueError(f"sx must be 2-D and not empty, got shape {self._sx.shape}")
        K, d = self._sx.shape
        moments = layout_of(self.covariance_type).moment_shape(K, d)
        shapes = ((K,), (K, d), (K, d), moments)
        for name, shape in zip(_ARRAYS, shapes, strict=True):
            check_shape(getattr(self, name), shape, name)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # use the constructor, so that unpickled arrays are read-only again
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def sx(self) -> Floats:
        """Sum of g x about zero, of shape (n_components, n_features)."""
        return self._raw_moments()["sx"]

    @property
    def sxx(self) -> Floats:
        """Sum of g x x^T about zero. `maximize` does not use it, to avoid its loss of precision."""
        sxx = self._raw_moments()["sxx"]
        return layout_of(self.covariance_type).unpacked(sxx, self._shift.shape[1])

    def _sums(self) -> Sums:
        return {"nk": self.nk, "shift": self._shift, "sx": self._sx, "sxx": self._sxx}

    def _raw_moments(self) -> Sums:
        zero = np.zeros_like(self._shift)
        sums = _core.move_statistics(self._sums(), covariance_type=self.covariance_type, shift=zero)
        if not _are_finite((sums["sx"], sums["sxx"])):
            raise _not_finite()
        return sums

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        if self.covariance_type != other.covariance_type:
            raise ValueError(
                f"cannot merge statistics of covariance types {self.covariance_type!r} and "
                f"{other.covariance_type!r}"
            )
        if self._shift.shape != other._shift.shape:
            raise ValueError(
                "cannot merge statistics of shapes (n_components, n_features) "
                f"{self._shift.shape} and {other._shift.shape}"
            )
        n_samples = self.n_samples + other.n_samples
        for one, rest in ((other, self), (self, other)):
            if one.weight_sum == 0.0 and not one.nk.any():  # keep the other one bit for bit
                return replace(rest, n_samples=n_samples)
        sums = _core.merge_statistics(
            self._sums(), other._sums(), covariance_type=self.covariance_type
        )
        with_totals: PassSums = {  # the constructor checks the sums
            **sums,
            "log_likelihood": self.log_likelihood + other.log_likelihood,
            "weight_sum": self.weight_sum + other.weight_sum,
            "n_samples": n_samples,
        }
        return of_pass(with_totals, self.covariance_type)

    def __radd__(self, other: object) -> Self:
        # sum([a, b, ...]) begins with 0
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    __array_ufunc__ = None  # with a NumPy number, w * statistics calls __rmul__

    def __mul__(self, weight: float) -> Self:
        if isinstance(weight, (bool, np.bool_)) or not isinstance(weight, Real):
            return NotImplemented
        weight = as_nonnegative(weight, "the weight of statistics")
        with np.errstate(over="ignore"):  # the constructor checks the sums
            return replace(
                self,
                nk=weight * self.nk,
                _sx=weight * self._sx,
                _sxx=weight * self._sxx,
                log_likelihood=weight * self.log_likelihood,
                weight_sum=weight * self.weight_sum,
            )

    __rmul__ = __mul__

    def _centred(self) -> tuple[Floats, Floats]:
        """Return each component's mean, (K, d), and the scatter about it in the shape of
        covariances (tied: summed over all components; spherical: per feature)."""
        nk, sx = self.nk, self._sx
        step = np.divide(sx, nk[:, None], out=np.zeros_like(sx), where=nk[:, None] > 0)
        layout = layout_of(self.covariance_type)
        scatter = layout.scatter(layout.unpacked(self._sxx, sx.shape[1]), nk, sx, step)
        return self._shift + step, scatter

    @classmethod
    def zero(cls, parameters_or_model: MixtureParameters | _Model) -> SufficientStatistics:
        """Return the statistics of no rows, to which others can be added.

        Parameters
        ----------
        parameters_or_model : MixtureParameters or fitted model

        Returns
        -------
        SufficientStatistics

        Examples
        --------
        >>> from fusedgmm import MixtureParameters, SufficientStatistics, accumulate
        >>> parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [1.0], "spherical")
        >>> some = accumulate([[1.0], [2.0]], parameters)
        >>> SufficientStatistics.zero(parameters) + some == some
        True
        """
        p = parameters_or_model
        parameters = p if isinstance(p, MixtureParameters) else p.parameters
        return accumulate(np.empty((0, parameters.n_features)), parameters)

    def save(self, path: str | Path) -> None:
        """Write the statistics to a .npz file, atomically.

        Parameters
        ----------
        path : str or pathlib.Path
            File name ending in .npz. An existing file is replaced.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from fusedgmm import MixtureParameters, SufficientStatistics, accumulate
        >>> parameters = MixtureParameters.from_covariances([1.0], [[0.0]], [1.0], "spherical")
        >>> with TemporaryDirectory() as folder:
        ...     for i, X in enumerate(([[1.0], [2.0]], [[4.0]])):
        ...         accumulate(X, parameters).save(Path(folder) / f"part{i}.npz")
        ...     parts = [SufficientStatistics.load(path) for path in Path(folder).glob("*.npz")]
        >>> sum(parts).sx.tolist()
        [[7.0]]
        """
        from ._files import save_arrays  # imported here: zipfile and json take 6 ms

        meta = {
            "covariance_type": self.covariance_type,
            "log_likelihood": float(self.log_likelihood),
            "weight_sum": float(self.weight_sum),
            "n_samples": int(self.n_samples),
        }
        arrays = {name.removeprefix("_"): getattr(self, name) for name in _ARRAYS}
        save_arrays(path, _KIND, _FORMAT, meta, arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read statistics written by `save`. Never runs code from the file.

        Parameters
        ----------
        path : str or pathlib.Path

        Returns
        -------
        SufficientStatistics

        Raises
        ------
        ValueError
            The file is of another kind, of a newer format, or damaged.
        """
        from ._files import load_object

        return load_object(path, _KIND, _FORMAT, cls._from_file)

    @classmethod
    def _from_file(cls, meta: dict[str, Any], arrays: dict[str, Any]) -> Self:
        names = {name.removeprefix("_"): name for name in _ARRAYS}
        for name, array in arrays.items():
            if array.dtype != np.float64:
                raise ValueError(f"{name} is {array.dtype}, not float64")
        if (arrays["nk"] < 0.0).any():
            raise ValueError("nk has a negative entry")
        return cls(
            covariance_type=meta["covariance_type"],
            log_likelihood=as_finite(meta["log_likelihood"], "log_likelihood"),
            weight_sum=as_nonnegative(meta["weight_sum"], "weight_sum"),
            n_samples=as_integer(meta["n_samples"], "n_samples", 0),
            **{names[name]: array for name, array in arrays.items()},
        )

    def maximize(self, reg_covar: float = 1e-6) -> MixtureParameters:
        """Return the parameters that maximize the expected log-likelihood: the M step.

        Parameters
        ----------
        reg_covar : float, default=1e-6
            Value added to every variance, in squared units of the data.

        Returns
        -------
        MixtureParameters

        Raises
        ------
        ValueError
            A covariance is singular, `reg_covar` is negative, or the total weight is zero.

        Notes
        -----
        Bishop (2006), "Pattern Recognition and Machine Learning", equations 9.24 to 9.26.

        Examples
        --------
        >>> from fusedgmm import MixtureParameters, accumulate
        >>> start = MixtureParameters.from_covariances([1.0], [[0.0]], [1.0], "spherical")
        >>> parameters = accumulate([[1.0], [3.0]], start).maximize(reg_covar=0)
        >>> parameters.means.tolist(), parameters.covariances.tolist()
        ([[2.0]], [1.0])
        """
        if not self.weight_sum > 0.0:
            raise ValueError(
                f"there is nothing to maximize: the {self.n_samples} rows of these statistics have "
                f"a total weight of {self.weight_sum:g}"
            )
        return MixtureParameters(
            *_core.maximize(
                covariance_type=self.covariance_type,
                nk=self.nk,
                shift=self._shift,
                sx=self._sx,
                sxx=self._sxx,
                weight_sum=self.weight_sum,
                reg_covar=as_nonnegative(reg_covar, "reg_covar"),
                n_samples=self.n_samples,
            ),
            self.covariance_type,
        )


class _Model(Protocol):
    @property
    def parameters(self) -> MixtureParameters: ...


def accumulate(
    X: ArrayLike,
    parameters_or_model: MixtureParameters | _Model,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> SufficientStatistics:
    """Run one fused pass over the rows of `X` with the given parameters: the E step.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite data. Without rows the statistics are zero, and merging them changes nothing.
    parameters_or_model : MixtureParameters or fitted model
        The parameters of the mixture, or a model that has `parameters`. For a Bayesian mixture,
        these are expected values; the responsibilities are those of a Gaussian mixture with the
        expected values as its parameters.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Non-negative, finite weights; they may all be zero. None: every row has weight 1.
    n_threads : int or None, default=None
        Maximum number of threads, see `GaussianMixture`.

    Returns
    -------
    SufficientStatistics

    Raises
    ------
    TypeError
        `parameters_or_model` is neither MixtureParameters nor a fitted model, or another argument
        has the wrong type.
    ValueError
        `X` has another number of features, NaN or infinity, or rows too far from every component;
        or another argument has an invalid value.

    Notes
    -----
    Bishop (2006), "Pattern Recognition and Machine Learning", equations 9.23 and 9.27.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import GaussianMixture, MixtureParameters, accumulate
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> parameters = MixtureParameters.from_covariances(
    ...     [0.5, 0.5], [[0.0], [9.0]], [[1.0], [1.0]], "diag"
    ... )
    >>> whole = accumulate(X, parameters)
    >>> parts = sum(accumulate(part, parameters) for part in (X[:1], X[1:]))
    >>> bool(np.allclose(parts.sx, whole.sx))
    True
    >>> model = GaussianMixture.from_parameters(whole.maximize())
    >>> model.means_.round(6).tolist()
    [[0.5], [8.5]]
    >>> accumulate(X, model).nk.round(6).tolist()
    [2.0, 2.0]
    """
    if isinstance(parameters_or_model, MixtureParameters):
        parameters, estimator = parameters_or_model, "MixtureParameters"
    else:
        estimator = type(parameters_or_model).__name__
        if not hasattr(type(parameters_or_model), "parameters"):
            raise TypeError(f"expected MixtureParameters or a fitted model, got a {estimator}")
        parameters = parameters_or_model.parameters
    X = as_data(X, min_samples=0, n_features=parameters.n_features, estimator=estimator)
    try:
        sums = _core.accumulate(
            X,
            sample_weight=as_sample_weight(sample_weight, len(X), may_be_zero=True),
            covariance_type=parameters.covariance_type,
            weights=parameters.weights,
            means=parameters.means,
            covariances=parameters.covariances,
            precisions_cholesky=parameters.precisions_cholesky,
            n_threads=_threads.for_passes(
                n_threads, parameters.covariance_type, len(X), *parameters.means.shape
            ),
        )
    except _core.NotFiniteError:
        check_finite(X)  # names the row in its message
        raise
    return of_pass(sums, parameters.covariance_type)


def of_pass(sums: PassSums, covariance_type: CovarianceType) -> SufficientStatistics:
    """Convert the sums of the core to statistics."""
    return SufficientStatistics(
        covariance_type,
        sums["nk"],
        sums["shift"],
        sums["sx"],
        sums["sxx"],
        sums["log_likelihood"],
        sums["weight_sum"],
        sums["n_samples"],
    )
