"""Sizes beyond memory, 32 bits or 64 bits: the result is correct, or an error is raised at once."""

import numpy as np
import pytest

from fusedgmm import (
    GaussianMixture,
    MixtureParameters,
    accumulate,
    fit_batch,
)
from helpers import BOTH, on_linux, run_python

ROWS = np.random.default_rng(0).normal(size=(50, 2))
ENDLESS = np.broadcast_to(np.array([0.0, 1.0]), (2**40, 2))  # one row of memory
MODEL = GaussianMixture.from_parameters(
    MixtureParameters.from_covariances([1.0], [[0.0, 0.0]], np.eye(2)[None])
)


@pytest.mark.parametrize("name", ["max_iter", "n_init", "verbose_interval", "n_components"])
@pytest.mark.parametrize("kind", BOTH)
def test_a_number_beyond_64_bits_is_named(kind, name):
    with pytest.raises(ValueError, match=f"{name} must be less than 2\\*\\*63, got 1180591"):
        kind(**{name: 2**70}).fit(ROWS)
    if name in ("max_iter", "n_init"):
        with pytest.raises(ValueError, match=f"{name} must be less than"):
            fit_batch(ROWS[None], 1, **{name: 2**63})


@pytest.mark.parametrize("name", ["tol", "reg_covar"])
def test_a_number_beyond_a_float_is_named(name):
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        GaussianMixture(**{name: 10**400}).fit(ROWS)


def test_too_large_a_sample_is_named():
    with pytest.raises(ValueError, match="n_samples must be less than"):
        MODEL.sample(2**63)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic"])
def test_answers_for_more_rows_than_memory_holds(method):
    with pytest.raises(MemoryError, match="Unable to allocate"):
        getattr(MODEL, method)(ENDLESS)


CALLS = {
    "as many components as rows": lambda: GaussianMixture(2**40).fit(ENDLESS),
    "weights": lambda: GaussianMixture().fit(ENDLESS, sample_weight=ENDLESS[:, 0]),
    "columns": lambda: GaussianMixture().fit(np.broadcast_to(np.zeros((2, 1)), (2, 2**34))),
    "variances": lambda: GaussianMixture(covariance_type="diag").fit(
        np.broadcast_to(np.zeros((2, 1)), (2, 2**40))
    ),
    "problems": lambda: fit_batch(np.broadcast_to(np.zeros((1, 1, 1)), (2**40, 5, 1)), 1),
    "a batch's components": lambda: fit_batch(ROWS[None], 2**40),
    "a batch's counts": lambda: fit_batch(ROWS[None], [1, 2**62]),
}


@pytest.mark.parametrize("what", CALLS)
def test_arrays_that_memory_does_not_hold(what):
    with pytest.raises((MemoryError, ValueError), match="Unable to allocate|too big|dimension"):
        CALLS[what]()


@on_linux("/proc, and limits of memory")
def test_missing_working_memory_is_an_error():
    """NumPy can allocate the results, but the core cannot allocate its working memory."""
    code = """
        import resource
        import numpy as np
        from pathlib import Path
        from fusedgmm import GaussianMixture

        X = np.random.default_rng(0).normal(size=(20, 2000))
        model = GaussianMixture(2, n_threads=1).fit(X[:, :2])
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        try:
            model.fit(X)  # 128 MB of result, twice that to work in
        except MemoryError as error:
            assert str(error) == "fusedgmm could not allocate its working memory", error
        else:
            raise AssertionError("there was memory")
        assert model.means_.shape == (2, 2)
    """
    run_python(code)


def test_more_components_than_rows():
    with pytest.raises(ValueError, match="Expected n_samples >= n_components"):
        GaussianMixture(2**62).fit(ENDLESS)


def test_row_numbers_beyond_64_bits():
    offsets = np.array([0, 2**64 - 1, 50], dtype=np.uint64)
    with pytest.raises(ValueError, match="offsets"):
        fit_batch(ROWS, 1, offsets=offsets)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_strides_of_zero_repeat_a_row(covariance_type):
    """Strides of zero for rows, columns and problems."""
    X = np.broadcast_to(np.array([3.0, 5.0]), (70_001, 2))
    params = MixtureParameters.from_covariances([1.0], [[2.0, 5.0]], np.eye(2)[None])
    stats = accumulate(X, params)
    assert stats.n_samples == stats.nk[0] == 70_001
    np.testing.assert_array_equal(stats.sx, [[3 * 70_001, 5 * 70_001]])
    np.testing.assert_array_equal(MODEL.score_samples(X), MODEL.score_samples(X.copy()))
    columns = np.broadcast_to(ROWS[:, :1], (50, 4))
    options = {"reg_covar": 0.1, "random_state": 0, "covariance_type": covariance_type}
    plain = GaussianMixture(2, **options).fit(columns.copy())
    assert GaussianMixture(2, **options).fit(columns).means_.tobytes() == plain.means_.tobytes()
    batch = fit_batch(np.broadcast_to(ROWS, (3, 50, 2)), 2, **options)
    alone = fit_batch([ROWS] * 3, 2, **options)
    assert batch.means.tobytes() == alone.means.tobytes()


def test_as_many_components_as_rows(covariance_type):
    X = ROWS[:12]
    model = GaussianMixture(12, covariance_type=covariance_type, random_state=0, tol=0.1).fit(X)
    np.testing.assert_allclose(np.sort(model.means_, axis=0), np.sort(X, axis=0), atol=1e-6)
    np.testing.assert_allclose(model.weights_, 1 / 12)
