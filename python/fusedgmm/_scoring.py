"""Prepared models: the attributes that rows are scored with, checked and converted once.

Users may set the attributes, or write into their arrays, at any time. Every call therefore compares
a hash of the arrays, all bytes, with that of the arrays that were prepared."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from . import _core
from ._covariance import layout_of
from ._estimator import Estimator
from ._typing import CovarianceType, Floats, Reals
from ._validation import as_floating, check_finite, check_shape, warn_caller

FACTORS = "precisions_cholesky_"


class Density(NamedTuple):
    """A mixture as the core takes it; log_scale is added to its log-likelihoods."""

    weights: Floats
    means: Floats
    factors: Floats
    log_scale: float = 0.0


def plain(value: object, name: str) -> Reals:
    """Return an attribute, which a user may have set, as a contiguous float32 or float64 array."""
    return np.asarray(as_floating(value, name), order="C")


def as_density(weights: Reals, means: Reals, factors: Reals, covariance_type: str) -> Density:
    """Return a mixture as the core takes it, from attributes that users may have set.

    The weights need not sum to one; scikit-learn does not require it either.

    Raises
    ------
    ValueError
        Shapes do not match, an entry is NaN or infinite, a weight is negative, or a factor is not
        triangular with a positive diagonal.
    """
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(
            f"means_ must have shape (n_components, n_features), but has {means.shape}"
        )
    layout, n_components = layout_of(covariance_type), len(means)
    check_shape(weights, (n_components,), "weights_")
    check_shape(factors, layout.shape(*means.shape), FACTORS)
    most = sys.float_info.max
    if not _core.all_within(means, -most, most):
        check_finite(means, "means_")
    if not _core.all_within(weights, 0.0, most):
        check_finite(weights, "weights_")
        raise ValueError(f"weights_ must not be negative, got {weights.min():.5g}")
    upper = layout.upper_factors(
        np.asarray(factors, dtype=np.float64), float(np.finfo(factors.dtype).eps)
    )
    return Density(
        np.asarray(weights, dtype=np.float64), np.asarray(means, dtype=np.float64), upper
    )


class Prepared:
    """The density of a model, and what tells whether its attributes are still the same."""

    __slots__ = ("_covariance_type", "_covariances", "_fingerprint", "_scorers", "density")

    def __init__(self, model: Scored) -> None:
        self._covariance_type = model.covariance_type
        self._covariances = getattr(model, "covariances_", None)
        # of copies: another thread may write into the attributes meanwhile
        copies = tuple(np.array(array) for array in _as_plain(model, model._sources()))
        self._fingerprint = _core.fingerprint(copies)
        self.density = model._density(*copies)
        self._scorers: dict[np.dtype[Any], _core.Scorer] = {}
        if self._covariances is not getattr(model, "_made_covariances", None):
            _warn_of_other_covariances(self._covariances, self.density.factors, model)

    def is_of(self, model: Scored) -> bool:
        """Return whether the attributes of the model are unchanged."""
        if self._covariance_type != model.covariance_type or self._covariances is not getattr(
            model, "covariances_", None
        ):
            return False
        sources = model._sources()
        found = _core.fingerprint(sources)
        if found is None:
            found = _core.fingerprint(_as_plain(model, sources))
        return found == self._fingerprint

    def scorer(self, dtype: np.dtype[Any]) -> _core.Scorer:
        """Return the core's object that scores rows of a dtype."""
        scorer = self._scorers.get(dtype)
        if scorer is None:
            weights, means, factors, _ = self.density
            scorer = self._scorers[dtype] = _core.Scorer(
                covariance_type=self._covariance_type,
                weights=weights,
                means=means,
                precisions_cholesky=factors,
                dtype=dtype,
            )
        return scorer


def _as_plain(model: Scored, sources: tuple[object, ...]) -> tuple[Reals, ...]:
    return tuple(map(plain, sources, model._source_names()))


def _warn_of_other_covariances(covariances: object, factors: Floats, model: Scored) -> None:
    """Warn if covariances_ were set, but not the factors."""
    if not (isinstance(covariances, np.ndarray) and covariances.dtype.kind == "f"):
        return  # scoring does not use them
    rounding = float(np.finfo(covariances.dtype).eps)
    if covariances.shape == factors.shape and not layout_of(model.covariance_type).belong_together(
        np.ascontiguousarray(covariances, dtype=np.float64), factors, rounding
    ):
        warn_caller(
            "covariances_ do not match precisions_cholesky_, which scoring and prediction use; set "
            "both. MixtureParameters.from_covariances computes one from the other"
        )


class Scored(Estimator):
    """A mixture that keeps what it has prepared for scoring."""

    # not in the dictionary, which holds what users see and what is pickled
    __slots__ = ("_made_covariances", "_prepared")
    _prepared: Prepared
    _made_covariances: object  # an array made with precisions_cholesky_, which it matches

    covariance_type: CovarianceType
    weights_: Reals
    means_: Reals
    covariances_: Reals
    precisions_cholesky_: Reals

    def _set_made(self, attributes: dict[str, object]) -> None:
        """Set attributes of which covariances_ and precisions_cholesky_ were made together."""
        vars(self).update(attributes)
        self._made_covariances = self.covariances_

    def _sources(self) -> tuple[object, ...]:
        """Return the attributes that rows are scored with; precisions_cholesky_ is the last."""
        return self.weights_, self.means_, self.precisions_cholesky_

    def _source_names(self) -> tuple[str, ...]:
        return "weights_", "means_", FACTORS

    def _density(self, *sources: Reals) -> Density:
        """Return what rows are scored with, from `_sources`."""
        weights, means, factors = sources
        return as_density(weights, means, factors, self.covariance_type)

    def _as_prepared(self) -> Prepared:
        """Return the prepared model: the last one if no attribute has changed."""
        kept = getattr(self, "_prepared", None)
        if kept is None or not kept.is_of(self):
            kept = self._prepared = Prepared(self)
        return kept
