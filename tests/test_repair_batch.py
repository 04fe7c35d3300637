"""Repairs in a batch are the same as in single fits."""

import numpy as np
import pytest

from fusedgmm import BatchStatus, fit_batch
from helpers import FITTED, mixture_data
from helpers.repairs import COLLAPSING, fit


def test_a_batch_repairs_as_single_fits_do(covariance_type, dtype):
    X = [rows.astype(dtype) for rows, _ in COLLAPSING.values()]
    X.append(mixture_data(300, 2, 2, dtype)[0])
    options = dict(covariance_type=covariance_type, reg_covar=0, tol=1e-2)
    result = fit_batch(X, 2, random_state=0, degenerate="repair", **options)
    assert result.ok.all()
    repaired = 0
    for i, rows in enumerate(X):
        alone = fit(rows, 2, n_init=1, random_state=int(result.seeds[i]), **options)
        for name in FITTED:
            assert getattr(result[i], name).tobytes() == getattr(alone, name).tobytes(), (i, name)
        assert (result.lower_bound[i], result.n_iter[i]) == (alone.lower_bound_, alone.n_iter_)
        if not np.ptp(rows, axis=0).any():
            assert result.status[i] == BatchStatus.CONSTANT_ROWS
        elif (alone.weights_ > 0).all():
            found = BatchStatus.REPAIRED if alone.repairs_ else BatchStatus.CONVERGED
            assert result.status[i] == found
            repaired += found == BatchStatus.REPAIRED
        assert result[i].degenerate == "repair"
    assert repaired >= 2 and result.status[-1] == BatchStatus.CONVERGED


def test_a_batch_raises_nothing_and_marks_by_default():
    rows, k = COLLAPSING["equal rows"]
    plain, repaired = (
        fit_batch([rows], k, reg_covar=0, random_state=0, **options)
        for options in ({}, {"degenerate": "repair"})
    )
    assert BatchStatus(plain.status[0]) is BatchStatus.SINGULAR_COVARIANCE and not plain.ok[0]
    assert BatchStatus(repaired.status[0]) is BatchStatus.REPAIRED and repaired.converged[0]
    assert BatchStatus.REPAIRED.meaning == "degenerate components were repaired"
    with pytest.raises(ValueError, match="unknown degenerate"):
        fit_batch([rows], k, degenerate="ignore")


def test_a_saved_batch_of_repaired_fits_loads(tmp_path):
    rows, k = COLLAPSING["equal rows"]
    result = fit_batch([rows], k, reg_covar=0, random_state=0, degenerate="repair")
    result.save(tmp_path / "result.npz")
    copy = type(result).load(tmp_path / "result.npz")
    assert copy.status.tolist() == [BatchStatus.REPAIRED] and copy[0].degenerate == "repair"
