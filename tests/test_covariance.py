"""The covariance types: each method agrees with full matrices."""

import numpy as np
import pytest

from fusedgmm import _core
from fusedgmm._covariance import COVARIANCE_TYPES, layout_of

K, D = 3, 4


@pytest.fixture(params=COVARIANCE_TYPES)
def layout(request):
    return layout_of(request.param)


def covariances_for(layout, seed=0):
    """Positive covariances of a type, and the same ones as K matrices."""
    rng = np.random.default_rng(seed)
    if layout.has_matrices:
        roots = rng.normal(size=layout.shape(K, D))
        covariances = roots @ np.swapaxes(roots, -1, -2) + np.eye(D)
    else:
        covariances = rng.uniform(0.5, 2.0, size=layout.shape(K, D))
    if layout.has_matrices:
        matrices = np.broadcast_to(covariances, (K, D, D))
    else:
        matrices = covariances.reshape(K, -1, 1) * np.eye(D)
    return covariances, matrices


def vectors(seed):
    return np.random.default_rng(seed).normal(size=(K, D))


def counts():
    return np.array([3.0, 0.5, 7.0])


def mean_of_scatter(layout, matrices):
    """Convert sums (K, D, D) to the shape of a type; spherical: per feature."""
    if layout.name == "tied":
        return matrices.sum(axis=0)
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    return {"full": matrices, "diag": diagonal, "spherical": diagonal.mean(axis=1)}[layout.name]


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="unknown covariance_type 'VVV'; known: full, tied, diag"):
        layout_of("VVV")


def test_matrices_and_variances(layout):
    covariances, matrices = covariances_for(layout)
    np.testing.assert_array_equal(layout.matrices(covariances, K, D), matrices)
    variances = layout.variances(covariances, K, D)
    np.testing.assert_array_equal(variances, np.diagonal(matrices, axis1=1, axis2=2))
    assert layout.shape(K, D) == covariances.shape
    assert layout.each(covariances, K).shape == (K, *layout.prior_shape(D))
    assert layout.identity(D).shape == layout.prior_shape(D)


def test_the_names_of_the_entries_cover_what_is_free(layout):
    covariances, matrices = covariances_for(layout)
    entries = layout.entries(D)
    each = K if not layout.shared else 1
    assert each * len(entries) == layout.n_parameters(K, D)
    assert len({name for name, _ in entries}) == len(entries)
    for name, index in entries:
        i, j = ([int(part) for part in name.split("_")[1:]] * 2 + [0, 0])[:2]
        expected = matrices[:, i, j][:each]
        np.testing.assert_array_equal(np.atleast_1d(covariances[index]), expected)


def test_factors_precisions_and_covariances(layout):
    covariances, matrices = covariances_for(layout)
    factors = layout.factors_of_covariances(covariances)
    precisions = layout.precisions(factors)
    inverse = np.linalg.inv(matrices)
    np.testing.assert_allclose(layout.matrices(precisions, K, D), inverse, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layout.covariances(factors), covariances, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layout.factors(precisions), factors, rtol=1e-10, atol=1e-12)
    upper = layout.matrices(factors, K, D)
    np.testing.assert_array_equal(upper, np.triu(upper))
    np.testing.assert_allclose(
        layout.log_determinants(factors, K, D),
        -0.5 * np.linalg.slogdet(matrices)[1],
        rtol=1e-12,
    )


def test_leading_axes_are_allowed(layout):
    """The starting values of a batch: each problem gets the same bits as in a call of its own."""
    several = np.stack([covariances_for(layout, seed)[0] for seed in range(5)])
    factors = layout.factors_of_covariances(several)
    assert factors.shape == several.shape
    for covariances, expected in zip(several, factors, strict=True):
        np.testing.assert_array_equal(layout.factors_of_covariances(covariances), expected)
        direct = _core.precision_cholesky(
            covariances, covariance_type=layout.name, n_components=K, n_features=D
        )
        np.testing.assert_array_equal(direct, expected)
    empty = several[:0]
    assert layout.factors_of_covariances(empty).shape == empty.shape


def test_is_positive_says_which(layout):
    covariances, _ = covariances_for(layout)
    assert layout.is_positive(covariances).all()
    bad = covariances.copy()
    bad[(0,) * bad.ndim] = -1.0
    good = layout.is_positive(bad)
    assert not good.reshape(-1)[0] and good.reshape(-1)[1:].all()


def test_moments_pack_and_unpack(layout):
    v = vectors(1)
    moments = layout.second_moments(v)
    assert moments.shape == layout.moment_shape(K, D)
    sums = layout.unpacked(moments, D)
    outer = v[:, :, None] * v[:, None, :]
    expected = mean_of_scatter(layout, outer) * (D if layout.name == "spherical" else 1)
    np.testing.assert_allclose(sums, expected, rtol=1e-14)
    np.testing.assert_array_equal(layout.packed(sums), moments)


def test_scatter_is_about_the_means(layout):
    """The scatter from sums about a shift, compared with the differences of the rows from the
    mean."""
    rng = np.random.default_rng(2)
    nk = np.full(K, 5.0)
    x = rng.normal(size=(K, 5, D))
    sx, step = x.sum(axis=1), x.mean(axis=1)
    outer = np.einsum("kni,knj->kij", x, x)
    sxx = mean_of_scatter(layout, outer) * (D if layout.name == "spherical" else 1)
    away = x - step[:, None, :]
    expected = mean_of_scatter(layout, np.einsum("kni,knj->kij", away, away))
    np.testing.assert_allclose(layout.scatter(sxx, nk, sx, step), expected, rtol=1e-10, atol=1e-12)


def test_squared_distances_are_sums_over_rows(layout):
    rng = np.random.default_rng(3)
    x, nk = rng.normal(size=(K, 5, D)), np.full(K, 5.0)
    centres = vectors(4)
    covariances, matrices = covariances_for(layout)
    step = x.mean(axis=1)
    away = x - step[:, None, :]
    scatter = mean_of_scatter(layout, np.einsum("kni,knj->kij", away, away))
    factors = layout.factors_of_covariances(covariances)
    moved = x - centres[:, None, :]
    expected = np.einsum("kni,kij,knj->", moved, np.linalg.inv(matrices), moved)
    found = layout.squared_distances(factors, scatter, nk, step - centres)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_with_prior_adds_up(layout):
    prior, matrices = covariances_for(layout, 5)
    if not layout.shared:
        prior, matrices = prior[0], np.broadcast_to(matrices[0], matrices.shape)
    nk, share, away, reg_covar = counts(), counts() / 9, vectors(6), 0.25
    scatter, scatters = covariances_for(layout, 7)
    spread = share[:, None, None] * away[:, :, None] * away[:, None, :]
    regular = reg_covar * nk[:, None, None] * np.eye(D)
    if layout.shared:
        expected = prior + (scatter + (regular + spread).sum(axis=0)) / K
    else:
        expected = mean_of_scatter(layout, matrices + scatters + regular + spread)
    found = layout.with_prior(prior, scatter, nk, reg_covar, share, away)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
