"""Calls as users write them; mypy checks the types (test_typing.py), nothing runs."""

from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

from fusedgmm import (
    BatchResult,
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureSearch,
    MixtureParameters,
    Selection,
    SufficientStatistics,
    accumulate,
    fit_batch,
    select,
)

X = np.zeros((10, 2))
model = GaussianMixture(3, covariance_type="diag", random_state=np.random.default_rng(0))
assert_type(model.fit(X, sample_weight=[1.0] * 10), GaussianMixture)
assert_type(model.predict(X), NDArray[np.int64])
assert_type(model.score_samples(X), NDArray[np.floating[Any]])
assert_type(model.score(X), float)
assert_type(model.sample(3), tuple[NDArray[np.float64], NDArray[np.int64]])
assert_type(model.converged_, bool)
assert_type(GaussianMixture(n_init="auto").fit(X), GaussianMixture)
assert_type(GaussianMixture(n_init=3).parameters, MixtureParameters)
assert_type(GaussianMixture.from_parameters(model.parameters, tol=0.1), GaussianMixture)
assert_type(GaussianMixture.load("model.npz"), GaussianMixture)
model.save("model.npz")
assert_type(BayesianGaussianMixture(n_components=3).fit(X), BayesianGaussianMixture)

result = fit_batch([X, X], [1, 2], random_state=[1, 2])
assert_type(result, BatchResult)
assert_type(result[0], GaussianMixture)
assert_type(result[:1], BatchResult)
assert_type(result.bic, NDArray[np.float64])

selection = select(X, range(1, 4), ("full", "diag"), criterion="icl")
assert_type(selection, Selection)
assert_type(selection.best_, GaussianMixture)
assert_type(selection.table[0].criterion, float)
assert_type(selection.models[2, "full"], GaussianMixture)
assert_type(GaussianMixtureSearch((1, 2)).fit(X), GaussianMixtureSearch)
assert_type(fit_batch([X], 2, covariance_type=["full", "tied"]).selection(0), Selection)

parameters = MixtureParameters.from_covariances([1.0], [[0.0, 0.0]], [np.eye(2)])
statistics = accumulate(X, parameters)
assert_type(statistics + accumulate(X, model), SufficientStatistics)
assert_type(0.5 * statistics, SufficientStatistics)
assert_type(statistics * 2, SufficientStatistics)
assert_type(statistics.maximize(), MixtureParameters)
assert_type(sum([statistics, statistics]), SufficientStatistics | Literal[0])

GaussianMixture(covariance_type="round")  # type: ignore[arg-type]
GaussianMixture(n_init="always")  # type: ignore[arg-type]
BayesianGaussianMixture(n_init="auto")  # type: ignore[arg-type]
select(X, criterion="vic")  # type: ignore[arg-type]
GaussianMixture(2, "full")  # type: ignore[call-arg]
GaussianMixture(degenerate="ignore")  # type: ignore[arg-type]
