"""scikit-learn's estimator conventions in small, for where it is not installed."""

from __future__ import annotations

import inspect
from typing import Self

from numpy.typing import ArrayLike


class ConvergenceWarning(UserWarning):
    """A fit stopped before it converged."""


class NotFittedError(ValueError, AttributeError):
    """A fitted model is needed."""


class DensityMixin:
    """Nothing to add without scikit-learn."""


class BaseEstimator:
    """get_params, set_params and repr from the constructor's signature."""

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the constructor parameters by name."""
        return {name: getattr(self, name) for name in sorted(self._parameters())}

    def set_params(self, **params: object) -> Self:
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

    def __repr__(self) -> str:
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name, parameter in self._parameters().items()
            if repr(getattr(self, name)) != repr(parameter.default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"


def check_names(estimator: BaseEstimator, X: ArrayLike, reset: bool) -> None:
    """Feature names are scikit-learn's matter; without it there are none."""
