"""threads.resolve: every limit a user or a container can set is respected."""

import os
import subprocess
import sys
import threading

import pytest

from fusedgmm import threads

many_cpus = pytest.mark.skipif(threads.available_cpus() < 2, reason="one CPU shows no limit")


def resolved_in_a_child(before="", **environment):
    """What resolve() says in a fresh process, after the statements `before`."""
    clean = {n: v for n, v in os.environ.items() if n != "OMP_NUM_THREADS"}
    code = f"{before}\nfrom fusedgmm import threads\nprint(threads.resolve())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """An empty folder in the place of /sys/fs/cgroup."""
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    return tmp_path


@many_cpus
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
def test_threadpoolctl_limits_the_thread_that_asks(cgroup):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = threads.resolve()
    seen = []

    def limited():
        with threadpoolctl.threadpool_limits(1):
            seen.append(threads.resolve())
        seen.append(threads.resolve())

    worker = threading.Thread(target=limited)
    worker.start()
    worker.join()
    assert seen == [1, before]
    assert threads.resolve() == before


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
    assert threads.cpu_quota() == quota
    if quota is not None:
        assert threads.resolve() <= quota


@pytest.mark.parametrize("n_threads", [0, -1, True, 1.5, "2"], ids=repr)
def test_no_number_of_threads(n_threads):
    with pytest.raises(ValueError, match=r"n_threads must be an int >= 1, got"):
        threads.resolve(n_threads)


def test_an_int_is_clamped_to_the_cpus():
    assert threads.resolve(1) == 1
    assert threads.resolve(10**9) == threads.available_cpus()
