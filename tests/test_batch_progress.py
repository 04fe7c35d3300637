"""A batch while it runs: its reports, Ctrl-C with a partial result, its memory."""

import sys
from textwrap import dedent

import numpy as np
import pytest

from fusedgmm import BatchStatus, fit_batch
from helpers import measure_memory, measures_memory, run_python
from helpers.batches import GOOD, assert_same, cube


def test_progress_is_reported():
    seen = []
    fit_batch(cube(3000, 50, 1), [1, 2, 3], progress=lambda *now: seen.append(now))
    done = [d for d, total in seen if total == 3000]
    assert len(done) == len(seen) and done == sorted(done) and seen[-1] == (3000, 3000)


@pytest.mark.parametrize("at", [0, 1000, 20_000])
def test_a_progress_callable_that_raises(at, four_cpus):
    count = 20_000
    X = np.random.default_rng(0).normal(size=(count, 50, 1))
    calls = []

    def fail(done, total):
        if done >= at:
            calls.append(done)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fit_batch(X, [1, 2, 3], progress=fail, random_state=0)
    assert len(calls) == 1
    partial = caught.value.partial
    ran = partial.status != BatchStatus.NOT_RUN
    assert at <= ran.sum() and ran.all() == (at == count)
    some = np.flatnonzero(ran)[-20:]
    assert_same(partial[some], fit_batch(X[some], [1, 2, 3], random_state=partial.seeds[some]))
    idle = partial[~ran]
    assert not idle.ok.any() and np.isnan(idle.criteria).all() and np.isnan(idle.weights).all()


def test_the_progress_bar(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    fit_batch(GOOD, 2, progress=True)
    assert "6/6" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit_batch(GOOD, 2, progress=True)
    assert capsys.readouterr().err.endswith("\r6/6 fits\n")


INTERRUPT = """
    import os, signal, sys, threading, time
    import numpy as np
    from fusedgmm import BatchStatus, fit_batch, _threads

    _threads.available_cpus = lambda: 2
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    options = dict(tol=0, max_iter=10**9, random_state=0, n_threads=2)
    {setup}
    fit_batch(rng.normal(size=(8, 50, 1)), 1, n_threads=2)  # the threads' start takes time too
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.4, send).start()
    try:
        fit_batch(X, k, **options)
    except KeyboardInterrupt as error:
        took = time.monotonic() - sent[0]
        partial = error.partial
    assert took < 5, took
    ran = partial.status != BatchStatus.NOT_RUN
    assert (partial.ok <= ran).all(), "a problem that was stopped has a mixture"
    assert np.isnan(partial.criteria[~ran]).all() and np.isnan(partial.means[~ran]).all()
    {check}
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    "setup, check",
    [
        (
            "X, k = rng.normal(size=(400_000, 20, 1)), [1, 2]; options['max_iter'] = 50",
            """
    assert 0 < ran.sum() < len(ran)
    some = np.flatnonzero(ran)[::-1][:50]
    again = fit_batch(X[some], k, **options | dict(random_state=partial.seeds[some]))
    for name in ("weights", "means", "status", "bic", "criteria", "n_components"):
        assert getattr(again, name).tobytes() == getattr(partial, name)[some].tobytes(), name
            """,
        ),
        (  # stopped after the first candidate, long before the end of the second
            "X, k = [rng.normal(size=(200_000, 8))], [1, 30]; options['tol'] = 1e-12",
            "assert not ran.any()",
        ),
        ("X, k = [rng.normal(size=(300, 2))], [1, 2]", "assert not ran.any()"),
        *[  # one fails after its k-means, and its thread waits for the other, whichever it is
            (
                f"""
    options['reg_covar'] = 0
    flat = rng.normal(size=({n}, 9)) @ rng.normal(size=(9, 10))
    X, k = [rng.normal(size=(3450, 10)), flat], 30
                """,
                "assert ran.tolist() == [False, True]",
            )
            for n in (3400, 3500)
        ],
    ],
    ids=["many", "one huge", "one small", "a thread deep in the first", "in the second"],
)
def test_ctrl_c(setup, check):
    code = (
        dedent(INTERRUPT)
        .replace("{setup}", dedent(setup).strip())
        .replace("{check}", dedent(check).strip())
    )
    run_python(code, timeout=60)


MEMORY = """
import numpy as np
from fusedgmm import fit_batch

X = np.random.default_rng(0).normal(size=(200, 100_000, 1))
problems = X.swapaxes(0, 1)  # of strides that no plain array of rows has
fit_batch(problems[:1000], 2, max_iter=2)
results = []
print(rise(lambda: results.append(fit_batch(problems, 2, max_iter=2))))
print(sum(a.nbytes for a in results[0]._arrays().values()) / 2**20)
"""


@measures_memory
@pytest.mark.slow
def test_memory_is_that_of_the_output():
    rise, output = measure_memory(MEMORY)
    assert output < 13  # MB: 16 numbers of each problem, its counts and its status
    assert rise < 2 * output + 8  # the rows have 153
