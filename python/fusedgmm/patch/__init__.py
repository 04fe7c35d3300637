"""Run programs written for scikit-learn's mixtures with fusedgmm, unchanged.

    python -m fusedgmm.patch script.py args...

or, inside a program, call `fusedgmm.patch_sklearn()` before other modules import the mixtures.
"""

from __future__ import annotations

import copyreg
import sys
import warnings
from abc import ABCMeta
from importlib import import_module
from inspect import getmembers, isfunction
from types import ModuleType
from typing import Any

from .._bayesian import BayesianGaussianMixture
from .._mixture import GaussianMixture
from .._sklearn import HOMES, original

__all__ = ["patch_sklearn", "unpatch_sklearn"]

_HOME = __name__.rpartition(".")[0]  # of this copy of the package, which may be vendored
_OURS = {"GaussianMixture": GaussianMixture, "BayesianGaussianMixture": BayesianGaussianMixture}
_substitutes: dict[str, type] = {}
_replaced: list[tuple[ModuleType, str, type]] = []  # module, attribute, original class


class _IntNInit:
    """The `n_init` of a model that scikit-learn fits: 1 instead of "auto", which scikit-learn
    rejects."""

    def __get__(self, model: object, kind: type) -> Any:
        if model is None:
            return self
        n_init = vars(model)["n_init"]
        return 1 if isinstance(n_init, str) and n_init == "auto" else n_init

    def __set__(self, model: object, value: object) -> None:
        vars(model)["n_init"] = value


def _substitute(name: str) -> type:
    """Return the replacement for scikit-learn's class `name`: a subclass of both classes, so
    isinstance gives the same answers as before."""
    if name in _substitutes:
        return _substitutes[name]
    theirs, ours = original(name, "patch_sklearn"), _OURS[name]
    ours()  # derives from scikit-learn's base classes, now that they are loaded
    methods = {k: v for k, v in getmembers(theirs, isfunction) if not k.startswith("__")}
    # our classes already have the general methods of estimators, such as tags
    of_mixtures = {k: v for k, v in methods.items() if v.__module__.startswith("sklearn.mixture.")}

    class Meta(ABCMeta):
        def __instancecheck__(cls, instance: object) -> bool:
            # models created before the patch keep their type
            return super().__instancecheck__(instance) or (
                cls is substitute and theirs in type(instance).__mro__
            )

        def __subclasscheck__(cls, subclass: type) -> bool:
            # not issubclass(subclass, theirs): that would call this method for our subclass of
            # theirs
            return super().__subclasscheck__(subclass) or (
                cls is substitute and theirs in subclass.__mro__
            )

    def __init_subclass__(cls: type, /, **kwargs: object) -> None:
        """Give subclasses that override scikit-learn's private methods its own fit."""
        super(substitute, cls).__init_subclass__(**kwargs)
        if any(method in vars(cls) and method.startswith("_") for method in methods):
            for method, function in of_mixtures.items():
                if method not in vars(cls):
                    setattr(cls, method, function)
            cls.n_init = _IntNInit()  # type: ignore[attr-defined]

    def __setstate__(self: Any, state: dict[str, object]) -> None:
        """Restore a pickled model; scikit-learn's, saved before the patch, become ours."""
        super(substitute, self).__setstate__(state if "_format" in state else _ours(name, state))

    substitute: Any = Meta(
        name,
        (ours, theirs),
        {
            "__module__": __name__,
            "__qualname__": f"sklearn_{name}",
            "__doc__": ours.__doc__,
            "_stands_for": theirs,
            "__init__": vars(ours)["__init__"],
            "__init_subclass__": classmethod(__init_subclass__),
            "__setstate__": __setstate__,
        },
    )
    _substitutes[name] = substitute
    return _substitutes[name]


def _ours(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of one of scikit-learn's models as the state of ours."""
    state, current = dict(state), sys.modules["sklearn"].__version__
    version = state.pop("_sklearn_version", current)
    if version != current:  # scikit-learn warns, too
        warnings.warn(
            import_module("sklearn.exceptions").InconsistentVersionWarning(
                estimator_name=name,
                current_sklearn_version=current,
                original_sklearn_version=version,
            ),
            stacklevel=3,
        )
    return {**_OURS[name]().get_params(), **state, "_format": 1}


def _reduced(model: Any) -> tuple[Any, ...]:
    """Tell pickle how to save a model of scikit-learn's own class, whose name now means another."""
    return _new_original, (type(model).__name__,), model.__getstate__()


def _new_original(name: str) -> Any:
    cls = original(name, "this model")
    return cls.__new__(cls)


# Pickles written by a patched program look up their class here.
def __getattr__(name: str) -> type:
    if name.removeprefix("sklearn_") in HOMES:
        return _substitute(name.removeprefix("sklearn_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def patch_sklearn(*, everywhere: bool = False) -> list[str]:
    """Replace scikit-learn's Gaussian mixtures by those of fusedgmm.

    Parameters
    ----------
    everywhere : bool, default=False
        If True, also replace them in modules that have already imported scikit-learn's classes.

    Returns
    -------
    replaced : list of str
        The names that now refer to fusedgmm's classes, as "module.name".

    Raises
    ------
    ImportError
        scikit-learn is not installed.

    Notes
    -----
    The replacements inherit from scikit-learn's classes, and scikit-learn's own models count as
    instances of them, so isinstance gives the same answers as before. A subclass that overrides
    one of scikit-learn's private methods keeps scikit-learn's fit. `unpatch_sklearn` restores
    the original classes.

    Models that scikit-learn has pickled, also inside pipelines, load as fusedgmm's. Models of
    scikit-learn's own classes that exist already stay what they are; if they are pickled under the
    patch, loading them needs fusedgmm.

    Examples
    --------
    >>> import fusedgmm
    >>> fusedgmm.patch_sklearn()[0]
    'sklearn.mixture.GaussianMixture'
    >>> from sklearn.mixture import GaussianMixture
    >>> issubclass(GaussianMixture, fusedgmm.GaussianMixture)
    True
    >>> fusedgmm.unpatch_sklearn()
    """
    replaced = []
    for name, home in HOMES.items():
        theirs, substitute = original(name, "patch_sklearn"), _substitute(name)
        copyreg.pickle(theirs, _reduced)
        places = sys.modules if everywhere else ("sklearn.mixture", home)
        for place in list(places):
            module = sys.modules[place]
            if not isinstance(module, ModuleType) or place.startswith(f"{_HOME}."):
                continue
            for attribute, value in list(vars(module).items()):
                if value is theirs:
                    setattr(module, attribute, substitute)
                    _replaced.append((module, attribute, theirs))
                    replaced.append(f"{place}.{attribute}")
    return replaced


def unpatch_sklearn() -> None:
    """Restore every name that `patch_sklearn` replaced, unless it has been changed since.

    Examples
    --------
    >>> import sklearn.mixture
    >>> import fusedgmm
    >>> replaced = fusedgmm.patch_sklearn()
    >>> fusedgmm.unpatch_sklearn()
    >>> issubclass(sklearn.mixture.GaussianMixture, fusedgmm.GaussianMixture)
    False
    """
    while _replaced:
        module, attribute, theirs = _replaced.pop()
        copyreg.dispatch_table.pop(theirs, None)
        if vars(module).get(attribute) is _substitutes[theirs.__name__]:
            setattr(module, attribute, theirs)
