"""scikit-learn's estimator conventions: its own where installed, the same in small where not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._typing import Random

if TYPE_CHECKING:  # scikit-learn has no types; what it shares with its stand-in is all we use
    from ._without_sklearn import (
        BaseEstimator,
        ConvergenceWarning,
        DensityMixin,
        NotFittedError,
        check_names,
    )
else:
    try:
        from sklearn.base import BaseEstimator, DensityMixin
        from sklearn.exceptions import ConvergenceWarning, NotFittedError
    except ImportError:
        from ._without_sklearn import (
            BaseEstimator,
            ConvergenceWarning,
            DensityMixin,
            NotFittedError,
            check_names,
        )
    else:
        try:
            from sklearn.utils.validation import validate_data
        except ImportError:  # before scikit-learn 1.6

            def check_names(estimator, X, reset):
                estimator._check_feature_names(X, reset=reset)
        else:

            def check_names(estimator, X, reset):
                validate_data(estimator, X, reset=reset, skip_check_array=True)


__all__ = [
    "BaseEstimator",
    "ConvergenceWarning",
    "DensityMixin",
    "NotFittedError",
    "as_random",
    "as_seed",
    "check_feature_names",
    "check_fitted",
    "feature_attributes",
]


def feature_attributes(X: ArrayLike, n_features: int) -> dict[str, object]:
    """Return n_features_in_ and, where `X` has them, feature_names_in_, for a fit to set."""
    probe = BaseEstimator()  # a stand-in: a fit that fails later must leave the old names alone
    check_names(probe, X, reset=True)
    return {**vars(probe), "n_features_in_": n_features}


def check_feature_names(estimator: BaseEstimator, X: ArrayLike) -> None:
    """Raise or warn as scikit-learn does when names differ from those of the fit."""
    if type(X) is np.ndarray and not hasattr(estimator, "feature_names_in_"):
        return  # no names on either side
    check_names(estimator, X, reset=False)


def check_fitted(estimator: BaseEstimator) -> None:
    """Raise NotFittedError unless the model has parameters."""
    if not hasattr(estimator, "precisions_cholesky_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' with "
            "appropriate arguments before using this estimator."
        )


def as_random(random_state: object) -> Random:
    """Return a RandomState or Generator from None, an int or either of the two."""
    if random_state is None or random_state is np.random:
        return np.random.mtrand._rand  # NumPy's global state, as scikit-learn takes it
    if isinstance(random_state, (np.random.RandomState, np.random.Generator)):
        return random_state
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return np.random.RandomState(random_state)
    raise ValueError(
        f"random_state must be None, an int, a RandomState or a Generator, got {random_state!r}"
    )


def as_seed(random_state: object) -> int:
    """Return the uint64 seed of a fit: an int itself, or a draw from the others' stream."""
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if not 0 <= random_state < 2**32:
            raise ValueError(f"random_state must be between 0 and 2**32 - 1, got {random_state}")
        return int(random_state)
    random = as_random(random_state)
    draw = random.integers if isinstance(random, np.random.Generator) else random.randint
    return int(draw(0, 2**64, dtype=np.uint64))
