# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""The door to the C core: check shapes, release the GIL, call, turn a status into an exception.

Arrays in: X is 2-D, aligned, native, float32 or float64, of any strides; sample_weight None or
contiguous float64 (N,); parameters array-like. Arrays out are new, and float64 unless said."""

import os

import numpy as np

from core cimport *
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t

COVARIANCE_TYPES = {"full": FG_FULL, "tied": FG_TIED, "diag": FG_DIAG, "spherical": FG_SPHERICAL}
STARTS = {"kmeans": FG_START_KMEANS, "k-means++": FG_START_KMEANS_PP, "random": FG_START_RANDOM,
          "random_from_data": FG_START_DATA}
WANTS = {"labels": FG_WANT_LABELS, "responsibilities": FG_WANT_RESPONSIBILITIES,
         "log_likelihood": FG_WANT_LOG_LIKELIHOOD}


# ---- the build and the machine ----

def _usable():
    names, i = [], 0
    while fg_isa_usable(i) != NULL:
        names.append(fg_isa_usable(i).decode())
        i += 1
    return names


_wanted = os.environ.get("FUSEDGMM_ISA", "")
if fg_isa_choose(_wanted.encode()) != 0:
    raise ImportError(
        f"FUSEDGMM_ISA={_wanted!r} cannot be used here; usable: {', '.join(_usable())}"
    )
fg_parallel_install_fork_guard()


def omp_max_threads():
    """The calling thread's OpenMP limit; 1 without OpenMP."""
    return fg_openmp_max_threads()


def config():
    """How the core was built and what it chose."""
    return {
        "instruction_set": fg_isa_name().decode(),
        "usable_instruction_sets": _usable(),
        "openmp": fg_openmp_version() or None,
        "build": fg_build().decode(),
    }


# ---- the user's interrupt, and his reports ----

cdef class _Monitor:
    """Signals and reports, asked for by the C loop on the calling thread."""

    cdef fg_monitor c
    cdef object report
    cdef object error

    def __cinit__(self, report=None):
        self.report = report
        self.c.context = <void *>self
        self.c.last_poll = 0
        self.c.poll = _poll
        self.c.report = NULL
        if report is not None:
            self.c.report = _report


cdef int _poll(void *context) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        (<_Monitor>context).error = error
        return 1
    return 0


cdef int _report(void *context, int64_t iteration, double bound, double change) noexcept with gil:
    try:
        (<_Monitor>context).report(iteration, bound, change)
    except BaseException as error:
        (<_Monitor>context).error = error
        return 1
    return 0


cdef _raise(fg_status status, int64_t component, _Monitor monitor, X):
    if status == FG_INTERRUPTED:
        raise monitor.error
    if status == FG_NO_MEMORY:
        raise MemoryError("fusedgmm could not allocate its working memory")
    if status == FG_SINGULAR:
        where = f"component {component}" if component >= 0 else "the tied covariance"
        raise ValueError(
            "Fitting the mixture model failed because some components have ill-defined empirical "
            "covariance (for instance caused by singleton or collapsed samples). Try to decrease "
            "the number of components, increase reg_covar, or scale the input data. "
            f"(Found at: {where}.)"
        )
    from fusedgmm._validation import check_finite

    check_finite(X)
    raise ValueError(
        "the log-likelihood is not finite: some rows are beyond the reach of every component; "
        "scale the input data or give better starting values"
    )


# ---- arrays ----

cdef void *_address(array) except NULL:
    """Where a contiguous array begins; the caller keeps the array."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return view.buf


cdef _doubles(array, tuple shape):
    """The array as contiguous float64 of that shape."""
    array = np.ascontiguousarray(array, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"expected an array of shape {shape}, found {array.shape}")
    return array


def covariance_shape(covariance_type, n_components, n_features):
    """The shape of covariances, precisions and their factors."""
    if covariance_type == "full":
        return (n_components, n_features, n_features)
    if covariance_type == "tied":
        return (n_features, n_features)
    return (n_components, n_features) if covariance_type == "diag" else (n_components,)


cdef fg_shape _shape(covariance_type, int64_t n_components, int64_t n_features):
    cdef fg_shape shape
    shape.n_components = n_components
    shape.n_features = n_features
    shape.covariance = COVARIANCE_TYPES[covariance_type]
    return shape


cdef class _Data:
    """Rows of samples, in place; holds what it points into."""

    cdef fg_data c
    cdef object x, weight

    def __cinit__(self, x, sample_weight):
        cdef Py_buffer view
        self.x = x
        dtype = x.dtype
        if x.ndim != 2 or not x.flags.aligned or dtype not in (np.float64, np.float32):
            raise TypeError("the core takes aligned two-dimensional float32 or float64 arrays")
        PyObject_GetBuffer(x, &view, PyBUF_STRIDES)
        self.c.x = view.buf
        self.c.real_type = FG_FLOAT64 if view.itemsize == 8 else FG_FLOAT32
        self.c.n_rows = view.shape[0]
        # a single row or column may carry any stride
        self.c.row_stride = view.strides[0] // view.itemsize if view.shape[0] > 1 else 0
        self.c.feature_stride = view.strides[1] // view.itemsize if view.shape[1] > 1 else 0
        PyBuffer_Release(&view)
        self.c.sample_weight = NULL
        if sample_weight is not None:
            self.weight = _doubles(sample_weight, (x.shape[0],))
            self.c.sample_weight = <const double *>_address(self.weight)


cdef class _Parameters:
    """Parameters of a mixture; holds what it points into."""

    cdef fg_parameters c
    cdef readonly tuple arrays

    cdef _point(self, weights, means, covariances, precisions_cholesky):
        self.arrays = (weights, means, covariances, precisions_cholesky)
        self.c.weights = <double *>_address(weights)
        self.c.means = <double *>_address(means)
        self.c.covariances = NULL if covariances is None else <double *>_address(covariances)
        self.c.precisions_cholesky = <double *>_address(precisions_cholesky)


cdef _Parameters _given(covariance_type, weights, means, precisions_cholesky, covariances=None):
    """To read only: no copy where the arrays are float64 and contiguous."""
    cdef _Parameters p = _Parameters()
    k, d = np.shape(means)
    shape = covariance_shape(covariance_type, k, d)
    p._point(_doubles(weights, (k,)), _doubles(means, (k, d)),
             None if covariances is None else _doubles(covariances, shape),
             _doubles(precisions_cholesky, shape))
    return p


cdef _Parameters _fresh(covariance_type, k, d):
    """To write into."""
    cdef _Parameters p = _Parameters()
    shape = covariance_shape(covariance_type, k, d)
    p._point(np.empty(k), np.empty((k, d)), np.empty(shape), np.empty(shape))
    return p


# ---- the calls ----

def n_tasks(covariance_type, n_samples, n_components, n_features):
    """Into how many tasks a pass is cut: more threads find no work."""
    cdef fg_shape shape = _shape(covariance_type, n_components, n_features)
    return fg_task_count(&shape, n_samples)


def start(X, sample_weight, covariance_type, n_components, init_params, seed, reg_covar, n_threads):
    """Starting parameters from the data: weights, means, covariances, precisions_cholesky."""
    cdef fg_shape shape = _shape(covariance_type, n_components, X.shape[1])
    cdef _Data data = _Data(X, sample_weight)
    cdef _Parameters out = _fresh(covariance_type, n_components, X.shape[1])
    cdef _Monitor monitor = _Monitor()
    cdef fg_start how = STARTS[init_params]
    cdef uint64_t c_seed = seed
    cdef double c_reg = reg_covar
    cdef int threads = n_threads
    cdef int64_t component = -1
    cdef fg_status status
    with nogil:
        status = fg_start_parameters(&shape, &data.c, how, c_seed, c_reg, threads, &monitor.c,
                                     &out.c, &component)
    if status != FG_OK:
        _raise(status, component, monitor, X)
    return out.arrays


def em(X, sample_weight, covariance_type, weights, means, covariances, precisions_cholesky, tol,
       reg_covar, max_iter, lower_bound, n_threads, report):
    """The loop of passes from given parameters: the new ones, the list of lower bounds, converged.
    report, where given, is called with (iteration, lower bound, change)."""
    k, d = len(weights), X.shape[1]
    cdef _Parameters p = _fresh(covariance_type, k, d)
    for own, given in zip(p.arrays, (weights, means, covariances, precisions_cholesky)):
        own[...] = _doubles(given, own.shape)
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Data data = _Data(X, sample_weight)
    cdef _Monitor monitor = _Monitor(report)
    cdef double c_tol = tol, c_reg = reg_covar, previous = lower_bound
    cdef int64_t c_max_iter = max_iter, n_iter = 0, component = -1
    cdef int threads = n_threads, converged = 0
    bounds = np.empty(max(max_iter, 1))
    cdef double *c_bounds = <double *>_address(bounds)
    cdef fg_status status
    with nogil:
        status = fg_em(&shape, &data.c, &p.c, c_tol, c_reg, c_max_iter, previous, threads,
                       &monitor.c, c_bounds, &n_iter, &converged, &component)
    if status != FG_OK:
        _raise(status, component, monitor, X)
    return (*p.arrays, bounds[:n_iter].tolist(), bool(converged))


def accumulate(X, sample_weight, covariance_type, weights, means, covariances, precisions_cholesky,
               n_threads):
    """One pass: the sums about each component's shift. Tied's sxx is summed over the components;
    where all rows of its shift are one point, that is the data's scatter."""
    cdef _Parameters p = _given(covariance_type, weights, means, precisions_cholesky, covariances)
    k, d = p.arrays[1].shape
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Data data = _Data(X, sample_weight)
    cdef _Monitor monitor = _Monitor()
    cdef int threads = n_threads
    nk, shift, sx, moments = (
        np.empty(k), np.empty((k, d)), np.empty((k, d)), np.empty(fg_moment_count(&shape))
    )
    cdef fg_statistics s
    s.nk, s.shift = <double *>_address(nk), <double *>_address(shift)
    s.sx, s.sxx = <double *>_address(sx), <double *>_address(moments)
    s.log_likelihood = s.weight_sum = 0
    s.n_rows = 0
    cdef fg_status status
    with nogil:
        status = fg_accumulate(&shape, &data.c, &p.c, threads, &monitor.c, &s)
    if status != FG_OK:
        _raise(status, -1, monitor, X)
    if covariance_type in ("full", "tied"):
        rows, columns = np.tril_indices(d)
        packed = moments.reshape(-1, d * (d + 1) // 2)
        moments = np.empty((len(packed), d, d))
        moments[:, rows, columns] = packed
        moments[:, columns, rows] = packed
    return {"nk": nk, "shift": shift, "sx": sx,
            "sxx": moments.reshape(covariance_shape(covariance_type, k, d)),
            "log_likelihood": s.log_likelihood, "weight_sum": s.weight_sum,
            "n_samples": s.n_rows}


def maximize(covariance_type, nk, shift, sx, sxx, weight_sum, reg_covar, n_samples):
    """The M step: weights, means, covariances, precisions_cholesky."""
    k, d = np.shape(sx)
    nk, shift, sx = _doubles(nk, (k,)), _doubles(shift, (k, d)), _doubles(sx, (k, d))
    moments = _doubles(sxx, covariance_shape(covariance_type, k, d))
    if covariance_type in ("full", "tied"):
        rows, columns = np.tril_indices(d)
        moments = np.ascontiguousarray(moments[..., rows, columns])
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Parameters out = _fresh(covariance_type, k, d)
    cdef fg_statistics s
    s.nk, s.shift = <double *>_address(nk), <double *>_address(shift)
    s.sx, s.sxx = <double *>_address(sx), <double *>_address(moments)
    s.weight_sum = weight_sum
    s.log_likelihood = 0
    s.n_rows = n_samples
    cdef int64_t component = -1
    cdef fg_status status = fg_maximize(&shape, &s, reg_covar, &out.c, &component)
    if status != FG_OK:
        _raise(status, component, None, None)
    return out.arrays


def precision_cholesky(covariance_type, covariances):
    """Upper U with precision = U U^T; covariances in the shape of their type."""
    given = np.ascontiguousarray(covariances, dtype=np.float64)
    k = 1 if covariance_type == "tied" else given.shape[0]
    d = 1 if covariance_type == "spherical" else given.shape[given.ndim - 1]
    given = _doubles(given, covariance_shape(covariance_type, k, d))
    out = np.empty(given.shape)
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef int64_t component = -1
    cdef fg_status status = fg_precision_cholesky(
        &shape, <double *>_address(given), <double *>_address(out), &component)
    if status != FG_OK:
        _raise(status, component, None, None)
    return out


def score(X, covariance_type, weights, means, precisions_cholesky, n_threads, want):
    """labels (N,) int64, responsibilities (N, K) or log_likelihood (N,) in X's dtype."""
    cdef _Parameters p = _given(covariance_type, weights, means, precisions_cholesky)
    k, d = p.arrays[1].shape
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Data data = _Data(X, None)
    cdef _Monitor monitor = _Monitor()
    out = np.empty((X.shape[0], k) if want == "responsibilities" else X.shape[0],
                   np.int64 if want == "labels" else X.dtype)
    cdef void *c_out = _address(out)
    cdef fg_want c_want = WANTS[want]
    cdef int threads = n_threads
    cdef fg_status status
    with nogil:
        status = fg_score(&shape, &data.c, &p.c, c_want, threads, &monitor.c, c_out)
    if status != FG_OK:
        _raise(status, -1, monitor, X)
    return out


# ---- for the tests ----

def vector_exp(x):
    """The kernels' own exp of a contiguous float32 or float64 array."""
    return _vector(x, 0)


def vector_log(x):
    """The kernels' own log of a contiguous float32 or float64 array."""
    return _vector(x, 1)


cdef _vector(x, int want_log):
    out = np.empty_like(x)
    fg_vector_exp_log(FG_FLOAT32 if x.dtype == np.float32 else FG_FLOAT64, _address(x), x.size,
                      want_log, _address(out))
    return out
