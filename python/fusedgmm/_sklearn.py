"""The original classes of scikit-learn, imported on demand."""

from __future__ import annotations

from importlib import import_module
from typing import Any

HOMES = {
    "GaussianMixture": "sklearn.mixture._gaussian_mixture",
    "BayesianGaussianMixture": "sklearn.mixture._bayesian_mixture",
}
_originals: dict[str, Any] = {}


def original(name: str, purpose: str) -> Any:
    """Return scikit-learn's class `name`, even while a patch replaces it.

    Raises
    ------
    ImportError
        scikit-learn is not installed; the message says that `purpose` needs it."""
    if name not in _originals:
        try:
            home = import_module(HOMES[name])
        except ImportError as error:
            raise ImportError(
                f"{purpose} needs scikit-learn: pip install fusedgmm[sklearn]"
            ) from error
        found = getattr(home, name)
        # another copy of fusedgmm may have replaced it
        _originals[name] = vars(found).get("_stands_for", found)
    return _originals[name]
