"""SufficientStatistics, MixtureParameters and show_config: their documented behaviour."""

import pickle
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import fusedgmm
from fusedgmm import (
    GaussianMixture,
    MixtureParameters,
    SufficientStatistics,
    accumulate,
    reference,
)
from helpers import assert_close, mixture_data, of_type, tolerance


def parameters(k, covariance_type, seed=0, offset=0.0, d=3):
    _, weights, means, covariances = mixture_data(1, d, k, seed=seed)
    return MixtureParameters.from_covariances(
        weights, means + offset, of_type(covariances, covariance_type), covariance_type
    )


def assert_same(a, b, rtol):
    """Assert that statistics or parameters have the same public arrays."""
    names = ("nk", "sx", "sxx") if hasattr(a, "nk") else ("weights", "means", "covariances")
    assert_close(a, b, rtol, names)


def responsibilities(X, p):
    return reference.e_step(X, p.weights, p.means, p.precisions_cholesky, p.covariance_type)


@pytest.mark.parametrize("weighted", [False, True])
def test_raw_moments_are_numpys(covariance_type, weighted):
    X, *_ = mixture_data(500, 3, 4)
    w = np.random.default_rng(1).uniform(0, 2, len(X)) if weighted else np.ones(len(X))
    p = parameters(4, covariance_type)
    stats = accumulate(X, p, w if weighted else None)
    log_likelihood, g = responsibilities(X, p)
    g = g * w[:, None]
    outer = np.einsum("nk,ni,nj->kij", g, X, X)
    diagonal = np.einsum("kii->ki", outer)
    sxx = {"full": outer, "tied": outer.sum(0), "diag": diagonal, "spherical": diagonal.sum(1)}
    rtol = tolerance("core, raw moments")
    np.testing.assert_allclose(stats.nk, g.sum(0), rtol=tolerance("core, component weights"))
    np.testing.assert_allclose(stats.sx, g.T @ X, rtol=rtol)
    np.testing.assert_allclose(stats.sxx, sxx[covariance_type], rtol=rtol, atol=1e-9)
    rtol = tolerance("sums")
    np.testing.assert_allclose(stats.log_likelihood, w @ log_likelihood, rtol=rtol)
    np.testing.assert_allclose(stats.weight_sum, w.sum(), rtol=1e-14)
    assert stats.n_samples == len(X)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_parts_with_other_shifts_merge(covariance_type, offset):
    # each part has its own parameters, so the shifts differ; the sum does not depend on that
    X = mixture_data(600, 3, 2)[0] + offset
    parts = [parameters(2, covariance_type, seed, offset) for seed in (0, 1)]
    a, b = accumulate(X[:250], parts[0]), accumulate(X[250:], parts[1])
    g = np.vstack([responsibilities(X[:250], parts[0])[1], responsibilities(X[250:], parts[1])[1]])
    weights, means, covariances = reference.m_step(X, g, covariance_type, 1e-6)
    for merged in (a + b, b + a):
        p = merged.maximize()
        np.testing.assert_allclose(p.weights, weights, rtol=tolerance("sums"))
        np.testing.assert_allclose(p.means - offset, means - offset, atol=1e-15 * offset + 1e-11)
        # the coordinates themselves have errors of offset * eps
        np.testing.assert_allclose(p.covariances, covariances, atol=1e-15 * offset + 1e-10)
        assert merged.n_samples == len(X)
        np.testing.assert_allclose(merged.log_likelihood, a.log_likelihood + b.log_likelihood)


def test_merging_leaves_both_sides_alone(covariance_type):
    X, *_ = mixture_data(300, 3, 2)
    p = parameters(2, covariance_type)
    a, b = accumulate(X[:100], p), accumulate(X[100:], parameters(2, covariance_type, 1))
    before = pickle.dumps((a, b))
    total, alias = a, a
    total += b
    assert pickle.dumps((a, b)) == before
    assert alias is a and total is not a
    assert_same(total, a + b, rtol=0)


def test_merging_adds_what_is_counted(covariance_type):
    X, *_ = mixture_data(300, 3, 2)
    weight = np.random.default_rng(0).uniform(size=len(X))
    rtol = tolerance("sums")
    for seed in (0, 1):  # the same shift, and another one
        a = accumulate(X[:100], parameters(2, covariance_type), weight[:100])
        b = accumulate(X[100:], parameters(2, covariance_type, seed), weight[100:])
        merged = a + b
        for name in ("nk", "sx", "sxx", "log_likelihood", "weight_sum", "n_samples"):
            expected = getattr(a, name) + getattr(b, name)
            np.testing.assert_allclose(getattr(merged, name), expected, rtol=rtol, err_msg=name)
        np.testing.assert_allclose(merged.weight_sum, weight.sum(), rtol=rtol)


@pytest.mark.parametrize("none", ["no rows", "rows of weight zero"])
def test_nothing_merged_changes_nothing(covariance_type, none, dtype):
    """Empty partitions are common when data come in parts."""
    X, *_ = mixture_data(100, 3, 2, dtype)
    p = parameters(2, covariance_type)
    if none == "no rows":
        n, nothing = 0, [accumulate(X[:0], p), accumulate(X[:0], p, np.zeros(0), n_threads=2)]
        nothing.append(accumulate(np.empty((0, 3), object), p))
    else:
        n, nothing = 7, [accumulate(X[:7], p, np.zeros(7))]
    whole = accumulate(X, parameters(2, covariance_type, seed=1))  # about another shift
    names = ("nk", "_shift", "_sx", "_sxx", "log_likelihood", "weight_sum")
    for zero in nothing:
        assert zero.n_samples == n and zero.weight_sum == zero.log_likelihood == 0.0
        for sums in (zero.nk, zero.sx, zero.sxx):
            assert not sums.any()
        for merged in (whole + zero, zero + whole):
            assert merged.n_samples == 100 + n
            for name in names:
                np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
        assert (zero + zero).n_samples == 2 * n and not (zero + zero).nk.any()
        with pytest.raises(ValueError, match=f"nothing to maximize: the {n} rows"):
            zero.maximize()
    with pytest.raises(ValueError, match="is expecting 3 features"):
        accumulate(np.empty((0, 2)), p)


def test_merging_is_associative(covariance_type):
    X, *_ = mixture_data(400, 3, 2)
    a, b, c, d = (
        accumulate(X[100 * i : 100 * (i + 1)], parameters(2, covariance_type, i)) for i in range(4)
    )
    assert_same(((a + b) + c) + d, (a + b) + (c + d), rtol=tolerance("sums"))


def test_pickling_keeps_bits_and_stays_read_only(covariance_type):
    X, *_ = mixture_data(300, 3, 2)
    p = parameters(2, covariance_type)
    for thing in (accumulate(X, p), p):
        copy = pickle.loads(pickle.dumps(thing))
        assert type(copy) is type(thing)
        for name, value in vars(thing).items():
            other = getattr(copy, name)
            np.testing.assert_array_equal(other, value, err_msg=name)
            if isinstance(value, np.ndarray):
                assert not other.flags.writeable and not value.flags.writeable, name


def test_mismatches_raise():
    X, *_ = mixture_data(300, 3, 2)
    full = accumulate(X, parameters(2, "full"))
    with pytest.raises(ValueError, match="covariance types 'full' and 'diag'"):
        full + accumulate(X, parameters(2, "diag"))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 3\)"):
        full + accumulate(X, parameters(3, "full"))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 2\)"):
        full + accumulate(X[:, :2], parameters(2, "full", d=2))
    with pytest.raises(TypeError):
        full + 1
    with pytest.raises(ValueError, match="2 features, but MixtureParameters is expecting 3"):
        accumulate(X[:, :2], parameters(2, "full"))
    with pytest.raises(ValueError, match="reg_covar must be finite and >= 0, got -1"):
        full.maximize(reg_covar=-1)
    with pytest.raises(FrozenInstanceError):
        full.n_samples = 3


def test_a_singular_covariance_is_refused(covariance_type):
    X = np.zeros((10, 3))
    stats = accumulate(X, parameters(2, covariance_type))
    with pytest.raises(ValueError, match="increase reg_covar"):
        stats.maximize(reg_covar=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulate_and_maximize_are_one_iteration(covariance_type, weighted):
    X, *_ = mixture_data(500, 3, 2)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else None
    options = dict(covariance_type=covariance_type, n_init=1, random_state=0)
    model = GaussianMixture(2, **options, max_iter=0)
    model.fit(X, sample_weight=weight)
    start = MixtureParameters(
        model.weights_,
        model.means_,
        model.covariances_,
        model.precisions_cholesky_,
        covariance_type,
    )
    stats = accumulate(X, start, weight)
    model.set_params(max_iter=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*did not converge.*")
        model.fit(X, sample_weight=weight)
    p = stats.maximize()
    rtol = tolerance("second moments")
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        np.testing.assert_allclose(
            getattr(p, name), getattr(model, name + "_"), rtol=rtol, atol=rtol, err_msg=name
        )
    np.testing.assert_allclose(model.lower_bound_, stats.log_likelihood / stats.weight_sum)


def test_parameters_are_immutable_copies(covariance_type):
    weights, means = np.array([0.5, 0.5]), np.zeros((2, 3))
    covariances = of_type(np.stack([np.eye(3)] * 2), covariance_type)
    p = MixtureParameters.from_covariances(weights, means, covariances, covariance_type)
    means[0, 0] = 7
    assert p.means[0, 0] == 0
    with pytest.raises(FrozenInstanceError):
        p.weights = weights
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(p, name)[...] = 0
    assert (p.n_components, p.n_features) == (2, 3)


def test_float32_weights_survive_a_pickle():
    weights = np.full(3000, 1 / 3000, dtype=np.float32)
    assert abs(weights.astype(np.float64).sum() - 1) > 1e-8
    p = MixtureParameters.from_covariances(weights, np.zeros((3000, 1)), np.ones(3000), "spherical")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(p)).weights, p.weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [0.5, 0.4, 0.1]}, r"'weights' should have the shape of \(2,\)"),
        ({"weights": [0.5, np.nan]}, "weights contains NaN"),
        ({"weights": [1.5, -0.5]}, r"'weights' should be in the range \[0, 1\]"),
        ({"weights": [0.5, 0.4]}, "'weights' should be normalized"),
        ({"means": np.zeros(3)}, "means must be 2-D"),
        ({"means": np.full((2, 3), np.inf)}, "means contains infinity"),
        (
            {"covariances": np.ones((2, 3))},
            r"'full covariance' should have the shape of \(2, 3, 3\)",
        ),
        (
            {"covariances": np.zeros((2, 3, 3))},
            "'full covariance' should be symmetric, positive-definite; it is not in component 0",
        ),
        ({"covariance_type": "round"}, "unknown covariance_type 'round'"),
    ],
    ids=str,
)
def test_parameters_that_do_not_fit_together(change, message):
    good = dict(
        weights=[0.5, 0.5],
        means=np.zeros((2, 3)),
        covariances=np.stack([np.eye(3)] * 2),
        covariance_type="full",
    )
    MixtureParameters.from_covariances(**good)
    with pytest.raises(ValueError, match=message):
        MixtureParameters.from_covariances(**good | change)


@pytest.mark.parametrize("n, d", [(0, 2), (1, 0)])
def test_parameters_that_are_empty_are_refused(covariance_type, n, d):
    square = fusedgmm._covariance.layout_of(covariance_type).shape(n, d)
    for make in (
        lambda *a: MixtureParameters.from_covariances(*a, covariance_type),
        lambda *a: MixtureParameters(*a, np.ones(square), covariance_type),
    ):
        with pytest.raises(ValueError, match=rf"means must be 2-D and not empty.*\({n}, {d}\)"):
            make(np.full(n, 1.0), np.zeros((n, d)), np.ones(square))


def test_a_pass_takes_parameters_and_nothing_else():
    with pytest.raises(TypeError, match="expected MixtureParameters or a fitted model, got a dict"):
        accumulate(np.zeros((3, 2)), {"means": np.zeros((1, 2))})


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_factors_of_precisions_are_positive(covariance_type, bad):
    eye = of_type(np.stack([np.eye(2)] * 2), covariance_type)
    with pytest.raises(ValueError, match=f"precisions_cholesky must be positive.*got {bad:g};"):
        MixtureParameters([0.5, 0.5], np.zeros((2, 2)), eye, bad * eye, covariance_type)


def test_show_config(capsys):
    fusedgmm.show_config()
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["fusedgmm"] == fusedgmm.__version__
    assert rows["instruction set"] in rows["usable here"].split(", ")
    assert int(rows["threads"]) >= 1 and int(rows["CPUs"]) >= 1
    assert {"OpenMP", "CPU quota", "built by"} <= set(rows)


def test_zero_statistics_and_equality():
    X = np.random.default_rng(0).normal(size=(100, 2))
    parameters = GaussianMixture(2, random_state=0).fit(X).parameters
    one, other = accumulate(X, parameters), accumulate(X[:50], parameters)
    zero = SufficientStatistics.zero(parameters)
    assert zero.n_samples == 0 and not zero.nk.any()
    assert zero + one == one == one + zero and one == accumulate(X, parameters)
    assert one != other and one != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
