"""The status of each problem of a batch: one bad problem never changes another."""

import numpy as np
import pytest

from fusedgmm import BatchStatus, fit_batch
from helpers import on_linux, run_python
from helpers.batches import GOOD, LINE, assert_same, assert_same_model, rows, single, with_entry

FAR = dict(
    means_init=np.array([[[0.0, 0], [1, 1]]] * 7),
    precisions_init=np.array([[np.eye(2)] * 2] * 7),
    weights_init=np.full((7, 2), 0.5),
)
FAR["means_init"][3] = [[0, 0], [5e3, 5e3]]


@pytest.mark.parametrize(
    "status, bad, k, options",
    [
        ("TOO_FEW_ROWS", np.zeros((0, 2)), 1, {}),
        ("TOO_FEW_ROWS", np.ones((1, 2)), 1, {}),
        ("TOO_FEW_ROWS", rows(2, 2), 3, {}),
        ("TOO_FEW_ROWS", rows(2, 2), [4, 3], {}),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, {}),
        ("ROWS_NOT_FINITE", with_entry(np.inf), 2, {}),
        ("ROWS_NOT_FINITE", with_entry(-np.inf), [1, 2, 3], {}),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, dict(max_iter=0)),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, FAR | dict(max_iter=0)),
        ("ROWS_NOT_FINITE", with_entry(np.nan), 2, dict(init_params="random")),
        ("SINGULAR_COVARIANCE", LINE, 2, dict(reg_covar=0)),
        ("SINGULAR_COVARIANCE", LINE, 1, dict(reg_covar=0, covariance_type="tied")),
        ("CONSTANT_ROWS", np.ones((30, 2)), 2, dict(reg_covar=0)),
        ("CONSTANT_ROWS", np.ones((30, 2)), 1, {}),
        ("CONSTANT_ROWS", np.ones((30, 2)), 3, {}),
        ("TOO_FEW_DISTINCT_ROWS", np.repeat(rows(2, 2), 20, axis=0), 3, {}),
        ("TOO_FEW_DISTINCT_ROWS", np.repeat(rows(2, 2), 20, axis=0), 3, dict(reg_covar=0)),
        ("ROWS_OUT_OF_REACH", np.array([[1e200, 0], [0, 0], [1, 1]]), 2, FAR),
        ("EMPTY_COMPONENT", rows(40, 2), 2, FAR),
    ],
)
def test_a_bad_problem_is_named_and_the_others_untouched(status, bad, k, options, four_cpus):
    seeds = np.arange(7)
    result = fit_batch([*GOOD[:3], bad, *GOOD[3:]], k, random_state=seeds, **options)
    assert BatchStatus(result.status[3]).name == status
    others = [0, 1, 2, 4, 5, 6]
    mine = {n: a[others] if n in FAR else a for n, a in options.items()}
    assert_same(result[others], fit_batch(GOOD, k, random_state=seeds[others], **mine))
    assert result.ok[others].all()
    if result.ok[3]:
        model = result[3]
        assert np.isfinite(model.means_).all() and np.isfinite(model.covariances_).all()
        assert_same_model(
            single(bad, k, 3, **{n: a[3] if n in FAR else a for n, a in options.items()}), model
        )
    else:
        for name in ("weights", "means", "covariances", "precisions_cholesky", "lower_bound"):
            assert np.isnan(getattr(result, name)[3]).all()
        for name in ("bic", "aic", "criteria"):
            assert np.isnan(getattr(result, name)[3]).all()
        assert result.n_components[3] == result.n_iter[3] == result.converged[3] == 0


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, 0])
def test_bad_sample_weights_are_named(value):
    weights = [np.ones(len(x)) for x in GOOD]
    expected = fit_batch(GOOD, 2, sample_weight=weights, random_state=0)
    weights[2] = np.full(len(GOOD[2]), value) if value == 0 else weights[2].copy()
    weights[2][0] = value
    result = fit_batch(GOOD, 2, sample_weight=weights, random_state=0)
    assert result.status[2] == BatchStatus.BAD_SAMPLE_WEIGHT
    others = [0, 1, 3, 4, 5]
    assert_same(result[others], expected[others])
    none = fit_batch([np.zeros((0, 2)), GOOD[0]], 2, sample_weight=[[], weights[0]])
    assert none.status[0] == BatchStatus.TOO_FEW_ROWS  # and not that all weights are zero


def test_rows_of_weight_zero_are_not_distinct():
    X = np.repeat(rows(3, 2), 20, axis=0)
    w = np.repeat([1.0, 0, 0], 20)
    assert fit_batch([X], 1, sample_weight=[w]).status[0] == BatchStatus.CONSTANT_ROWS


def test_not_converged():
    result = fit_batch(GOOD, 3, max_iter=2, tol=0.0, random_state=0)
    assert (result.status == BatchStatus.NOT_CONVERGED).all()
    assert result.ok.all() and not result.converged.any() and (result.n_iter == 2).all()


@on_linux("limits the address space")
def test_out_of_memory():
    code = """
        import resource
        import numpy as np
        from pathlib import Path
        from fusedgmm import BatchStatus, fit_batch

        X = np.random.default_rng(0).normal(size=(1, 20, 2000))
        fit_batch(X[:, :, :2], 2, n_threads=1)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        result = fit_batch(X, 2, n_threads=1)  # 128 MB of result, twice that to work in
        assert result.status.tolist() == [BatchStatus.OUT_OF_MEMORY], result.status
    """
    run_python(code)


def test_squares_out_of_range_are_said_to_need_a_scale():
    with pytest.raises(ValueError, match="problem 0 has no mixture.*scale the data"):
        fit_batch([LINE * 1e200], 2, on_error="raise")


def test_rows_whose_density_float32_cannot_hold_are_out_of_reach():
    X = (np.array([[1.0], [-1.0]]) * 1e20).astype(np.float32)
    options = dict(covariance_type="spherical", max_iter=0, random_state=0)
    double = fit_batch([X.astype(np.float64)], 1, **options)
    assert double.ok[0] and np.isfinite(double.bic[0])
    single = fit_batch([X], 1, **options)
    assert single.status[0] == BatchStatus.ROWS_OUT_OF_REACH and not single.ok[0]


def test_every_status_has_a_meaning():
    assert all(status.meaning for status in BatchStatus)


def test_on_error_raise():
    X = [GOOD[0], with_entry(np.nan), GOOD[1], np.zeros((0, 2))]
    with pytest.raises(ValueError, match="problem 1 has no mixture: NaN or infinity") as caught:
        fit_batch(X, 2, on_error="raise", random_state=0)
    assert_same(caught.value.partial, fit_batch(X, 2, random_state=0))
    flat, cuts = np.concatenate(X), np.repeat(list("dbca"), [len(x) for x in X])
    with pytest.raises(ValueError, match=r"problem 0 \(group np.str_\('b'\)\) has no|group 'b'"):
        fit_batch(flat, 2, groups=cuts, on_error="raise")
    assert fit_batch(X[::2], 2, on_error="raise").ok.all()
