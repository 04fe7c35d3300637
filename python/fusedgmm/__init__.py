"""Gaussian mixtures by EM in one fused, multi-threaded pass over memory."""

from importlib import import_module
from os.path import isdir
from types import ModuleType

try:
    import_module("._core", __name__)
except ModuleNotFoundError as error:
    if error.name != f"{__name__}._core":
        raise
    if not isdir(__path__[0]):
        raise ImportError(
            f"{__path__[0]} is in an archive, from which Python cannot load the compiled core of "
            "fusedgmm: unpack it, or install it with pip"
        ) from error
    raise ImportError(
        f"the compiled core of fusedgmm is not in {__path__[0]}: these are its sources, or built "
        "for another Python. Install them with `pip install .` in their top folder, and run Python "
        "from another folder than that of the package"
    ) from error

from ._batch import fit_batch
from ._batch_result import BatchResult, BatchStatus
from ._bayesian import BayesianGaussianMixture
from ._config import __version__, show_config
from ._mixture import GaussianMixture
from ._parameters import MixtureParameters
from ._statistics import SufficientStatistics, accumulate
from .patch import patch_sklearn, unpatch_sklearn

__all__ = [
    "BatchResult",
    "BatchStatus",
    "BayesianGaussianMixture",
    "GaussianMixture",
    "MixtureParameters",
    "SufficientStatistics",
    "__version__",
    "accumulate",
    "fit_batch",
    "patch_sklearn",
    "reference",
    "show_config",
    "unpatch_sklearn",
]


def __getattr__(name: str) -> ModuleType:
    # the oracle is for tests and readers; a fit should not pay for importing it
    if name == "reference":
        return import_module(".reference", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
