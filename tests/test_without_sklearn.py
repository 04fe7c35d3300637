"""The estimators without scikit-learn."""

from textwrap import dedent

from helpers import run_python

BLOCK = """
    import importlib.abc
    import sys
    import warnings

    class Blocked(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "sklearn":
                raise ImportError("scikit-learn is blocked")

    sys.meta_path.insert(0, Blocked())
    warnings.simplefilter("error")

    import numpy as np
    import fusedgmm
    from fusedgmm import GaussianMixture
    from fusedgmm._estimator import ConvergenceWarning, NotFittedError

    X = np.random.default_rng(0).normal(size=(200, 2)) + np.repeat([[0, 0], [9, 9]], 100, axis=0)

    def raised(kind, call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except kind as error:
            return str(error)
        raise AssertionError(f"no {kind.__name__}")
"""


def run(code):
    run_python(dedent(BLOCK) + dedent(code))


def test_fit_and_use():
    run("""
        import pickle

        model = GaussianMixture(2, random_state=0)
        labels = model.fit_predict(X)
        assert (labels == model.predict(X)).all() and len(set(labels[:100])) == 1
        assert model.n_features_in_ == 2 and not hasattr(model, "feature_names_in_")
        assert model.predict_proba(X).shape == (200, 2)
        assert model.sample(5)[0].shape == (5, 2)
        assert model.bic(X) > model.aic(X)
        assert (pickle.loads(pickle.dumps(model)).predict(X) == labels).all()
        assert "3 features" in raised(ValueError, model.predict, np.zeros((4, 3)))
        assert "sklearn" not in sys.modules
    """)


def test_parameters():
    run("""
        model = GaussianMixture(3, tol=0.5, means_init=np.zeros((3, 2)))
        assert list(model.get_params()) == sorted(model.get_params())
        assert model.get_params()["tol"] == 0.5 and len(model.get_params()) == 19
        assert model.set_params(tol=0.1, n_components=2) is model
        assert (model.tol, model.n_components) == (0.1, 2)
        assert repr(GaussianMixture()) == "GaussianMixture()"
        assert repr(GaussianMixture(2, tol=0.1)) == "GaussianMixture(n_components=2, tol=0.1)"
        assert "nonsense" in raised(ValueError, model.set_params, tol=7, nonsense=1)
        assert model.tol == 0.1
    """)


def test_errors_and_warnings():
    run("""
        model = GaussianMixture(2, random_state=0, max_iter=1, tol=0)
        for method in ("predict", "predict_proba", "score", "score_samples", "aic", "bic"):
            assert "not fitted yet" in raised(NotFittedError, getattr(model, method), X)
        assert "not fitted yet" in raised(NotFittedError, model.sample)
        assert issubclass(NotFittedError, ValueError) and issubclass(NotFittedError, AttributeError)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X)
        assert [w.category for w in caught] == [ConvergenceWarning]
        assert caught[0].filename == "<string>"  # it points at the caller
    """)


def test_a_batch():
    run("""
        result = fusedgmm.fit_batch([X, X[:50], X[:1]], [1, 2], random_state=0)
        assert result.n_components.tolist() == [2, 1, 0]
        alone = GaussianMixture(2, n_init=1, random_state=int(result.seeds[0])).fit(X)
        assert (result[0].means_ == alone.means_).all()
        assert result[0].get_params() == alone.get_params()
        assert "sklearn" not in sys.modules
    """)
