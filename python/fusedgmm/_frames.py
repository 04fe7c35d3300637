"""Data frames of results, in whichever library is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from ._validation import as_option


def data_frame(columns: Mapping[str, Any], library: Literal["pandas", "polars"] | None) -> Any:
    """Return columns as a data frame of the library; None: pandas if it is installed, otherwise
    polars.

    Raises
    ------
    ImportError
        The library is not installed; if it is None, neither of them.
    """
    for name in ("pandas", "polars") if library is None else (library,):
        try:
            module = import_module(as_option(name, "library", ("pandas", "polars")))
        except ImportError:
            continue
        return module.DataFrame(dict(columns))
    raise ImportError(
        f"to_frame needs {library or 'pandas or polars'}: "
        f"pip install fusedgmm[{library or 'pandas'}]"
    )
