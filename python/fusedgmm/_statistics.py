"""Sufficient statistics: the one thing every fit accumulates, merges and maximizes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core, _threads
from ._covariance import layout_of
from ._parameters import MixtureParameters
from ._typing import CovarianceType, Floats, Sums
from ._validation import as_data, as_nonnegative, as_sample_weight, check_finite


def _check_sums(sums: ArrayLike) -> None:
    if not np.isfinite(sums).all():
        raise ValueError("the sums are not finite: scale the rows, their weights or the parameters")


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """What one pass over the rows leaves behind; `a + b` merges two passes.

    Moments are kept about a shift near the means, so that data far from zero keeps its digits.

    Attributes
    ----------
    nk : array of shape (n_components,)
        Sum of the responsibilities g, weighted by the sample weights.
    sx : array of shape (n_components, n_features)
        Sum of g x.
    sxx : array
        Sum of g x x^T: (n_components, n_features, n_features) for "full"; (n_features,
        n_features), over all components, for "tied"; (n_components, n_features) for "diag";
        (n_components,), of g |x|^2, for "spherical".
    log_likelihood, weight_sum : float
    n_samples : int
    covariance_type : str

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import MixtureParameters, accumulate
    >>> params = MixtureParameters.from_covariances([1.0], [[0.0]], [1.0], "spherical")
    >>> stats = accumulate(np.array([[1.0], [2.0]]), params)
    >>> stats.nk.tolist(), stats.sx.tolist(), stats.sxx.tolist()
    ([2.0], [[3.0]], [5.0])
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
        for name in ("nk", "_shift", "_sx", "_sxx"):
            array = np.array(getattr(self, name), dtype=np.float64, order="C")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
            _check_sums(array)
        _check_sums(self.log_likelihood)
        _check_sums(self.weight_sum)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        # through the constructor, so that unpickled arrays are read-only again
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    @property
    def sx(self) -> Floats:
        """Sum of g x about zero."""
        return self._about_zero()["sx"]

    @property
    def sxx(self) -> Floats:
        """Sum of g x x^T about zero; maximize() does not use it, for its digits' sake."""
        sxx = self._about_zero()["sxx"]
        return layout_of(self.covariance_type).unpacked(sxx, self._shift.shape[1])

    def _sums(self) -> Sums:
        return {"nk": self.nk, "shift": self._shift, "sx": self._sx, "sxx": self._sxx}

    def _about_zero(self) -> Sums:
        zero = np.zeros_like(self._shift)
        sums = _core.move_statistics(self._sums(), covariance_type=self.covariance_type, shift=zero)
        _check_sums(sums["sx"])
        _check_sums(sums["sxx"])
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
        sums = _core.merge_statistics(
            self._sums(), other._sums(), covariance_type=self.covariance_type
        )
        return SufficientStatistics(  # which judges the sums
            self.covariance_type,
            sums["nk"],
            sums["shift"],
            sums["sx"],
            sums["sxx"],
            self.log_likelihood + other.log_likelihood,
            self.weight_sum + other.weight_sum,
            self.n_samples + other.n_samples,
        )

    def maximize(self, reg_covar: float = 1e-6) -> MixtureParameters:
        """Return the parameters that maximize the expected likelihood of these statistics.

        Parameters
        ----------
        reg_covar : float, default=1e-6
            Added to every variance.

        Returns
        -------
        MixtureParameters

        Raises
        ------
        ValueError
            A covariance is singular, or `reg_covar` is negative.
        """
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


def accumulate(
    X: ArrayLike,
    params: MixtureParameters,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> SufficientStatistics:
    """Make one fused pass over the rows of `X` at the given parameters.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    params : MixtureParameters
    sample_weight : array-like of shape (n_samples,) or None
    n_threads : int or None

    Returns
    -------
    SufficientStatistics

    Raises
    ------
    TypeError, ValueError
        `X`, `params`, `sample_weight` or `n_threads` is not what it should be.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import MixtureParameters, accumulate
    >>> X = np.array([[0.0], [1.0], [8.0], [9.0]])
    >>> params = MixtureParameters.from_covariances(
    ...     [0.5, 0.5], [[0.0], [9.0]], [[1.0], [1.0]], "diag"
    ... )
    >>> whole = accumulate(X, params)
    >>> parts = accumulate(X[:1], params) + accumulate(X[1:], params)
    >>> bool(np.allclose(parts.sx, whole.sx))
    True
    >>> whole.maximize().means.round(6).tolist()
    [[0.5], [8.5]]
    """
    if not isinstance(params, MixtureParameters):
        raise TypeError(f"params must be MixtureParameters, got a {type(params).__name__}")
    X = as_data(X, n_features=params.n_features, estimator="MixtureParameters")
    try:
        sums = _core.accumulate(
            X,
            sample_weight=as_sample_weight(sample_weight, len(X)),
            covariance_type=params.covariance_type,
            weights=params.weights,
            means=params.means,
            covariances=params.covariances,
            precisions_cholesky=params.precisions_cholesky,
            n_threads=_threads.for_pass(
                n_threads, params.covariance_type, len(X), *params.means.shape
            ),
        )
    except _core.NotFiniteError:
        check_finite(X)  # which names the row
        raise
    return SufficientStatistics(
        params.covariance_type,
        sums["nk"],
        sums["shift"],
        sums["sx"],
        sums["sxx"],
        sums["log_likelihood"],
        sums["weight_sum"],
        sums["n_samples"],
    )


def maximize(stats: SufficientStatistics, reg_covar: float = 1e-6) -> MixtureParameters:
    """Return `stats.maximize(reg_covar)`: the M-step as a function.

    Parameters
    ----------
    stats : SufficientStatistics
    reg_covar : float, default=1e-6
        Added to every variance.

    Returns
    -------
    MixtureParameters

    Raises
    ------
    ValueError
        A covariance is singular, or `reg_covar` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from fusedgmm import MixtureParameters, accumulate, maximize
    >>> start = MixtureParameters.from_covariances([1.0], [[0.0]], [1.0], "spherical")
    >>> params = maximize(accumulate(np.array([[1.0], [3.0]]), start), reg_covar=0)
    >>> params.means.tolist(), params.covariances.tolist()
    ([[2.0]], [1.0])
    """
    return stats.maximize(reg_covar)
