"""The floating-point environment: calls do not change it, and it does not change the bits of a
fit."""

import platform
import sys
from textwrap import dedent

import numpy as np
import pytest

from fusedgmm import BayesianGaussianMixture, GaussianMixture, accumulate, fit_batch
from fusedgmm._parameters import MixtureParameters
from helpers import run_python

X86 = platform.machine().lower() in ("x86_64", "amd64")
pytestmark = [pytest.mark.usefixtures("four_cpus"), pytest.mark.slow]


def rows(n, d, dtype=np.float64):
    rng = np.random.default_rng(d)
    return (rng.normal(size=(n, d)) + 3 * rng.integers(3, size=(n, 1))).astype(dtype)


def everything(X, n_threads=2):
    """The bytes of every kind of call."""
    options = {"n_threads": n_threads, "random_state": 0, "max_iter": 200}
    model = GaussianMixture(3, **options).fit(X)
    parameters = MixtureParameters(
        model.weights_, model.means_, model.covariances_, model.precisions_cholesky_, "full"
    )
    sums = accumulate(X, parameters, n_threads=n_threads)
    batch = fit_batch(X[: len(X) // 9 * 9].reshape(9, -1, X.shape[1]), [1, 2], **options)
    arrays = [
        *(model.weights_, model.means_, model.covariances_, model.precisions_cholesky_),
        *(model.lower_bounds_, model.predict(X), model.predict_proba(X), model.score_samples(X)),
        *(sums.nk, sums.sx, sums.sxx, batch.means, batch.covariances, batch.bic),
    ]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


@pytest.mark.parametrize("d", [1, 3, 12, 40])
def test_the_same_bits_with_any_number_of_threads_and_in_every_run(d, dtype):
    X = rows(5000, d, dtype)
    right = everything(X, 1)
    for n_threads in (1, 2, 3, 4, 2):
        assert everything(X, n_threads) == right


def test_the_same_bits_of_a_bayesian_fit_with_any_number_of_threads(covariance_type, dtype):
    X, found = rows(5000, 5, dtype), set()
    for n_threads in (1, 2, 3, 4):
        model = BayesianGaussianMixture(
            n_components=4,
            covariance_type=covariance_type,
            random_state=0,
            max_iter=500,
            n_threads=n_threads,
        ).fit(X)
        found.add(model.means_.tobytes() + model.covariances_.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("d", [1, 3, 12])
def test_the_same_bits_wherever_the_rows_lie(d, dtype):
    X = rows(1500, d, dtype)
    right = everything(X)
    for offset in range(1, 65, 7 if dtype is np.float64 else 4):  # odd offsets, and whole elements
        memory = np.zeros(X.nbytes + 128, np.uint8)
        begin = offset + -memory.ctypes.data % 64
        moved = memory[begin : begin + X.nbytes].view(X.dtype).reshape(X.shape)
        moved[...] = X
        assert moved.ctypes.data % 64 == offset % 64
        assert everything(moved) == right, f"at byte {offset} of a cache line"


PRELUDE = """
import ctypes, ctypes.util, threading
import numpy as np

tiny = np.array([5e-324])  # times one is zero, where subnormals are flushed
def keeps_subnormals():
    return bool((tiny * np.array([1.0]))[0] > 0)

def anywhere():
    seen = [keeps_subnormals()]
    worker = threading.Thread(target=lambda: seen.append(keeps_subnormals()))
    worker.start()
    worker.join()
    return seen

libm = ctypes.CDLL(ctypes.util.find_library("m"))
environment = ctypes.create_string_buffer(256)

def set_mxcsr(set_bits):
    libm.fegetenv(environment)
    word = ctypes.c_uint32.from_buffer(environment, 28)  # behind the x87's own, on x86-64
    word.value |= set_bits
    libm.fesetenv(environment)

def start_threads():
    # those that gcc's runtime keeps for this one; they inherit its mode
    with open("/proc/self/maps") as maps:
        for path in {line.split()[-1] for line in maps if "libgomp" in line}:
            nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # free(NULL)
            ctypes.CDLL(path).GOMP_parallel(nothing, None, 4, 0)

def mxcsr():
    libm.fegetenv(environment)
    return ctypes.c_uint32.from_buffer(environment, 28).value & 0xffc0
"""
FITS = """
from fusedgmm import GaussianMixture, fit_batch, _threads
_threads.available_cpus = lambda: 4

rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 3)) + 4 * rng.integers(2, size=(3000, 1))
Y = np.concatenate((X * 1e-160, X * 1e-160))  # squares of these are subnormal
def results(n_threads):
    options = dict(n_threads=n_threads, random_state=0, max_iter=500)
    model = GaussianMixture(3, **options).fit(X)
    batch = fit_batch(X.reshape(10, 300, 3), 2, **options)
    # in a batch: a model's precisions, which overflow here, are NumPy's
    spread = fit_batch([Y], 2, covariance_type="diag", reg_covar=0, **options)
    return (model.means_.tobytes(), model.covariances_.tobytes(), model.score_samples(X).tobytes(),
            batch.means.tobytes(), spread.means.tobytes(), spread.covariances.tobytes())
"""


def run(script):
    run_python(PRELUDE + dedent(script), timeout=60)


def test_subnormals_survive_the_import_and_the_fits():
    run(
        """
assert all(anywhere())
import fusedgmm
assert all(anywhere()), "after the import"
"""
        + FITS
        + """
results(4)
assert all(anywhere()), "after fits"
worker = threading.Thread(target=results, args=(4,))
worker.start()
worker.join()
assert all(anywhere()), "after fits in a thread"
"""
    )


@pytest.mark.skipif(not X86 or sys.platform != "linux", reason="sets the MXCSR of x86-64 by glibc")
@pytest.mark.parametrize(
    "bits", [0x8040, 0x2000, 0x4000, 0x6000], ids=["FTZ and DAZ", "down", "up", "to zero"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_mode_that_the_process_has_set_changes_no_bits_and_is_kept(bits, when):
    """The mode is set before the threads start, which then inherit it, or after; so the results
    must not depend on which thread computes what."""
    run(
        FITS
        + f"""
if "{when}" == "after":
    right = results(1)
    results(4)
before = mxcsr()
set_mxcsr({bits:#x})
changed = mxcsr()
assert changed == before | {bits:#x}
if "{when}" == "before":
    start_threads()
found = [results(n) for n in (4, 1, 2)]
assert mxcsr() == changed, "the caller's mode was not given back"
ctypes.c_uint32.from_buffer(environment, 28).value &= ~{bits:#x}
libm.fesetenv(environment)
if "{when}" == "before":
    right = results(1)
for one in found:
    for a, b in zip(one, right):
        assert a == b
"""
    )
