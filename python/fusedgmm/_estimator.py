"""scikit-learn's estimator conventions: its own where installed, the same in small where not."""

from __future__ import annotations

import inspect

import numpy as np

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.exceptions import ConvergenceWarning, NotFittedError
except ImportError:

    class ConvergenceWarning(UserWarning):
        """A fit stopped before it converged."""

    class NotFittedError(ValueError, AttributeError):
        """A fitted model is needed."""

    class DensityMixin:
        """Nothing to add without scikit-learn."""

    class BaseEstimator:
        """get_params, set_params and repr from the constructor's signature."""

        @classmethod
        def _parameters(cls):
            return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])

        def get_params(self, deep=True):
            """Return the constructor parameters by name."""
            return {name: getattr(self, name) for name in sorted(self._parameters())}

        def set_params(self, **params):
            """Set constructor parameters; ValueError on an unknown name."""
            known = self._parameters()
            for name in params:
                if name not in known:
                    raise ValueError(
                        f"Invalid parameter {name!r} for estimator {self}. "
                        f"Valid parameters are: {sorted(known)}."
                    )
            for name, value in params.items():
                setattr(self, name, value)
            return self

        def __repr__(self):
            changed = (
                f"{name}={getattr(self, name)!r}"
                for name, parameter in self._parameters().items()
                if repr(getattr(self, name)) != repr(parameter.default)
            )
            return f"{type(self).__name__}({', '.join(changed)})"

    def _check_names(estimator, X, reset):
        """Feature names are scikit-learn's matter; without it there are none."""
else:
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # before scikit-learn 1.6

        def _check_names(estimator, X, reset):
            estimator._check_feature_names(X, reset=reset)
    else:

        def _check_names(estimator, X, reset):
            validate_data(estimator, X, reset=reset, skip_check_array=True)


def feature_attributes(X, n_features):
    """Return n_features_in_ and, where `X` has them, feature_names_in_, for a fit to set."""
    probe = BaseEstimator()  # a stand-in: a fit that fails later must leave the old names alone
    _check_names(probe, X, reset=True)
    return {**vars(probe), "n_features_in_": n_features}


def check_feature_names(estimator, X):
    """Raise or warn as scikit-learn does when names differ from those of the fit."""
    _check_names(estimator, X, reset=False)


def check_fitted(estimator):
    """Raise NotFittedError unless the model has parameters."""
    if not hasattr(estimator, "precisions_cholesky_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' with "
            "appropriate arguments before using this estimator."
        )


def as_random(random_state):
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


def draw_seed(random):
    """Draw one uint64 seed, as an int."""
    draw = random.integers if isinstance(random, np.random.Generator) else random.randint
    return int(draw(0, 2**64, dtype=np.uint64))
