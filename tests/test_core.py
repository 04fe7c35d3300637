"""The compiled core compared with the reference, for the instruction set in use.

test_instruction_sets.py runs this file once per instruction set, each in a separate process."""

import sys

import numpy as np
import pytest

import fusedgmm
from fusedgmm import _core, reference
from helpers import mixture_data, of_type, tolerance

SIZES = [
    (1, 1, 1),
    (2, 1, 2),
    (7, 3, 2),
    (31, 4, 3),
    (32, 5, 1),
    (33, 8, 2),
    (127, 2, 3),
    (128, 7, 4),
    (129, 9, 5),
    (300, 16, 3),
    (1023, 6, 7),
    (1025, 1, 2),
    (4099, 17, 2),
    (40, 33, 2),
]


def reference_step(X, parameters, covariance_type, sample_weight=None):
    rows, responsibilities = reference.e_step(
        X.astype(np.float64),
        parameters.weights,
        parameters.means,
        parameters.precisions_cholesky,
        covariance_type,
    )
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    return rows, responsibilities, weight


def parameters_for(weights, means, covariances, covariance_type):
    return fusedgmm.MixtureParameters.from_covariances(
        weights, means, of_type(covariances, covariance_type), covariance_type
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_one_pass_matches_the_reference(size, covariance_type, dtype, weighted):
    n, d, k = size
    X, *rest = mixture_data(n, d, k, dtype)
    parameters = parameters_for(*rest, covariance_type)
    weight = np.random.default_rng(1).uniform(0.1, 2, n) if weighted else None
    rows, responsibilities, ones = reference_step(X, parameters, covariance_type, weight)
    statistics = fusedgmm.accumulate(X, parameters, sample_weight=weight, n_threads=2)
    g = responsibilities * ones[:, None]
    rtol = tolerance("core, reference", dtype)
    np.testing.assert_allclose(statistics.nk, g.sum(0), rtol=rtol, atol=rtol * n * 1e-2)
    np.testing.assert_allclose(statistics.log_likelihood, (rows * ones).sum(), rtol=rtol)
    x = X.astype(np.float64)
    scale = np.abs(x).max()
    np.testing.assert_allclose(statistics.sx, g.T @ x, rtol=rtol, atol=rtol * scale * n / k)
    np.testing.assert_allclose(statistics.weight_sum, ones.sum(), rtol=rtol)
    ours = statistics.maximize(reg_covar=0.3)
    _, means, covariances = reference.m_step(x, responsibilities, covariance_type, 0.3, weight)[:3]
    np.testing.assert_allclose(ours.means, means, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(
        ours.covariances, covariances, rtol=rtol, atol=rtol * np.abs(covariances).max()
    )
    np.testing.assert_allclose(
        ours.precisions_cholesky,
        reference.precision_cholesky(ours.covariances, covariance_type),
        rtol=tolerance("core, reference"),
        atol=1e-12,
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_scores_match_the_reference(size, covariance_type, dtype):
    n, d, k = size
    X, *rest = mixture_data(n, d, k, dtype)
    p = parameters_for(*rest, covariance_type)
    rows, responsibilities, _ = reference_step(X, p, covariance_type)

    def score(output):
        scorer = _core.Scorer(
            covariance_type=covariance_type,
            weights=p.weights,
            means=p.means,
            precisions_cholesky=p.precisions_cholesky,
            dtype=dtype,
        )
        return scorer.score(X, 2, output)

    rtol = tolerance("core, reference", dtype)
    np.testing.assert_allclose(score("log_likelihood"), rows, rtol=rtol, atol=rtol)
    ours = score("responsibilities")
    np.testing.assert_allclose(ours, responsibilities, rtol=rtol, atol=rtol)
    sure = np.sort(responsibilities, axis=1)[:, -1] > 0.5 + rtol
    labels = score("labels")
    np.testing.assert_array_equal(labels[sure], responsibilities.argmax(1)[sure])


def test_threads_do_not_change_a_bit(covariance_type, dtype):
    X, *rest = mixture_data(20_011, 5, 4, dtype)
    p = parameters_for(*rest, covariance_type)

    def bits(n_threads):
        s = fusedgmm.accumulate(X, p, n_threads=n_threads)
        return b"".join(np.asarray(a).tobytes() for a in (s.nk, s.sx, s.sxx, s.log_likelihood))

    raw = [
        _core.accumulate(
            X,
            covariance_type=covariance_type,
            weights=p.weights,
            means=p.means,
            covariances=p.covariances,
            precisions_cholesky=p.precisions_cholesky,
            n_threads=n,
        )
        for n in (1, 2, 3, 8)
    ]
    for other in raw[1:]:
        for name, value in raw[0].items():
            assert np.asarray(value).tobytes() == np.asarray(other[name]).tobytes(), name
    assert bits(1) == bits(2)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_an_offset_costs_no_digits(covariance_type, offset):
    X, *rest = mixture_data(3000, 3, 2)
    X = np.round(X * 2**20) / 2**20  # so that the shifted data are exact
    weights, means, covariances = rest
    means = np.round(means * 2**20) / 2**20
    here = parameters_for(weights, means, covariances, covariance_type)
    there = parameters_for(weights, means + offset, covariances, covariance_type)
    a = fusedgmm.accumulate(X, here).maximize()
    b = fusedgmm.accumulate(X + offset, there).maximize()
    np.testing.assert_allclose(b.covariances, a.covariances, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(b.means - offset, a.means, atol=4e-16 * max(offset, 1) + 1e-12)


@pytest.mark.parametrize("layout", ["C", "F", "rows", "columns", "reversed", "readonly"])
def test_any_layout_gives_the_same_bits(layout, covariance_type, dtype):
    X, *rest = mixture_data(500, 4, 3, dtype)
    p = parameters_for(*rest, covariance_type)
    wide = np.zeros((1000, 8), dtype)
    wide[::2, ::2] = X
    tall = np.zeros((1000, 4), dtype)
    tall[::2] = X
    same = {
        "C": X,
        "F": np.asfortranarray(X),
        "rows": tall[::2],
        "columns": wide[::2, ::2],
        "reversed": X[::-1].copy()[::-1],
        "readonly": X.copy(),
    }[layout]
    same.flags.writeable = layout != "readonly"
    a, b = fusedgmm.accumulate(X, p), fusedgmm.accumulate(same, p)
    np.testing.assert_array_equal(a.sx, b.sx)
    np.testing.assert_array_equal(a.sxx, b.sxx)


def test_weights_equal_repeated_rows(covariance_type):
    X, *rest = mixture_data(400, 3, 2)
    p = parameters_for(*rest, covariance_type)
    times = np.random.default_rng(2).integers(0, 4, 400)
    a = fusedgmm.accumulate(X, p, sample_weight=times.astype(float))
    b = fusedgmm.accumulate(np.repeat(X, times, axis=0), p)
    rtol = tolerance("sums")
    np.testing.assert_allclose(a.nk, b.nk, rtol=rtol)
    np.testing.assert_allclose(a.sxx, b.sxx, rtol=tolerance("second moments"), atol=1e-9)
    np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, rtol=rtol)


def test_merged_parts_equal_one_pass(covariance_type):
    X, *rest = mixture_data(1000, 3, 2)
    p = parameters_for(*rest, covariance_type)
    whole = fusedgmm.accumulate(X, p).maximize()
    merged = (fusedgmm.accumulate(X[:300], p) + fusedgmm.accumulate(X[300:], p)).maximize()
    rtol = tolerance("second moments")
    np.testing.assert_allclose(merged.covariances, whole.covariances, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(merged.means, whole.means, rtol=tolerance("sums"), atol=1e-13)


def test_a_scorer_refuses_rows_of_another_mixture(covariance_type):
    _, *rest = mixture_data(2, 3, 2)
    p = parameters_for(*rest, covariance_type)
    scorer = _core.Scorer(
        covariance_type=covariance_type,
        weights=p.weights,
        means=p.means,
        precisions_cholesky=p.precisions_cholesky,
        dtype=np.float64,
    )
    for rows in (np.zeros((5, 2)), np.zeros((5, 4)), np.zeros((5, 3), np.float32)):
        with pytest.raises(ValueError, match=r"X has . features of .*, but the mixture has 3 of"):
            scorer.score(rows, 1, "labels")


def test_far_points_keep_finite_responsibilities(covariance_type, dtype):
    _, *rest = mixture_data(2, 2, 3)
    p = parameters_for(*rest, covariance_type)
    X = np.array([[500.0, -500.0], [-1e4, 3e3]], dtype)
    g = _core.Scorer(
        covariance_type=covariance_type,
        weights=p.weights,
        means=p.means,
        precisions_cholesky=p.precisions_cholesky,
        dtype=dtype,
    ).score(X, 1, "responsibilities")
    np.testing.assert_allclose(g.sum(1), 1, rtol=tolerance("sum of probabilities"))


def test_the_door_takes_native_reals_however_spelled_and_nothing_else(dtype):
    X, *rest = mixture_data(40, 3, 2, dtype)
    p = parameters_for(*rest, "full")

    def score(x):
        return _core.Scorer(
            covariance_type="full",
            weights=p.weights,
            means=p.means,
            precisions_cholesky=p.precisions_cholesky,
            dtype=dtype,
        ).score(x, 1, "log_likelihood")

    native, swapped = ("<", ">") if sys.byteorder == "little" else (">", "<")
    raw = bytearray(X.nbytes + 1)
    unaligned = np.frombuffer(raw, dtype, offset=1).reshape(X.shape)
    unaligned[...] = X
    packed = np.zeros(len(X), [("flag", "i1"), ("row", dtype, 3)])["row"]
    other = {4: ("i4", "u4", "S4", "V4"), 8: ("i8", "u8", "c8", "S8", "V8")}[X.itemsize]
    np.testing.assert_array_equal(score(X.view(X.dtype.newbyteorder(native))), score(X))
    refused = [X.astype(X.dtype.newbyteorder(swapped)), unaligned, packed, X[0]]
    for x in refused + [X.view(name) for name in other]:
        with pytest.raises(TypeError, match="aligned two-dimensional float32 or float64"):
            score(x)


def ulps(ours, truth, dtype):
    return np.abs(ours.astype(np.longdouble) - truth) / np.spacing(np.abs(truth).astype(dtype))


def test_exp_over_its_whole_range(dtype):
    low, high = (-746.0, 710.5) if dtype is np.float64 else (-104.5, 89.5)
    x = np.linspace(low, high, 200_001).astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        truth = np.exp(x.astype(np.longdouble))
        known = np.isfinite(truth.astype(dtype))
    ours = _core.vector_exp(x)
    assert ulps(ours[known], truth[known], dtype).max() < 3
    special = np.array([0, -np.inf, np.inf, np.nan, -1e30, 1e30], dtype)
    np.testing.assert_array_equal(
        _core.vector_exp(special), np.array([1, 0, np.inf, np.nan, 0, np.inf], dtype)
    )


def test_log_over_its_whole_range(dtype):
    info = np.finfo(dtype)
    x = np.geomspace(info.smallest_subnormal, info.max, 200_001, dtype=np.longdouble).astype(dtype)
    x = np.r_[x[np.isfinite(x)], np.linspace(0.5, 2, 100_001).astype(dtype)]
    truth = np.log(x.astype(np.longdouble))
    assert ulps(_core.vector_log(x), truth, dtype).max() < 3
    special = np.array([1, 0, -1, np.inf, np.nan, -np.inf], dtype)
    np.testing.assert_array_equal(
        _core.vector_log(special), np.array([0, -np.inf, np.nan, np.inf, np.nan, np.nan], dtype)
    )
