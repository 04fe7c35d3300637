"""GaussianMixtureSearch: `select` as an estimator, for scikit-learn's pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._covariance import COVARIANCE_TYPES
from ._estimator import ConvergenceWarning, Estimator, NotFittedError, sklearn_counterpart
from ._fits import BatchStatus
from ._mixture import GaussianMixture
from ._select import select
from ._selection import Criterion, Selection
from ._typing import CovarianceType, Floats, InitParams, Labels, RandomState, Reals
from ._validation import warn_caller


class GaussianMixtureSearch(Estimator):
    """A Gaussian mixture whose number of components and covariance type are chosen by the fit.

    `select` in the form of an estimator: `fit` tries all combinations and keeps the best; the other
    methods are those of the best `GaussianMixture`.

    Parameters
    ----------
    n_components : int or sequence of int, default=(1, 2, ..., 9)
        The numbers of components to try.
    covariance_types : str or sequence of str, default=("full", "tied", "diag", "spherical")
        The covariance types to try.
    criterion : {"bic", "aic", "icl", "cv"}, default="bic"
        How to compare the candidates, see `select`.
    n_folds, n_init, init_params, tol, reg_covar, max_iter, random_state, degenerate, n_threads
        As in `select`.

    Attributes
    ----------
    best_estimator_ : GaussianMixture
        The best mixture.
    n_components_, covariance_type_ : int, str
        What was chosen.
    selection_ : Selection
        All candidates.
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : array
    converged_, n_iter_, lower_bound_, n_features_in_, feature_names_in_
        Of the best mixture.

    See Also
    --------
    fusedgmm.select : The same as a function.

    Examples
    --------
    >>> from fusedgmm import GaussianMixtureSearch
    >>> from fusedgmm.datasets import load_faithful
    >>> search = GaussianMixtureSearch(random_state=0).fit(load_faithful())
    >>> search.n_components_, search.covariance_type_
    (3, 'tied')
    >>> search.predict(load_faithful()).shape
    (272,)
    """

    def __init__(
        self,
        n_components: int | Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8, 9),
        *,
        covariance_types: CovarianceType | Sequence[CovarianceType] = COVARIANCE_TYPES,
        criterion: Criterion = "bic",
        n_folds: int = 5,
        n_init: int | Literal["auto"] = "auto",
        init_params: InitParams = "kmeans",
        tol: float = 1e-4,
        reg_covar: float = 0.0,
        max_iter: int = 200,
        random_state: RandomState = None,
        degenerate: Literal["raise", "repair"] = "raise",
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_types = covariance_types
        self.criterion = criterion
        self.n_folds = n_folds
        self.n_init = n_init
        self.init_params = init_params
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.random_state = random_state
        self.degenerate = degenerate
        self.n_threads = n_threads

    selection_: Selection
    best_estimator_: GaussianMixture

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit all candidates and keep the best.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            The data, the weights or an option are invalid, or no candidate could be fitted. The
            estimator is unchanged then.

        Warns
        -----
        ConvergenceWarning
            The best candidate did not converge within `max_iter`.
        """
        selection = select(X, sample_weight=sample_weight, **self.get_params(deep=False))
        best = selection.best_
        if selection.best.status == BatchStatus.NOT_CONVERGED:
            warn_caller(
                f"the best candidate, {best.n_components} {best.covariance_type!r} components, did "
                "not converge: increase max_iter or tol",
                sklearn_counterpart(ConvergenceWarning),
            )
        self.selection_, self.best_estimator_ = selection, best
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Labels:
        """Fit all candidates and return the labels that the best one gives for the rows; as `fit`,
        then `predict`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        labels : array of shape (n_samples,), int64
        """
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def predict(self, X: ArrayLike) -> Labels:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : array of shape (n_samples,), int64
        """
        return self._best.predict(X)

    def predict_proba(self, X: ArrayLike) -> Reals:
        """Return the responsibilities: the probability of each component for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : array of shape (n_samples, n_components_)
        """
        return self._best.predict_proba(X)

    def score_samples(self, X: ArrayLike) -> Reals:
        """Return the log-likelihood of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_likelihood : array of shape (n_samples,)
        """
        return self._best.score_samples(X)

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the (weighted) mean log-likelihood of the rows, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        float
        """
        return self._best.score(X, sample_weight=sample_weight)

    def sample(self, n_samples: int = 1) -> tuple[Floats, Labels]:
        """Draw random rows from the best mixture, as `GaussianMixture.sample`.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : array of shape (n_samples, n_features), float64
        y : array of shape (n_samples,), int64
        """
        return self._best.sample(n_samples)

    def aic(self, X: ArrayLike) -> float:
        """Return Akaike's information criterion of the best mixture; lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        return self._best.aic(X)

    def bic(self, X: ArrayLike) -> float:
        """Return the Bayesian information criterion of the best mixture; lower is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        return self._best.bic(X)

    @property
    def _best(self) -> GaussianMixture:
        if not hasattr(self, "best_estimator_"):
            raise sklearn_counterpart(NotFittedError)(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )
        return self.best_estimator_

    @property
    def n_components_(self) -> int:
        """The chosen number of components."""
        return self._best.n_components

    @property
    def covariance_type_(self) -> CovarianceType:
        """The chosen covariance type."""
        return self._best.covariance_type

    @property
    def weights_(self) -> Reals:
        """The weights of the best mixture; this and the following as in `GaussianMixture`."""
        return self._best.weights_

    @property
    def means_(self) -> Reals:
        """The means."""
        return self._best.means_

    @property
    def covariances_(self) -> Reals:
        """The covariances."""
        return self._best.covariances_

    @property
    def precisions_(self) -> Reals:
        """The inverses of the covariances."""
        return self._best.precisions_

    @property
    def precisions_cholesky_(self) -> Reals:
        """The factors of the precisions."""
        return self._best.precisions_cholesky_

    @property
    def converged_(self) -> bool:
        """Whether the best mixture converged."""
        return self._best.converged_

    @property
    def n_iter_(self) -> int:
        """The number of iterations of the best mixture."""
        return self._best.n_iter_

    @property
    def lower_bound_(self) -> float:
        """The lower bound of the best mixture."""
        return self._best.lower_bound_

    @property
    def n_features_in_(self) -> int:
        """The number of features of the data of the fit."""
        return self._best.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """The names of the features, if the data had names."""
        return self._best.feature_names_in_
