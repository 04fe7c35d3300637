"""The types used in the signatures of the package."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Reals: TypeAlias = NDArray[np.floating]  # float32 or float64, like the data
Labels: TypeAlias = NDArray[np.int64]
CovarianceType: TypeAlias = Literal["full", "tied", "diag", "spherical"]
Output: TypeAlias = Literal["labels", "responsibilities", "log_likelihood"]
InitParams: TypeAlias = Literal["kmeans", "k-means++", "random", "random_from_data"]
# strings: numpy.random costs 10 ms to import
Random: TypeAlias = "np.random.RandomState | np.random.Generator"
RandomState: TypeAlias = "int | Random | None"


class Sums(TypedDict):
    """Sums over rows about a shift, in the core's layout."""

    nk: Floats
    shift: Floats
    sx: Floats
    sxx: Floats


class PassSums(Sums):
    """The result of one pass."""

    log_likelihood: float
    weight_sum: float
    n_samples: int
