"""Callbacks, progress and checkpoints: a fit that was killed goes on to the same bits."""

import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, Checkpoint, FitState, GaussianMixture
from helpers.repairs import started

pytestmark = pytest.mark.filterwarnings(
    "ignore:Best performing", "ignore:degenerate components", "ignore:component.s. .*weight 0"
)
TYPES = ("full", "tied", "diag", "spherical")


def rows(dtype=np.float64, n=3000):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 3)) + 4 * rng.integers(3, size=(n, 1))).astype(dtype)


class Killed(Exception):
    pass


def killed_after(checkpoint, calls):
    """A callback that writes the checkpoint and raises an error in that call."""
    count = itertools.count(1)

    def callback(state):
        checkpoint(state)
        if next(count) == calls:
            raise Killed

    return callback


def assert_same(a, b):
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.lower_bounds_ == b.lower_bounds_ and a.repairs_ == b.repairs_
    assert (a.converged_, a.n_iter_) == (b.converged_, b.n_iter_)


@pytest.mark.parametrize("calls", [1, 2, 5, 14, 25])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_fit_goes_on_to_the_same_bits(covariance_type, dtype, calls, tmp_path):
    X = rows(dtype)
    options = dict(covariance_type=covariance_type, tol=1e-7, max_iter=12, n_init=3)
    whole = GaussianMixture(4, random_state=0, **options).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit.npz", every_seconds=0)
    with pytest.raises(Killed):
        GaussianMixture(4, random_state=0, **options).fit(
            X, callback=killed_after(checkpoint, calls)
        )
    for resume in (checkpoint, checkpoint.path, str(checkpoint.path)):
        model = GaussianMixture(4, random_state=None, **options).fit(X, resume=resume)
        assert_same(model, whole)  # also with the seed of the file


def test_repairs_go_on(tmp_path):
    """A component becomes empty again and again; it is re-seeded three times, also with a break."""
    far = 100.0 * np.random.default_rng(2).normal(size=(8, 2)) + 1000
    X = np.vstack([np.random.default_rng(0).normal(size=(200, 2)), far])
    weight = np.r_[np.ones(200), np.full(8, 1e-20)]

    def model():
        return started("full", [[0.0, 0.0], [-900.0, 3.0]], tol=0, max_iter=8)

    whole = model().fit(X, sample_weight=weight)
    assert [repair.iteration for repair in whole.repairs_] == [1, 2, 3]
    checkpoint = Checkpoint(tmp_path / "fit.npz", every_seconds=0)
    for calls in (1, 2, 5):
        with pytest.raises(Killed):
            model().fit(X, sample_weight=weight, callback=killed_after(checkpoint, calls))
        assert_same(model().fit(X, sample_weight=weight, resume=checkpoint), whole)


def test_a_stream_goes_on(tmp_path):
    X = rows()
    chunks = [X[i : i + 700] for i in range(0, len(X), 700)]
    options = dict(tol=0, max_iter=8, random_state=0)
    whole = GaussianMixture(4, **options).fit_chunks(chunks, start_rows=500)
    checkpoint = Checkpoint(tmp_path / "fit.npz", every=2)
    with pytest.raises(Killed):
        GaussianMixture(4, **options).fit_chunks(
            chunks, start_rows=500, callback=killed_after(checkpoint, 5)
        )
    model = GaussianMixture(4, **options).fit_chunks(X, start_rows=500, resume=checkpoint)
    assert_same(model, whole)
    other = [*chunks[:-1], chunks[-1] + 1]
    with pytest.raises(ValueError, match="checksum of the data"):
        model.fit_chunks(other, start_rows=500, resume=checkpoint)
    with pytest.raises(ValueError, match="start_rows = 500, but this fit has start_rows = 400"):
        model.fit_chunks(chunks, start_rows=400, resume=checkpoint)


SCRIPT = """
import sys, time
import numpy as np
from fusedgmm import Checkpoint, GaussianMixture
X = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
checkpoint = Checkpoint(sys.argv[1], every_seconds=0)
def callback(state):
    checkpoint(state)
    print(state.iteration, flush=True)
    time.sleep(float(sys.argv[2]))
model = GaussianMixture(5, covariance_type="tied", tol=0, max_iter=30, random_state=3, n_init=2)
chunks = [X[i : i + 900] for i in range(0, 4000, 900)]
model.fit_chunks(chunks, start_rows=None, callback=callback, resume=checkpoint)
np.savez(sys.argv[3], model.means_, model.covariances_, model.lower_bounds_)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_fit_that_is_killed_resumes_to_the_same_bits(tmp_path):
    def start(name, pause):
        paths = [str(tmp_path / f"{name}.npz"), str(pause), str(tmp_path / f"{name}-end.npz")]
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *paths]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    for kill_at in (3, 20, 35):  # of 60 iterations in two starts; each run makes some
        process = start("killed", 0.005)
        for _ in range(kill_at):
            if not process.stdout.readline():
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    for name in ("killed", "whole"):
        process = start(name, 0)
        process.communicate()
        assert process.returncode == 0
    with np.load(tmp_path / "killed-end.npz") as a, np.load(tmp_path / "whole-end.npz") as b:
        for array in a.files:
            assert np.array_equal(a[array], b[array])


def test_a_checkpoint_of_another_fit_is_refused_and_stays(tmp_path):
    X = rows()
    checkpoint = Checkpoint(tmp_path / "fit.npz", every_seconds=0)
    GaussianMixture(3, random_state=0, max_iter=3).fit(X, callback=checkpoint)
    content = checkpoint.path.read_bytes()
    model = GaussianMixture(3, random_state=0).fit(X)
    before = model.means_.copy()
    for other, data, message in (
        ({"n_components": 2}, X, "n_components = 3, but this fit has n_components = 2"),
        ({"covariance_type": "diag"}, X, "covariance_type = 'full'"),
        ({"reg_covar": 1e-3}, X, "reg_covar"),
        ({"n_init": 2}, X, "n_init"),
        ({}, X[:-1], "n_samples = 3000, but this fit has n_samples = 2999"),
        ({}, X.astype(np.float32), "dtype = 'float64'"),
        ({}, X + 1, "checksum of the data"),
        ({}, np.hstack([X, X]), "n_features"),
    ):
        with pytest.raises(ValueError, match=message):
            model.set_params(**({"n_components": 3, "reg_covar": 1e-6} | other))
            model.fit(data, resume=checkpoint)
        model.set_params(n_components=3, covariance_type="full", reg_covar=1e-6, n_init="auto")
    with pytest.raises(FileNotFoundError):
        model.fit(X, resume=tmp_path / "none.npz")
    with pytest.raises(TypeError, match="must be a Checkpoint or the path"):
        model.fit(X, resume=5)
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="half.npz"):
        model.fit(X, resume=tmp_path / "half.npz")
    assert np.array_equal(model.means_, before) and checkpoint.path.read_bytes() == content
    with pytest.raises(ValueError, match="must end in .npz"):
        Checkpoint(tmp_path / "fit")


def test_a_checkpoint_waits_its_time(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpoint, "_save", lambda self, state: saved.append(state.iteration))
    model = GaussianMixture(3, random_state=0, max_iter=9, tol=0, n_init=1)
    model.fit(rows(), callback=Checkpoint(tmp_path / "a.npz"))
    assert saved == [1]
    saved.clear()
    model.fit(rows(), callback=Checkpoint(tmp_path / "a.npz", every=4))
    assert saved == [4, 8]


def test_a_callback_sees_the_fit():
    states = []
    X = rows()
    model = GaussianMixture(3, random_state=0, n_init=2, max_iter=4, tol=1e-12)
    model.fit(X, callback=lambda state: states.append((state, state.parameters)) or False)
    assert [(s.init, s.iteration) for s, _ in states] == [
        (i, n) for i in (0, 1) for n in range(1, 5)
    ]
    last, parameters = states[3]
    assert isinstance(last, FitState) and last.rows == 3000
    assert last.change == last.lower_bound - states[2][0].lower_bound
    assert last.rows_per_second > 0 and last.seconds > 0 and last.remaining == 0
    assert states[0][0].remaining > 0
    best = model.lower_bounds_[-1]
    assert best in (states[3][0].lower_bound, states[7][0].lower_bound)
    kept = parameters if best == last.lower_bound else states[7][1]
    assert np.array_equal(kept.means, model.means_)


def test_a_true_value_ends_the_fit_and_keeps_it():
    X = rows()
    options = dict(random_state=0, tol=0, n_init=1)
    short = GaussianMixture(3, max_iter=4, **options).fit(X)
    model = GaussianMixture(3, **options).fit(X, callback=lambda state: state.iteration == 4)
    assert np.array_equal(model.means_, short.means_)
    assert not model.converged_ and model.n_iter_ == 4
    later = GaussianMixture(3, max_iter=3, random_state=0, tol=0, n_init=5)
    later.fit(X, callback=lambda state: state.init == 2)
    assert later.n_iter_ in (1, 3)


def test_an_error_in_a_callback_leaves_the_model():
    X = rows()
    model = GaussianMixture(3, random_state=0).fit(X)
    before = model.means_.copy()
    with pytest.raises(Killed):
        model.fit(X + 1, callback=killed_after(lambda state: None, 2))
    assert np.array_equal(model.means_, before)


def test_progress_shows_nothing_in_a_pipe(capsys):
    GaussianMixture(3, random_state=0).fit(rows(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_progress_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    GaussianMixture(3, random_state=0, n_init=1).fit(rows(), progress=True)
    assert "iteration 1, -" in capsys.readouterr().err


def test_a_bayesian_mixture_says_that_it_has_no_callback():
    with pytest.raises(TypeError, match="takes no callback"):
        BayesianGaussianMixture(n_components=2).fit(rows(), callback=print)


def test_remaining_time_falls():
    times = []
    GaussianMixture(3, random_state=0, n_init=1).fit(
        rows(n=20_000), callback=lambda state: times.append(state.remaining)
    )
    assert times[-1] == 0
