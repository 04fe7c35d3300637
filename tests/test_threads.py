"""Threads: every call respects every limit that a user or a container can set; and calls from many
Python threads at once."""

import os
import sysconfig
import threading
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fusedgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureParameters,
    _core,
    _threads,
    accumulate,
    fit_batch,
)
from helpers import on_linux, run_python

# not determined by the code under test: if that said one CPU, nothing would be tested
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
HAS_OPENMP = _core.config()["openmp"]
with_openmp = pytest.mark.skipif(not HAS_OPENMP, reason="without OpenMP there are no such limits")
many_cpus = pytest.mark.skipif(CPUS < 2, reason="one CPU shows no limit")


def resolved_in_a_child(before="", **environment):
    """Return the result of resolve() in a new process, after the statements `before`."""
    clean = {n: v for n, v in os.environ.items() if n != "OMP_NUM_THREADS"}
    code = f"{before}\nfrom fusedgmm import _threads\nprint(_threads.resolve())"
    return int(run_python(code, env=clean | environment))


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """An empty folder in place of /sys/fs/cgroup."""
    monkeypatch.setattr(_threads, "_CGROUP", tmp_path)
    return tmp_path


@many_cpus
@with_openmp
def test_omp_num_threads():
    assert resolved_in_a_child(OMP_NUM_THREADS="1") == 1
    assert resolved_in_a_child(OMP_NUM_THREADS="2") == min(2, resolved_in_a_child())


@many_cpus
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
@pytest.mark.parametrize("when", ["before the import", "after the import"])
def test_affinity(when):
    code = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    if when == "after the import":
        code = "import fusedgmm\n" + code
    assert resolved_in_a_child(code) == 1


@many_cpus
@with_openmp
def test_threadpoolctl_limits_the_thread_that_asks(cgroup):
    before = _threads.resolve()
    seen = []

    def limited():
        with threadpool_limits(1):
            seen.append(_threads.resolve())
        seen.append(_threads.resolve())

    worker = threading.Thread(target=limited)
    worker.start()
    worker.join()
    assert seen == [1, before]
    assert _threads.resolve() == before


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu.max": "100000 0"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
    ids=str,
)
def test_cgroup_quota(cgroup, files, quota):
    for name, text in files.items():
        (cgroup / name).parent.mkdir(exist_ok=True)
        (cgroup / name).write_text(text + "\n")
    assert _threads.cpu_quota() == quota
    if quota is not None:
        assert _threads.resolve() <= quota


def parent_of_cgroups():
    """Return the folder in which this process may create a cgroup that limits CPUs, or None: of
    version 1, or else the root of version 2."""
    root = Path("/sys/fs/cgroup")
    controllers = root / "cgroup.subtree_control"
    if (root / "cpu" / "cpu.cfs_quota_us").exists():
        folder = root / "cpu"
    elif controllers.exists() and "cpu" in controllers.read_text().split():
        folder = root
    else:
        return None
    return folder if os.access(folder, os.W_OK) else None


PARENT = parent_of_cgroups()


@pytest.mark.skipif(PARENT is None, reason="no cpu cgroups, or not for this user")
def test_the_quota_of_a_real_cgroup():
    """The other tests of quotas write the files of a cgroup themselves."""
    group = PARENT / f"fusedgmm-{os.getpid()}"
    if PARENT.name == "cpu":
        files = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}
    else:
        files = {"cpu.max": "150000 100000"}
    code = f"""
        import os
        from pathlib import Path
        Path("{group}/cgroup.procs").write_text(str(os.getpid()))
        from fusedgmm import GaussianMixture, _threads
        import numpy as np
        print(_threads.cpu_quota())
        assert _threads.resolve() <= 2
        GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(400_000, 3)))
    """
    group.mkdir()
    try:
        for name, text in files.items():
            (group / name).write_text(text)
        assert int(run_python(dedent(code))) == 2  # 1.5 CPUs, rounded up
    finally:
        group.rmdir()


@pytest.mark.parametrize("n_threads", [0, -1, True, 1.5, "2"], ids=repr)
def test_invalid_numbers_of_threads(n_threads):
    with pytest.raises(ValueError, match=r"n_threads must be an int >= 1, got"):
        _threads.resolve(n_threads)


def test_an_int_is_clamped_to_the_cpus():
    assert _threads.resolve(1) == 1
    assert _threads.resolve(10**9) == _threads.available_cpus()


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/pods/one", {"pods/one/cpu.max": "200000 100000"}, 2),
        ("0::/pods/one", {"pods/cpu.max": "200000 100000", "pods/one/cpu.max": "max 100000"}, 2),
        ("0::/pods/one", {"pods/cpu.max": "100000 100000", "pods/one/cpu.max": "3 1"}, 1),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/../other", {"cpu.max": "200000 100000"}, 2),
        (
            "3:cpu,cpuacct:/docker/one",
            {
                "cpu/docker/one/cpu.cfs_quota_us": "200000",
                "cpu/docker/one/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        # inside the container, its own folder is the root
        (
            "3:cpu,cpuacct:/docker/one",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("5:memory:/docker/one", {"docker/one/cpu.max": "100000 100000"}, None),
    ],
    ids=str,
)
def test_cgroup_quota_of_a_folder(cgroup, monkeypatch, membership, files, quota):
    proc = cgroup / "membership"
    proc.write_text(membership + "\n")
    paths = {"/proc/self/cgroup": proc}
    monkeypatch.setattr(_threads, "Path", lambda path: paths.get(path) or Path(path))
    for name, text in files.items():
        (cgroup / name).parent.mkdir(exist_ok=True, parents=True)
        (cgroup / name).write_text(text + "\n")
    assert _threads.cpu_quota() == quota


# ---- threads that calls really use ----

# enough rows for threads to be useful, even in a single pass
X = np.random.default_rng(0).normal(size=(400_000, 3)) + np.repeat([[0], [5]], 200_000, axis=0)


def options(n_threads=None):
    return {"n_threads": n_threads, "random_state": 0, "max_iter": 200}


def calls(n_threads=None):
    """Every kind of call, by name."""
    model = GaussianMixture(2, **options(n_threads)).fit(X)
    parameters = MixtureParameters(
        model.weights_, model.means_, model.covariances_, model.precisions_cholesky_, "full"
    )
    return {
        "fit": lambda: GaussianMixture(3, **options(n_threads)).fit(X),
        "Bayesian": lambda: BayesianGaussianMixture(n_components=2, **options(n_threads)).fit(X),
        "batch": lambda: fit_batch(X.reshape(4000, 100, 3), 2, **options(n_threads)),
        "predict": lambda: model.predict(X),
        "predict_proba": lambda: model.predict_proba(X),
        "score_samples": lambda: model.score_samples(X),
        "accumulate": lambda: accumulate(X, parameters, n_threads=n_threads),
    }


def threads_used(call):
    """Return the number of threads of a call from a new thread: the helpers that take part, and
    itself."""
    seen, errors = [], []

    def work():
        # OMP_NUM_THREADS in the environment of the tests must not limit the call
        set_outside = "OMP_NUM_THREADS" in os.environ
        limit = CPUS if set_outside else None
        try:
            with threadpool_limits(limit, user_api="openmp"):
                before = _core.helpers()
                call()
                after = _core.helpers()
                before += [0] * (len(after) - len(before))
                seen.append(1 + sum(now > then for now, then in zip(after, before, strict=True)))
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert not errors, errors
    return seen[0]


def uses_helpers(call):
    """Whether a call uses helper threads: after a late one it goes without for a while. Which of
    several helpers is idle may change from pass to pass."""
    return any(threads_used(call) > 1 or time.sleep(0.2) for _ in range(20))


@many_cpus
@on_linux("threads are counted in /proc")
@pytest.mark.parametrize("name", list(calls()))
def test_limits_hold_for_every_call(name, cgroup):
    everywhere = os.sched_getaffinity(0)
    call = calls()[name]

    def on_one_cpu():
        os.sched_setaffinity(0, {min(everywhere)})
        call()

    def limited():
        with threadpool_limits(1):
            call()

    assert uses_helpers(call)
    assert threads_used(on_one_cpu) == 1  # the affinity belongs to the thread
    assert uses_helpers(call)
    if HAS_OPENMP:
        assert threads_used(limited) == 1
        assert uses_helpers(call)
    (cgroup / "cpu.max").write_text("100000 100000")
    assert threads_used(call) == 1
    (cgroup / "cpu.max").write_text("max 100000")
    assert uses_helpers(call)
    assert threads_used(calls(1)[name]) == 1


@many_cpus
def test_rows_that_a_late_helper_reads_are_released_by_a_collection():
    """Beside enough spinning processes, a helper is sooner or later descheduled at the end of a
    call, which then keeps the rows."""
    code = """
        import gc, subprocess, sys, time, weakref
        import numpy as np
        from fusedgmm import GaussianMixture
        gc.disable()
        spin = [sys.executable, "-c", "while True: pass"]
        spinning = [subprocess.Popen(spin) for _ in range(4)]
        rows = np.random.default_rng(0).normal(size=(200_000, 2))
        model = GaussianMixture(2, random_state=0, n_threads=2, max_iter=3)
        kept = lambda: None
        try:
            end = time.monotonic() + 60
            while kept() is None and time.monotonic() < end:
                X = rows.copy()
                kept = weakref.ref(X)
                model.fit(X)
                del X
            assert kept() is not None, "no helper was late"
        finally:
            for process in spinning:
                process.kill()
                process.wait()
        for _ in range(3000):
            gc.collect()
            if kept() is None:
                break
            time.sleep(0.01)
        assert kept() is None
    """
    run_python(code, timeout=120)


@many_cpus
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_a_helper_gets_the_affinity_of_its_caller():
    """A thread bound to one CPU starts the helper, which then helps a thread that is not bound."""
    code = """
        import os, threading
        import numpy as np
        from pathlib import Path
        from fusedgmm import GaussianMixture, _core, _threads
        _threads.available_cpus = lambda: 2
        everywhere = os.sched_getaffinity(0)
        X = np.random.default_rng(0).normal(size=(400_000, 3))
        model = GaussianMixture(2, n_threads=2, max_iter=1, tol=1e9)
        def mask():
            (task,) = (t for t in Path("/proc/self/task").iterdir()
                       if (t / "comm").read_text() == "fusedgmm\\n")
            return os.sched_getaffinity(int(task.name))
        def bound():
            os.sched_setaffinity(0, {min(everywhere)})
            model.fit(X)
        worker = threading.Thread(target=bound)
        worker.start()
        worker.join()
        assert mask() == {min(everywhere)}, mask()
        for _ in range(100):
            model.fit(X)
            if mask() == everywhere:
                break
        assert mask() == everywhere, mask()
    """
    run_python(dedent(code))


@many_cpus
@on_linux("places are read on Linux")
@pytest.mark.parametrize("setting", [{"OMP_PROC_BIND": "true"}, {"OMP_PLACES": "cores"}], ids=str)
def test_a_thread_that_openmp_has_bound_has_all_cpus(setting):
    assert resolved_in_a_child(**setting) == resolved_in_a_child()
    code = "from fusedgmm import _threads; print(_threads.resolve(2))"
    assert int(run_python(code, env=dict(os.environ) | setting)) == 2


@many_cpus
def test_small_work_stays_on_the_calling_thread():
    model = GaussianMixture(2, random_state=0)
    before = sum(_core.helpers())
    for rows in (X[::1000], X[::200], X[::66]):
        model.fit(rows)
        model.predict(rows)
        model.score_samples(rows[:1])
    fit_batch(X[:4000].reshape(40, 100, 3), 1)
    assert sum(_core.helpers()) == before


def bits(result):
    found = [
        n for n in ("means_", "covariances_", "bic", "means", "nk", "sxx") if hasattr(result, n)
    ]
    assert len(found) >= 2
    return [
        np.asarray(getattr(result, n)).tobytes() for n in found if not callable(getattr(result, n))
    ]


@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_calls_from_many_threads_at_once_have_the_bits_of_each_alone(n_threads):
    def answer(call):
        result = call()
        return result.tobytes() if isinstance(result, np.ndarray) else bits(result)

    named = calls(n_threads)
    right = {name: answer(call) for name, call in named.items()}
    wrong = []

    def work(shift):
        names = list(named)
        for name in names[shift:] + names[:shift]:
            if answer(named[name]) != right[name]:
                wrong.append(name)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_one_model_answers_many_threads():
    model = GaussianMixture(3, random_state=0).fit(X)
    right = model.score_samples(X).tobytes()
    found = []
    workers = [
        threading.Thread(target=lambda: found.append(model.score_samples(X).tobytes()))
        for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [right] * 8


def test_python_goes_on_while_a_fit_runs():
    stop = threading.Event()
    errors = []

    class Stop(Exception):
        pass

    def report(*_):
        if stop.is_set():
            raise Stop

    def work():
        try:
            fit_batch([X, X], 8, tol=0, max_iter=10**7, progress=report)
        except Stop:
            return
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    begin, turns = time.monotonic(), 0
    while turns < 100 and time.monotonic() - begin < 30:
        time.sleep(0.001)
        turns += 1
    alive = worker.is_alive()
    stop.set()
    worker.join(10)
    assert turns == 100 and alive and not worker.is_alive() and not errors


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this build of Python has a global lock"
)
def test_the_lock_of_free_threaded_python_stays_off():
    # in a new process: here the GIL may have been enabled already
    clean = {n: v for n, v in os.environ.items() if n != "PYTHON_GIL"}
    code = "import sys, fusedgmm; assert not sys._is_gil_enabled()"
    run_python(code, "-W", "error", env=clean)
