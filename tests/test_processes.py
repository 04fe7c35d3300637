"""Fits in child processes, and together with other threads and other OpenMP runtimes.

They never hang, and their results are identical. Every script runs in a separate process with a
time limit, so that a hang is a failure.
"""

import importlib.metadata
import multiprocessing
import os
from textwrap import dedent

import pytest

from helpers import on_linux, run_python

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
linux = on_linux("/proc, limits of Linux")

# Two threads on any machine; `before` holds the bits that model.fit(X) must give.
PRELUDE = """
import os, sys, threading, time, traceback, warnings
import numpy as np
from fusedgmm import GaussianMixture, _core, _threads

warnings.simplefilter("error")
for message in (".*multi-threaded, use of fork", "Best performing initialization did not conv"):
    warnings.filterwarnings("ignore", message=message)
_threads.available_cpus = lambda: 2
X = np.random.default_rng(0).normal(size=(20_000, 3)) + np.repeat([[0], [5]], 10_000, axis=0)
model = GaussianMixture(3, n_threads=2, random_state=0, tol=0, max_iter=5)
model.init_params = "k-means++"

def bits(model):
    return model.means_.tobytes() + model.covariances_.tobytes() + model.weights_.tobytes()

def count_threads():
    return len(os.listdir("/proc/self/task")) if sys.platform.startswith("linux") else 2

def child(work):
    \"\"\"Fork, work there, and return the child's number.\"\"\"
    number = os.fork()
    if number == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return number

def wait_for(number):
    assert os.waitpid(number, 0)[1] == 0, "the child failed"

def fit_as_before():
    for _ in range(50):
        assert bits(model.fit(X)) == before
        if count_threads() >= 2:
            return
        time.sleep(0.1)  # after a late helper, calls do not use helpers for a while
    raise AssertionError("it ran on one thread")

before = bits(model.fit(X))
"""


def run(script, *, timeout=60, **environment):
    """Run a script after the prelude and return its output."""
    # KMP_...: set by importing scikit-learn
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("OMP_NUM_", "KMP_"))}
    return run_python(PRELUDE + dedent(script), env=clean | environment, timeout=timeout)


@posix
@pytest.mark.parametrize(
    "script",
    [
        "wait_for(child(fit_as_before)); fit_as_before()",
        # a grandchild: the threads of its parent are gone too
        """
        def fit_and_fork():
            fit_as_before()
            wait_for(child(fit_as_before))
        wait_for(child(fit_and_fork))
        """,
        # from a second thread, while the first is inside a call
        """
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                assert bits(GaussianMixture(**model.get_params()).fit(X)) == before
        worker = threading.Thread(target=busy)
        worker.start()
        for _ in range(5):
            wait_for(child(fit_as_before))
            time.sleep(0.01)
        stop.set()
        worker.join()
        """,
        # from a thread that has made calls itself
        """
        done = []
        def fit_and_fork():
            fit_as_before()
            wait_for(child(fit_as_before))
            fit_as_before()
            done.append(True)
        worker = threading.Thread(target=fit_and_fork)
        worker.start()
        worker.join()
        assert done
        """,
        # in the middle of a call
        """
        from fusedgmm import fit_batch
        children = []
        def fork_once(done, count):
            if not children:
                children.append(child(lambda: bits(model.fit(X)) == before or os.abort()))
        fit_batch(X.reshape(1000, 20, 3), 2, n_threads=2, progress=fork_once)
        wait_for(children[0])
        """,
    ],
    ids=["a child", "a grandchild", "beside a fit", "from another thread", "from a callback"],
)
def test_a_child_of_fork_fits_with_the_bits_and_threads_of_its_parent(script):
    run(script)


@posix
def test_a_child_continues_the_call_of_its_parent():
    """The child has no helpers any more: it redoes the tasks that they had taken."""
    run(
        """
        from fusedgmm import fit_batch
        rows = X.reshape(1000, 20, 3)
        options = dict(n_threads=2, random_state=0)
        right = fit_batch(rows, 2, **options).means.tobytes()
        children = []
        def fork_once(done, count):
            if not children:
                children.append(os.fork())
        found = fit_batch(rows, 2, progress=fork_once, **options).means.tobytes()
        if children[0] == 0:
            os._exit(found != right)
        wait_for(children[0])
        assert found == right
        """
    )


START_METHODS = {"fork", "spawn", "forkserver"}  # joblib may add its own to Python's


@pytest.mark.parametrize(
    "method", sorted(START_METHODS & set(multiprocessing.get_all_start_methods()))
)
def test_a_pool_of_processes(method):
    run(
        f"""
        import multiprocessing
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            for fitted in pool.map(model.fit, [X, X, X], chunksize=1):
                assert bits(fitted) == before
        assert bits(model.fit(X)) == before
        """
    )


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_jobs_of_joblib(backend):
    pytest.importorskip("joblib")
    run(
        f"""
        import joblib
        models = [GaussianMixture(**model.get_params()) for _ in range(4)]
        jobs = (joblib.delayed(m.fit)(X) for m in models)
        fitted = joblib.Parallel(n_jobs=2, backend="{backend}")(jobs)
        assert [bits(m) for m in fitted] == 4 * [before]
        if "{backend}" == "loky" and _core.config()["openmp"]:
            # loky tells its workers through OpenMP how many threads are theirs
            jobs = joblib.Parallel(n_jobs=2)(joblib.delayed(_threads.resolve)() for _ in range(2))
            assert sum(jobs) <= max(2, joblib.cpu_count()), jobs
        """
    )


@linux
def test_calls_that_run_at_once_share_the_threads():
    """Eight Python threads that may use eight threads each would have 64 threads in total; the
    threads of joblib and Dask do not set a limit."""
    printed = run(
        """
        _threads.available_cpus = lambda: 8
        stop = threading.Event()
        def busy():
            mine = GaussianMixture(**model.get_params() | {"n_threads": 8})
            while not stop.is_set():
                assert bits(mine.fit(X)) == before
        workers = [threading.Thread(target=busy) for _ in range(8)]
        for worker in workers:
            worker.start()
        seen = []
        time.sleep(0.3)
        for _ in range(50):
            time.sleep(0.01)
            seen.append(count_threads())
        stop.set()
        for worker in workers:
            worker.join()
        print(sorted(seen)[25])
        """
    )
    assert int(printed) <= 64 / 2


# Other OpenMP runtimes: other() uses two of its own threads. `.ci/compatibility neighbours` tests
# all of them, and Dask.
NEIGHBOURS = {
    "scikit-learn": """
        from sklearn.cluster import KMeans
        def other():
            KMeans(3, n_init=1, random_state=0).fit(X)
    """,
    "torch": """
        import torch
        torch.set_num_threads(2)
        def other():
            rows = torch.from_numpy(X).repeat(20, 1)
            assert torch.isfinite((rows @ rows.T[:, :50]).exp().log1p()).any()
    """,
    "scikit-learn-intelex": """
        from sklearnex.cluster import KMeans as Intels
        warnings.filterwarnings("ignore", message="'Threading' parallel backend")
        def other():
            Intels(3, n_init=1, random_state=0).fit(X)
    """,
    "intel-openmp": """
        import ctypes, importlib.metadata
        (path,) = (f for f in importlib.metadata.files("intel-openmp") if f.name == "libiomp5.so")
        intels = ctypes.CDLL(str(path.locate()))
        def other():
            seen = []
            region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
            intels.GOMP_parallel(region(lambda _: seen.append(threading.get_ident())), None, 2, 0)
            assert len(set(seen)) == 2
    """,
}


@posix
@pytest.mark.parametrize("neighbours", [*([n] for n in NEIGHBOURS), list(NEIGHBOURS)], ids="+".join)
def test_beside_other_openmp_runtimes(neighbours):
    script = "others = []\n"
    for name in neighbours:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        script += dedent(NEIGHBOURS[name]) + "others.append(other)\n"
    run(
        script
        + dedent(
            """
            def in_turn():
                for other in others:
                    other()
                    fit_as_before()
                done.append(True)
            done = []
            in_turn()
            worker = threading.Thread(target=in_turn)
            worker.start()
            in_turn()
            worker.join()
            # their own pools may not survive a fork; ours does
            wait_for(child(fit_as_before))
            in_turn()
            assert len(done) == 4
            """
        )
    )


@posix
@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_tasks_of_dask(workers):
    pytest.importorskip("distributed")
    run(
        f"""
        from distributed import Client, LocalCluster
        if __name__ == "__main__":
            for message in ("", "Sending large graph"):
                warnings.filterwarnings("ignore", message=message)
            cpus = os.cpu_count()
            shape = dict(n_workers=2, threads_per_worker=1)
            if "{workers}" == "threads":
                shape = dict(n_workers=1, threads_per_worker=4)
            with (
                LocalCluster(processes="{workers}" == "processes", dashboard_address=None, **shape)
                as cluster,
                Client(cluster) as client,
            ):
                options = [model.get_params()] * 6
                fits = client.map(lambda o: bits(GaussianMixture(**o).fit(X)), options, pure=False)
                assert client.gather(fits) == 6 * [before]
                if "{workers}" == "processes":  # Dask tells them how many threads are theirs
                    limits = client.run(lambda: os.environ["OMP_NUM_THREADS"])
                    assert set(limits.values()) == {{"1"}}
                    assert set(client.run(_threads.resolve).values()) == {{1}}
        """
    )


LIMITED = """
    import resource
    _threads.available_cpus = lambda: 8
    model.n_threads = 8
    def limit():
        {limit}
    {prepare}
    there = count_threads()  # helpers stay
    limit()
    for _ in range(3):
        assert bits(model.fit(X)) == before
        worker = threading.Thread(target=model.fit, args=(X,))
        try:
            worker.start()
            worker.join()
        except RuntimeError:  # nor can Python start one
            pass
    assert {enough} or count_threads() < 8 or there >= 8
    print("alive")
"""
FEW_PROCESSES = """
        resource.setrlimit(resource.RLIMIT_NPROC, (3, 3))
        if os.getuid() == 0:  # whom this limit does not bind
            os.setuid(54321)
"""
LITTLE_ROOM = """
        def pages():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[0])
        before, now = None, pages()
        while now != before:  # stacks of threads that have just ended are still being given back
            time.sleep(0.2)
            before, now = now, pages()
        room = now * os.sysconf("SC_PAGE_SIZE") + (40 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
"""


@linux
@pytest.mark.parametrize("prepare", ["", "model.fit(X)"])
@pytest.mark.parametrize("limit", [FEW_PROCESSES, LITTLE_ROOM], ids=["processes", "memory"])
def test_fits_work_where_threads_cannot_be_started(limit, prepare):
    """Stacks are small: even with little memory there may be enough for all threads."""
    script = dedent(LIMITED).replace("{prepare}", prepare)
    script = script.replace("{enough}", str(limit == LITTLE_ROOM))
    script = script.replace("{limit}", dedent(limit).strip().replace("\n", "\n    "))
    assert run(script) == "alive\n"


def test_small_stacks():
    run(
        """
        from fusedgmm import BayesianGaussianMixture, fit_batch
        threading.stack_size(256 << 10)  # Python itself needs most of it
        errors = []
        def work():
            try:
                fit_as_before()
                model.predict(X)
                for kind in ("full", "tied", "diag", "spherical"):
                    wide = np.tile(X, 12)[:3000] + np.random.default_rng(0).normal(size=(3000, 36))
                    for Y in (wide, wide.astype(np.float32)):
                        options = {"covariance_type": kind, "n_threads": 2, "random_state": 0}
                        GaussianMixture(3, degenerate="repair", **options).fit(Y)
                        BayesianGaussianMixture(n_components=3, **options).fit(Y)
                        fit_batch(Y.reshape(30, 100, 36), [1, 2], **options)
            except BaseException as error:
                errors.append(error)
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        assert not errors, errors
        """
    )
