"""Conversion of models from scikit-learn to fusedgmm and back."""

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture
from helpers import assert_same_answers, assert_same_state, mixture_data, public, quiet_fit
from helpers.beside_sklearn import THEIRS

X = mixture_data(400, 3, 3)[0]


@pytest.mark.slow
def test_a_model_of_scikit_learns_becomes_ours(kind, covariance_type, dtype):
    rows = X.astype(dtype)
    options = dict(covariance_type=covariance_type, max_iter=5, tol=0.5, random_state=3)
    theirs = quiet_fit(THEIRS[kind](n_components=3, **options), rows)
    ours = kind.from_sklearn(theirs)
    assert type(ours) is kind
    assert ours.get_params().items() >= theirs.get_params().items()
    assert_same_state(ours, theirs)
    assert_same_answers(ours, theirs, rows)


def test_a_model_of_ours_becomes_scikit_learns(kind, covariance_type, dtype):
    rows = X.astype(dtype)
    options = dict(covariance_type=covariance_type, max_iter=5, random_state=3)
    ours = quiet_fit(kind(n_components=3, **options), rows)
    theirs = ours.to_sklearn()
    assert type(theirs) is THEIRS[kind]
    known = ours.get_params() | {"n_init": 1}  # "auto" in ours
    assert theirs.get_params().items() <= known.items()
    assert_same_state(ours, theirs)
    assert_same_answers(ours, theirs, rows)
    assert_same_state(kind.from_sklearn(theirs), ours)


def test_unfitted_models_and_feature_names_are_converted(kind):
    assert not public(kind.from_sklearn(THEIRS[kind](n_components=4)))
    assert not public(kind(n_components=4).to_sklearn())
    assert kind.from_sklearn(THEIRS[kind](n_components=4)).n_components == 4
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    ours = quiet_fit(kind(n_components=2, random_state=0), frame)
    theirs = ours.to_sklearn()
    assert theirs.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(theirs.predict(frame), ours.predict(frame))


def test_a_converted_model_can_be_fitted_further(kind):
    for model in (
        kind.from_sklearn(quiet_fit(THEIRS[kind](n_components=2, max_iter=2, warm_start=True), X)),
        quiet_fit(
            kind(n_components=2, max_iter=2, warm_start=True, random_state=0), X
        ).to_sklearn(),
    ):
        before = model.lower_bound_
        assert quiet_fit(model.set_params(max_iter=50), X).lower_bound_ >= before


def test_parameters_fixed_by_a_subclass_are_converted(kind):
    """The constructor of the subclass, and so get_params, does not have the parameter."""

    class Ours(kind):
        def __init__(self, n_components=2):
            super().__init__(n_components=n_components, covariance_type="diag", random_state=0)

    class Theirs(THEIRS[kind]):
        def __init__(self, n_components=2):
            super().__init__(n_components=n_components, covariance_type="diag", random_state=0)

    for model, other in (
        ((ours := quiet_fit(Ours(), X)), ours.to_sklearn()),
        ((theirs := quiet_fit(Theirs(), X)), kind.from_sklearn(theirs)),
    ):
        assert (other.covariance_type, other.random_state) == ("diag", 0)
        np.testing.assert_allclose(other.score_samples(X), model.score_samples(X))


def test_only_models_of_the_same_class_are_converted():
    other = THEIRS[BayesianGaussianMixture]()
    with pytest.raises(TypeError, match="expected a GaussianMixture, got a BayesianGauss"):
        GaussianMixture.from_sklearn(other)
    with pytest.raises(TypeError, match="expected a BayesianGaussianMixture, got a dict"):
        BayesianGaussianMixture.from_sklearn({})
    # scikit-learn takes no Generator
    ours = GaussianMixture(random_state=np.random.default_rng(0))
    assert ours.to_sklearn().random_state is None


def test_n_init_is_converted():
    """scikit-learn has no "auto": there it becomes one start."""
    for n_init, expected in ((1, 1), (7, 7), ("auto", 1)):
        model = quiet_fit(GaussianMixture(2, n_init=n_init, random_state=0), X)
        theirs = model.to_sklearn()
        assert theirs.n_init == expected
        quiet_fit(theirs, X)  # fit checks its parameters
        assert GaussianMixture.from_sklearn(theirs).n_init == expected
