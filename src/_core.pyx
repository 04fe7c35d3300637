# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""The door to the C core: check shapes, release the GIL, call, turn a status into an exception."""

import os

import numpy as np

from core cimport *
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t, uintptr_t

COVARIANCE_TYPES = {"full": FG_FULL, "tied": FG_TIED, "diag": FG_DIAG, "spherical": FG_SPHERICAL}
STARTS = {"kmeans": FG_START_KMEANS, "k-means++": FG_START_KMEANS_PP, "random": FG_START_RANDOM,
          "random_from_data": FG_START_DATA}
WANTS = {"labels": FG_WANT_LABELS, "responsibilities": FG_WANT_RESPONSIBILITIES,
         "log_likelihood": FG_WANT_LOG_LIKELIHOOD}

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
    }


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


cdef _check(fg_status status, int64_t component, _Monitor monitor):
    if status == FG_OK:
        return
    if status == FG_INTERRUPTED:
        raise monitor.error
    if status == FG_NO_MEMORY:
        raise MemoryError("fusedgmm could not allocate its working memory")
    if status == FG_SINGULAR:
        where = f"component {component}" if component >= 0 else "the tied covariance"
        raise ValueError(
            "Fitting the mixture model failed because some components have ill-defined empirical "
            "covariance (for instance caused by singleton or collapsed samples). Try to decrease "
            f"the number of components, increase reg_covar, or scale the input data. (Found at: {where}.)"
        )
    raise ValueError(
        "the log-likelihood is not finite: some rows are beyond the reach of every component; "
        "scale the input data or give better starting values"
    )


cdef class _Doubles:
    """A contiguous float64 array and its address."""

    cdef object array
    cdef double *p

    def __cinit__(self, array, shape=None, bint fresh=False):
        if fresh:
            self.array = np.empty(shape)
        else:
            self.array = np.ascontiguousarray(array, dtype=np.float64)
            if shape is not None and self.array.shape != tuple(shape):
                raise ValueError(f"expected shape {tuple(shape)}, found {self.array.shape}")
        self.p = <double *><uintptr_t>self.array.ctypes.data


def covariance_shape(covariance_type, n_components, n_features):
    return {"full": (n_components, n_features, n_features), "tied": (n_features, n_features),
            "diag": (n_components, n_features), "spherical": (n_components,)}[covariance_type]


cdef fg_shape _shape(covariance_type, int64_t n_components, int64_t n_features):
    cdef fg_shape shape
    shape.n_components = n_components
    shape.n_features = n_features
    shape.covariance = COVARIANCE_TYPES[covariance_type]
    return shape


cdef fg_data _data(X, _Doubles sample_weight):
    """X must be 2-D, aligned, native, float32 or float64; any strides."""
    if X.ndim != 2 or not X.flags.aligned or X.dtype not in (np.float32, np.float64):
        raise TypeError("the core takes aligned two-dimensional float32 or float64 arrays")
    cdef fg_data data
    data.x = <const void *><uintptr_t>X.ctypes.data
    data.real_type = FG_FLOAT32 if X.dtype == np.float32 else FG_FLOAT64
    data.n_rows = X.shape[0]
    # a single row or column may carry any stride
    data.row_stride = X.strides[0] // X.itemsize if X.shape[0] > 1 else 0
    data.feature_stride = X.strides[1] // X.itemsize if X.shape[1] > 1 else 0
    data.sample_weight = NULL
    if sample_weight is not None:
        data.sample_weight = sample_weight.p
    return data


cdef _weights_of(sample_weight, n_rows):
    return None if sample_weight is None else _Doubles(sample_weight, (n_rows,))


cdef class _Parameters:
    cdef fg_parameters c
    cdef object arrays

    def __cinit__(self, covariance_type, k, d, given=None):
        shapes = [(k,), (k, d), covariance_shape(covariance_type, k, d),
                  covariance_shape(covariance_type, k, d)]
        cdef list held = []
        for i, shape in enumerate(shapes):
            one = _Doubles(None, shape, True)
            if given is not None and given[i] is not None:
                one.array[...] = _Doubles(given[i], shape).array
            held.append(one)
        self.arrays = held
        self.c.weights = (<_Doubles>held[0]).p
        self.c.means = (<_Doubles>held[1]).p
        self.c.covariances = (<_Doubles>held[2]).p
        self.c.precisions_cholesky = (<_Doubles>held[3]).p

    def result(self):
        return tuple((<_Doubles>one).array for one in self.arrays)


def start(X, sample_weight, covariance_type, n_components, init_params, seed, reg_covar, n_threads):
    """Starting parameters from the data."""
    cdef fg_shape shape = _shape(covariance_type, n_components, X.shape[1])
    cdef _Doubles w = _weights_of(sample_weight, X.shape[0])
    cdef fg_data data = _data(X, w)
    cdef _Parameters out = _Parameters(covariance_type, n_components, X.shape[1])
    cdef _Monitor monitor = _Monitor()
    cdef fg_start how = STARTS[init_params]
    cdef uint64_t c_seed = seed
    cdef double c_reg = reg_covar
    cdef int threads = n_threads
    cdef int64_t component = -1
    cdef fg_status status
    with nogil:
        status = fg_start_parameters(&shape, &data, how, c_seed, c_reg, threads, &monitor.c,
                                     &out.c, &component)
    _check(status, component, monitor)
    return out.result()


def em(X, sample_weight, covariance_type, weights, means, covariances, precisions_cholesky, tol,
       reg_covar, max_iter, lower_bound, n_threads, report):
    """The loop of passes: parameters, lower bounds, converged."""
    cdef _Parameters p = _Parameters(covariance_type, len(weights), X.shape[1],
                                     (weights, means, covariances, precisions_cholesky))
    cdef fg_shape shape = _shape(covariance_type, len(weights), X.shape[1])
    cdef _Doubles w = _weights_of(sample_weight, X.shape[0])
    cdef fg_data data = _data(X, w)
    cdef _Monitor monitor = _Monitor(report)
    cdef double c_tol = tol, c_reg = reg_covar, previous = lower_bound
    cdef int64_t c_max_iter = max_iter, n_iter = 0, component = -1
    cdef int threads = n_threads, converged = 0
    cdef _Doubles bounds = _Doubles(None, (max(max_iter, 1),), True)
    cdef fg_status status
    with nogil:
        status = fg_em(&shape, &data, &p.c, c_tol, c_reg, c_max_iter, previous, threads,
                       &monitor.c, bounds.p, &n_iter, &converged, &component)
    _check(status, component, monitor)
    return (*p.result(), bounds.array[:n_iter].tolist(), bool(converged))


def accumulate(X, sample_weight, covariance_type, weights, means, precisions_cholesky, n_threads):
    """One pass: the sums about each component's shift."""
    k, d = len(weights), X.shape[1]
    cdef _Parameters p = _Parameters(covariance_type, k, d,
                                     (weights, means, None, precisions_cholesky))
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Doubles w = _weights_of(sample_weight, X.shape[0])
    cdef fg_data data = _data(X, w)
    cdef _Monitor monitor = _Monitor()
    cdef int threads = n_threads
    cdef _Doubles nk = _Doubles(None, (k,), True), shift = _Doubles(None, (k, d), True)
    cdef _Doubles sx = _Doubles(None, (k, d), True)
    cdef _Doubles sxx = _Doubles(None, (fg_moment_count(&shape),), True)
    cdef fg_statistics s
    s.nk, s.shift, s.sx, s.sxx = nk.p, shift.p, sx.p, sxx.p
    s.log_likelihood = s.weight_sum = 0
    s.n_rows = 0
    cdef fg_status status
    with nogil:
        status = fg_accumulate(&shape, &data, &p.c, threads, &monitor.c, &s)
    _check(status, -1, monitor)
    moments = sxx.array
    if covariance_type in ("full", "tied"):
        rows, columns = np.tril_indices(d)
        packed = moments.reshape(-1, d * (d + 1) // 2)
        moments = np.empty((len(packed), d, d))
        moments[:, rows, columns] = packed
        moments[:, columns, rows] = packed
        moments = moments if covariance_type == "full" else moments[0]
    elif covariance_type == "diag":
        moments = moments.reshape(k, d)
    return {"nk": nk.array, "shift": shift.array, "sx": sx.array, "sxx": moments,
            "log_likelihood": s.log_likelihood, "weight_sum": s.weight_sum,
            "n_samples": s.n_rows}


def maximize(covariance_type, nk, shift, sx, sxx, weight_sum, reg_covar, n_samples):
    """The M step: weights, means, covariances, precisions_cholesky."""
    k, d = np.shape(sx)
    moments = np.asarray(sxx, dtype=np.float64)
    expected = covariance_shape(covariance_type, k, d)
    if moments.shape != expected:
        raise ValueError(f"sxx should have the shape {expected}, but has {moments.shape}")
    if covariance_type in ("full", "tied"):
        rows, columns = np.tril_indices(d)
        moments = moments[..., rows, columns]
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Parameters out = _Parameters(covariance_type, k, d)
    cdef _Doubles c_nk = _Doubles(nk, (k,)), c_shift = _Doubles(shift, (k, d))
    cdef _Doubles c_sx = _Doubles(sx, (k, d)), c_sxx = _Doubles(moments.ravel())
    cdef fg_statistics s
    s.nk, s.shift, s.sx, s.sxx = c_nk.p, c_shift.p, c_sx.p, c_sxx.p
    s.weight_sum = weight_sum
    s.log_likelihood = 0
    s.n_rows = n_samples
    cdef int64_t component = -1
    _check(fg_maximize(&shape, &s, reg_covar, &out.c, &component), component, None)
    return out.result()


def precision_cholesky(covariance_type, covariances):
    """Upper U with precision = U U^T; covariances in the shape of their type."""
    given = np.asarray(covariances, dtype=np.float64)
    k = 1 if covariance_type == "tied" else given.shape[0]
    d = 1 if covariance_type == "spherical" else given.shape[given.ndim - 1]
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Doubles c = _Doubles(given), out = _Doubles(None, given.shape, True)
    cdef int64_t component = -1
    _check(fg_precision_cholesky(&shape, c.p, out.p, &component), component, None)
    return out.array


def score(X, covariance_type, weights, means, precisions_cholesky, n_threads, want):
    """labels (N,) int64, responsibilities (N, K) or log_likelihood (N,) in X's dtype."""
    k, d = len(weights), X.shape[1]
    cdef _Parameters p = _Parameters(covariance_type, k, d,
                                     (weights, means, None, precisions_cholesky))
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef fg_data data = _data(X, None)
    cdef _Monitor monitor = _Monitor()
    out = np.empty((X.shape[0], k) if want == "responsibilities" else X.shape[0],
                   np.int64 if want == "labels" else X.dtype)
    cdef void *c_out = <void *><uintptr_t>out.ctypes.data
    cdef fg_want c_want = WANTS[want]
    cdef int threads = n_threads
    cdef fg_status status
    with nogil:
        status = fg_score(&shape, &data, &p.c, c_want, threads, &monitor.c, c_out)
    _check(status, -1, monitor)
    return out


def vector_exp(x):
    """The kernels' own exp of a contiguous float32 or float64 array; for the tests."""
    return _vector(x, 0)


def vector_log(x):
    """The kernels' own log of a contiguous float32 or float64 array; for the tests."""
    return _vector(x, 1)


cdef _vector(x, int want_log):
    out = np.empty_like(x)
    fg_vector_exp_log(FG_FLOAT32 if x.dtype == np.float32 else FG_FLOAT64,
                      <const void *><uintptr_t>x.ctypes.data, x.size, want_log,
                      <void *><uintptr_t>out.ctypes.data)
    return out
