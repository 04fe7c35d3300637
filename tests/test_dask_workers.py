"""fusedgmm.dask on a cluster of worker processes: the same bits whatever happens to them."""

import gc
import os
import signal
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

pytest.importorskip("dask.array")
pytest.importorskip("distributed")

import dask
import dask.array as da
import distributed

import fusedgmm
from fusedgmm import _partitions
from fusedgmm.dask import GaussianMixture
from helpers import assert_close, on_linux, tolerance

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(8)
N = 20_000
X = RNG.normal(size=(N, 3)) + 5 * RNG.integers(3, size=(N, 1))
START = fusedgmm.GaussianMixture(3, random_state=0, tol=1e9).fit(X[::50]).parameters


@pytest.fixture
def client():
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with (
        distributed.LocalCluster(**options, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def model_of(**options):
    options = dict(tol=0, max_iter=6, random_state=0) | options
    return GaussianMixture(
        3,
        weights_init=START.weights,
        means_init=START.means,
        covariances_init=START.covariances,
        **options,
    )


def futures_left(client):
    """The futures of the client when the loop has released those that are gone."""
    until = monotonic() + 10
    while client.futures and monotonic() < until:
        gc.collect()
        sleep(0.05)
    return len(client.futures)


def resident():
    """The memory of this process, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def fit(x, client=None, **options):
    with pytest.warns(UserWarning, match="did not converge"):
        return model_of().fit(x, client=client, **options)


def test_the_bits_are_those_of_the_local_scheduler(client):
    x = da.from_array(X, chunks=(1_111, 3))
    with dask.config.set(scheduler="threads"):
        local = fit(x)
    assert_close(fit(x), local)  # the current client
    assert not futures_left(client)
    same = fusedgmm.GaussianMixture(**model_of().get_params())
    with pytest.warns(UserWarning, match="did not converge"):
        same.fit(X)
    assert_close(local, same, tolerance("same fit"))


def test_a_start_and_predictions_on_workers(client):
    x = da.from_array(X, chunks=(1_111, 3))
    model = GaussianMixture(3, random_state=0).fit(x, client=client)
    with dask.config.set(scheduler="threads"):
        assert_close(GaussianMixture(3, random_state=0).fit(x), model)
    assert np.array_equal(model.predict(x).compute(), model.to_local().predict(X))
    assert model.score(x) == pytest.approx(model.to_local().score(X), rel=1e-12)
    assert not futures_left(client)


def test_a_worker_is_killed_in_the_middle_of_a_pass(client, tmp_path, monkeypatch):
    x = da.from_array(X, chunks=(1_111, 3))
    undisturbed = fit(x, client)
    original, mark = _partitions.run_pass, str(tmp_path / "killed")

    def deadly(group, parameters, n_threads):
        statistics = original(group, parameters, n_threads)
        if not np.array_equal(parameters.means, START.means) and not os.path.exists(mark):
            with open(mark, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return statistics

    monkeypatch.setattr(_partitions, "run_pass", partial(deadly))
    assert_close(fit(x, client), undisturbed)
    assert os.path.exists(mark) and not futures_left(client)


def test_workers_come_and_go_between_passes(client):
    x = da.from_array(X, chunks=(1_111, 3))
    undisturbed = fit(x, client)

    def callback(state):
        if state.iteration == 2:
            client.cluster.scale(3)
            client.wait_for_workers(3, timeout=60)
        if state.iteration == 4:
            client.retire_workers([min(client.nthreads())])

    assert_close(fit(x, client, callback=callback), undisturbed)


def test_empty_partitions_and_bad_rows(client):
    bad = X.copy()
    bad[17 * 1_000 + 7, 2] = np.nan
    model = model_of()
    for _ in range(2):
        with pytest.raises(ValueError, match="partition 17: .* NaN .* row 7, column 2"):
            model.fit(da.from_array(bad, chunks=(1_000, 3)), client=client)
    assert not hasattr(model, "means_")
    assert not futures_left(client)
    x = da.from_array(X, chunks=((0, 5_000, 0, 0, 15_000, 0), 3))
    full = da.from_array(X, chunks=((5_000, 15_000), 3))
    assert_close(fit(x, client), fit(full, client), tolerance("same fit"))


def test_a_thousand_partitions_are_few_tasks_in_a_pass(client):
    x = da.from_array(X, chunks=(20, 3))
    kept = []
    model = fit(x, client, callback=lambda state: kept.append(len(client.futures)))
    # at most 4 groups for each of 2 threads, and the tasks of a pass that are not yet released
    assert max(kept) <= 2 * 4 * 2
    with dask.config.set(scheduler="threads", num_workers=3):
        assert_close(fit(x), model)


@on_linux("reads /proc")
def test_the_memory_of_the_client_does_not_grow(client):
    seen = []
    model = model_of(max_iter=130)
    with pytest.warns(UserWarning, match="did not converge"):
        model.fit(
            da.from_array(X, chunks=(1_000, 3)),
            client=client,
            callback=lambda state: seen.append((resident(), len(client.futures))),
        )
    assert len(seen) == 130
    assert seen[-1][0] - seen[30][0] < 5.0
    assert max(count for _, count in seen) <= 2 * 4 * 2
    assert not futures_left(client)
