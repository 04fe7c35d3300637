"""The types that the package's signatures share."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Reals: TypeAlias = NDArray[np.floating]  # float32 or float64, as the data are
Labels: TypeAlias = NDArray[np.int64]
CovarianceType: TypeAlias = Literal["full", "tied", "diag", "spherical"]
Output: TypeAlias = Literal["labels", "responsibilities", "log_likelihood"]
InitParams: TypeAlias = Literal["kmeans", "k-means++", "random", "random_from_data"]
# strings: numpy.random costs 10 ms to import
Random: TypeAlias = "np.random.RandomState | np.random.Generator"
RandomState: TypeAlias = "int | Random | None"


class Sums(TypedDict):
    """Sums over rows about a shift, as the core takes and gives them."""

    nk: Floats
    shift: Floats
    sx: Floats
    sxx: Floats


class PassSums(Sums):
    """What one pass gives."""

    log_likelihood: float
    weight_sum: float
    n_samples: int
