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
            f"{__path__[0]} is inside an archive, from which Python cannot load the compiled core "
            "of fusedgmm: unpack the archive, or install it with pip"
        ) from error
    raise ImportError(
        f"the compiled core of fusedgmm is missing in {__path__[0]}: this is the source folder, or "
        "a build for another Python. Run `pip install .` in the root of the sources, and start "
        "Python in another folder"
    ) from error

from . import stream
from ._batch import fit_batch
from ._batch_result import BatchResult
from ._bayesian import BayesianGaussianMixture
from ._bootstrap import BootstrapResult, bootstrap
from ._callbacks import Checkpoint, FitState
from ._config import __version__, show_config
from ._fits import BatchStatus
from ._mixture import GaussianMixture
from ._parameters import MixtureParameters
from ._quality import ClassificationTable, Crossings, classification_table, crossings, overlap
from ._ratio_test import LikelihoodRatioTest, likelihood_ratio_test
from ._search import GaussianMixtureSearch
from ._select import select
from ._selection import Candidate, Selection
from ._statistics import SufficientStatistics, accumulate
from ._steps import em
from .patch import patch_sklearn, unpatch_sklearn

__all__ = [
    "BatchResult",
    "BatchStatus",
    "BayesianGaussianMixture",
    "BootstrapResult",
    "Candidate",
    "ClassificationTable",
    "Crossings",
    "Checkpoint",
    "FitState",
    "GaussianMixture",
    "GaussianMixtureSearch",
    "LikelihoodRatioTest",
    "MixtureParameters",
    "Selection",
    "SufficientStatistics",
    "__version__",
    "accumulate",
    "bootstrap",
    "classification_table",
    "crossings",
    "em",
    "fit_batch",
    "likelihood_ratio_test",
    "overlap",
    "patch_sklearn",
    "reference",
    "select",
    "show_config",
    "stream",
    "unpatch_sklearn",
]


def __getattr__(name: str) -> ModuleType:
    # imported on demand: only tests and readers need the reference
    if name == "reference":
        return import_module(".reference", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
