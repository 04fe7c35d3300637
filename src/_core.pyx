# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, autotestdict=False
"""The door to the C core: check shapes, release the GIL, call, turn a status into an exception.

Arrays in: X is 2-D, aligned, native, float32 or float64, of any strides; sample_weight None or
contiguous float64 (N,); parameters array-like. Arrays out are new, and float64 unless said."""

import os

import numpy as np

from core cimport *
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset, strcmp

cdef object _ndarray = np.ndarray, _empty = np.empty

_COVARIANCE_TYPES = {"full": FG_FULL, "tied": FG_TIED, "diag": FG_DIAG, "spherical": FG_SPHERICAL}
_STARTS = {"kmeans": FG_START_KMEANS, "k-means++": FG_START_KMEANS_PP, "random": FG_START_RANDOM,
          "random_from_data": FG_START_DATA}
_WANTS = {"labels": FG_OUTPUT_LABELS, "responsibilities": FG_OUTPUT_RESPONSIBILITIES,
         "log_likelihood": FG_OUTPUT_LOG_LIKELIHOOD}


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
fg_parallel_install()


__version__ = FG_VERSION.decode()


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
    """Signals and reports, asked for by the C loop on the calling thread. progress, where given, is
    called with the number of problems that are done."""

    cdef fg_monitor c
    cdef object report, progress
    cdef object error

    def __cinit__(self, report=None, progress=None):
        self.report, self.progress = report, progress
        self.c.context = <void *>self
        self.c.last_poll = 0
        self.c.done = self.c.stopped = 0
        self.c.poll = _poll
        self.c.report = NULL
        if report is not None:
            self.c.report = _report


cdef int _poll(void *context) noexcept with gil:
    monitor = <_Monitor>context
    try:
        PyErr_CheckSignals()
        if monitor.progress is not None:
            monitor.progress(monitor.c.done)
    except BaseException as error:
        monitor.error = error
        return 1
    return 0


cdef int _report(void *context, int64_t init, int64_t iteration, double bound,
                 double change) noexcept with gil:
    try:
        (<_Monitor>context).report(init, iteration, bound, change)
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


cdef bint _is_doubles(array, tuple shape) except -1:
    """Whether it is a plain array, contiguous, float64 and of that shape: asking its buffer takes
    a tenth of the time that NumPy's functions take."""
    cdef Py_buffer view
    cdef int i
    if type(array) is not _ndarray:
        return False
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    cdef bint fits = (strcmp(view.format, b"d") == 0 and view.ndim == len(shape)
                      and PyBuffer_IsContiguous(&view, b"C"))
    if fits:
        for i in range(view.ndim):
            fits = fits and view.shape[i] == <Py_ssize_t>shape[i]
    PyBuffer_Release(&view)
    return fits


cdef _doubles(array, tuple shape):
    """The array as contiguous float64 of that shape."""
    if _is_doubles(array, shape):
        return array
    array = np.ascontiguousarray(array, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"expected an array of shape {shape}, found {array.shape}")
    return array


def covariance_shape(covariance_type, n_components, n_features):
    """The shape of covariances, precisions and their factors."""
    return _covariance_shape(covariance_type, n_components, n_features)


cdef tuple _covariance_shape(covariance_type, n_components, n_features):
    if covariance_type == "full":
        return (n_components, n_features, n_features)
    if covariance_type == "tied":
        return (n_features, n_features)
    return (n_components, n_features) if covariance_type == "diag" else (n_components,)


cdef fg_shape _shape(covariance_type, int64_t n_components, int64_t n_features):
    cdef fg_shape shape
    shape.n_components = n_components
    shape.n_features = n_features
    shape.layout = _COVARIANCE_TYPES[covariance_type]
    return shape


cdef int _point_at(fg_data *data, x) except -1:
    """Let data point at the rows of x; the caller keeps the array."""
    cdef Py_buffer view
    PyObject_GetBuffer(x, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    # where the bytes are swapped or not aligned, NumPy's formats are longer
    if view.ndim != 2 or strcmp(view.format, b"d") != 0 and strcmp(view.format, b"f") != 0:
        PyBuffer_Release(&view)
        raise TypeError("the core takes aligned two-dimensional float32 or float64 arrays")
    data.x = view.buf
    data.real_type = FG_FLOAT64 if view.itemsize == 8 else FG_FLOAT32
    data.n_rows = view.shape[0]
    # a single row or column may carry any stride
    data.row_stride = view.strides[0] // view.itemsize if view.shape[0] > 1 else 0
    data.feature_stride = view.strides[1] // view.itemsize if view.shape[1] > 1 else 0
    PyBuffer_Release(&view)
    data.sample_weight = NULL
    return 0


cdef class _Data:
    """Rows of samples, in place; holds what it points into."""

    cdef fg_data c
    cdef object x, weight

    def __cinit__(self, x, sample_weight):
        self.x = x
        _point_at(&self.c, x)
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
    k, d = means.shape if type(means) is _ndarray else np.shape(means)
    shape = _covariance_shape(covariance_type, k, d)
    p._point(_doubles(weights, (k,)), _doubles(means, (k, d)),
             None if covariances is None else _doubles(covariances, shape),
             _doubles(precisions_cholesky, shape))
    return p


cdef _Parameters _fresh(covariance_type, k, d):
    """To write into."""
    cdef _Parameters p = _Parameters()
    shape = _covariance_shape(covariance_type, k, d)
    p._point(_empty(k), _empty((k, d)), _empty(shape), _empty(shape))
    return p


cdef double *_maybe(array) except? NULL:
    """Where a contiguous float64 array begins; NULL for None."""
    return NULL if array is None else <double *>_address(array)


cdef fg_parameters _starting(tuple given) except *:
    """Starting values as the core takes them: None where it shall find its own."""
    cdef fg_parameters p
    weights, means, covariances, precisions_cholesky = given
    p.weights, p.means = _maybe(weights), _maybe(means)
    p.covariances, p.precisions_cholesky = _maybe(covariances), _maybe(precisions_cholesky)
    return p


cdef fg_fit_options _fit_options(init_params, n_init, tol, reg_covar, max_iter,
                                 repair) except *:
    cdef fg_fit_options options
    options.repair = repair
    options.start = _STARTS[init_params]
    options.n_init, options.max_iter = n_init, max_iter
    options.tol, options.reg_covar = tol, reg_covar
    return options


# ---- the calls ----

def n_tasks(covariance_type, n_samples, n_components, n_features):
    """Into how many tasks a pass is cut: more threads find no work."""
    cdef fg_shape shape = _shape(covariance_type, n_components, n_features)
    return fg_task_count(&shape, n_samples)


def fit(X, sample_weight, covariance_type, n_components, init_params, n_init, seed, given, tol,
        reg_covar, max_iter, lower_bound, n_threads, report, repair):
    """The best of n_init starts: (weights, means, covariances, precisions_cholesky), its lower
    bounds, converged; and what was repaired: (iteration, component, row) each, row -1 where a
    covariance was floored, component -1 for the tied one.

    given: four contiguous float64 arrays, or None where the start decides; lower_bound: what they
    reached before, or -inf. report, where given, is called with (init, iteration, lower bound,
    change) after each iteration, and with iteration 0 when a start begins."""
    cdef int64_t k = n_components, d = X.shape[1]
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Data data = _Data(X, sample_weight)
    cdef _Parameters out = _fresh(covariance_type, k, d)
    cdef _Monitor monitor = _Monitor(report)
    cdef fg_fit_options options = _fit_options(init_params, n_init, tol, reg_covar, max_iter,
                                               repair)
    cdef fg_parameters c_given = _starting(given)
    cdef fg_fit_result result
    cdef fg_history history
    cdef fg_repair *repairs
    cdef uint64_t c_seed = seed
    cdef int threads = n_threads
    cdef fg_call call
    cdef fg_status status
    result.lower_bound, result.component = lower_bound, -1
    memset(&history, 0, sizeof(history))
    with nogil:
        fg_call_begin(threads, &call)
        status = fg_fit(&shape, &data.c, &options, &c_given, c_seed, call.n_threads, &monitor.c,
                        &out.c, &history, &result)
        fg_call_end(&call)
    repairs = history.repairs
    try:
        if status != FG_OK:
            _raise(status, result.component, monitor, X)
        return (
            out.arrays,
            [history.lower_bounds[i] for i in range(history.n_bounds)],
            bool(result.converged),
            [(repairs[i].iteration, repairs[i].component, repairs[i].row)
             for i in range(history.n_repairs)],
        )
    finally:
        fg_history_free(&history)


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
    cdef fg_call call
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
        fg_call_begin(threads, &call)
        status = fg_accumulate(&shape, &data.c, &p.c, call.n_threads, &monitor.c, &s)
        fg_call_end(&call)
    if status != FG_OK:
        _raise(status, -1, monitor, X)
    if covariance_type in ("full", "tied"):
        rows, columns = np.tril_indices(d)
        packed = moments.reshape(-1, d * (d + 1) // 2)
        moments = np.empty((len(packed), d, d))
        moments[:, rows, columns] = packed
        moments[:, columns, rows] = packed
    return {"nk": nk, "shift": shift, "sx": sx,
            "sxx": moments.reshape(_covariance_shape(covariance_type, k, d)),
            "log_likelihood": s.log_likelihood, "weight_sum": s.weight_sum,
            "n_samples": s.n_rows}


def maximize(covariance_type, nk, shift, sx, sxx, weight_sum, reg_covar, n_samples):
    """The M step: weights, means, covariances, precisions_cholesky."""
    k, d = np.shape(sx)
    nk, shift, sx = _doubles(nk, (k,)), _doubles(shift, (k, d)), _doubles(sx, (k, d))
    moments = _doubles(sxx, _covariance_shape(covariance_type, k, d))
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
    cdef _Monitor monitor = _Monitor()
    cdef double regular = reg_covar
    cdef fg_call call
    cdef int64_t component = -1
    cdef fg_status status
    with nogil:
        fg_call_begin(1, &call)
        status = fg_maximize(&shape, &s, regular, &monitor.c, &out.c, &component)
        fg_call_end(&call)
    if status != FG_OK:
        _raise(status, component, monitor, None)
    return out.arrays


def precision_cholesky(covariance_type, covariances):
    """Upper U with precision = U U^T; covariances in the shape of their type."""
    given = np.ascontiguousarray(covariances, dtype=np.float64)
    k = 1 if covariance_type == "tied" else given.shape[0]
    d = 1 if covariance_type == "spherical" else given.shape[given.ndim - 1]
    given = _doubles(given, _covariance_shape(covariance_type, k, d))
    out = np.empty(given.shape)
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Monitor monitor = _Monitor()
    cdef const double *c_given = <const double *>_address(given)
    cdef double *c_out = <double *>_address(out)
    cdef fg_call call
    cdef int64_t component = -1
    cdef fg_status status
    with nogil:
        fg_call_begin(1, &call)
        status = fg_precision_cholesky(&shape, c_given, &monitor.c, c_out, &component)
        fg_call_end(&call)
    if status != FG_OK:
        _raise(status, component, monitor, None)
    return out


def score(X, covariance_type, weights, means, precisions_cholesky, n_threads, want):
    """labels (N,) int64, responsibilities (N, K) or log_likelihood (N,) in X's dtype."""
    cdef _Parameters p = _given(covariance_type, weights, means, precisions_cholesky)
    k, d = p.arrays[1].shape
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Data data = _Data(X, None)
    cdef _Monitor monitor = _Monitor()
    n_rows = data.c.n_rows
    out = _empty((n_rows, k) if want == "responsibilities" else n_rows,
                 np.int64 if want == "labels" else X.dtype)
    cdef void *c_out = _address(out)
    cdef fg_output c_want = _WANTS[want]
    cdef int threads = n_threads
    cdef fg_call call
    cdef fg_status status
    with nogil:
        fg_call_begin(threads, &call)
        status = fg_score(&shape, &data.c, &p.c, c_want, call.n_threads, &monitor.c, c_out)
        fg_call_end(&call)
    if status != FG_OK:
        _raise(status, -1, monitor, X)
    return out


# ---- batch ----

cdef class Problems:
    """The rows of many problems, in place, cut by offsets (P + 1): a 2-D array, a 3-D array of
    problems of equal size, or a list of 2-D arrays. All of one dtype; holds what it points into.
    sample_weight: None, or contiguous float64: (N,), or a list alike."""

    cdef fg_problems c
    cdef fg_data *own
    cdef readonly object rows, sample_weight, offsets, order, dtype

    def __cinit__(self, rows, offsets, sample_weight, dtype, n_features):
        cdef int64_t i
        self.rows, self.sample_weight, self.dtype = rows, sample_weight, dtype
        self.offsets = np.ascontiguousarray(offsets, dtype=np.int64)
        # the largest first, so that none is left to run alone at the end
        self.order = np.argsort(-np.diff(self.offsets), kind="stable").astype(np.int64, copy=False)
        self.c.n_problems, self.c.n_features = len(self.offsets) - 1, n_features
        self.c.offsets = <const int64_t *>_address(self.offsets)
        self.c.gap = 0
        self.c.each = NULL
        if isinstance(rows, list):
            self.own = <fg_data *>malloc(max(1, len(rows)) * sizeof(fg_data))
            if self.own == NULL:
                raise MemoryError("fusedgmm could not allocate its working memory")
            for i in range(len(rows)):
                _point_at(&self.own[i], rows[i])
                if sample_weight is not None:
                    self.own[i].sample_weight = <const double *>_maybe(sample_weight[i])
            self.c.each = self.own
            return
        if rows.ndim == 3 and len(rows) > 0:
            _point_at(&self.c.rows, rows[0])
            self.c.gap = (rows.strides[0] // rows.itemsize
                          - rows.shape[1] * self.c.rows.row_stride)
        elif rows.ndim == 2:
            _point_at(&self.c.rows, rows)
        self.c.rows.sample_weight = _maybe(sample_weight)

    def __dealloc__(self):
        free(self.own)

    def __len__(self):
        return self.c.n_problems


def start_seed(seed, init):
    """The seed of a fit's start number init."""
    return fg_random(seed, init)


def seeds(seed, n):
    """A seed for each of n problems, uint32."""
    cdef uint64_t c_seed = seed
    cdef int64_t i, count = n
    out = np.empty(n, np.uint32)
    cdef uint32_t *c_out = <uint32_t *>_address(out)
    for i in range(count):
        c_out[i] = <uint32_t>(fg_random(c_seed, i) >> 32)
    return out


def fit_batch(Problems problems, covariance_type, candidates, by_aic, init_params, n_init, given,
              given_each, tol, reg_covar, max_iter, repair, n_threads, progress, result):
    """Fit every problem with each number of components, from its result["seeds"]; the results are
    written into result, whose arrays are named as the fields of fg_batch_result. Returns the
    exception that stopped it, or None.

    given as in fit; given_each: which of (weights, means, precisions) have a row per problem."""
    cdef fg_batch_options options
    cdef fg_batch_result out
    cdef _Monitor monitor = _Monitor(progress=progress)
    cdef int threads = n_threads
    cdef fg_call call
    cdef fg_status status
    candidates = np.ascontiguousarray(candidates, dtype=np.int64)
    options.layout = _COVARIANCE_TYPES[covariance_type]
    options.fit = _fit_options(init_params, n_init, tol, reg_covar, max_iter, repair)
    options.candidates = <const int64_t *>_address(candidates)
    options.n_candidates, options.by_aic = len(candidates), by_aic
    options.given = _starting(given)
    options.weights_each, options.means_each, options.precisions_each = given_each
    options.seeds = <const uint32_t *>_address(result["seeds"])
    options.order = <const int64_t *>_address(problems.order)
    out.parameters = _starting((result["weights"], result["means"], result["covariances"],
                                result["precisions_cholesky"]))
    out.lower_bound, out.criteria = _maybe(result["lower_bound"]), _maybe(result["criteria"])
    out.bic, out.aic = _maybe(result["bic"]), _maybe(result["aic"])
    out.n_iter = <int64_t *>_address(result["n_iter"])
    out.n_components = <int64_t *>_address(result["n_components"])
    out.status = <int8_t *>_address(result["status"])
    out.converged = <uint8_t *>_address(result["converged"])
    with nogil:
        fg_call_begin(threads, &call)
        status = fg_fit_batch(&problems.c, &options, call.n_threads, &monitor.c, &out)
        fg_call_end(&call)
    if status == FG_OK:  # the last report, and the interrupt that came too late to stop anything
        _poll(<void *>monitor)
    return monitor.error


def score_batch(Problems problems, covariance_type, n_components, weights, means,
                precisions_cholesky, n_threads, want):
    """What score gives for every problem's rows by its own mixture, one problem after the other;
    -1 or NaN where a problem has none (n_components 0). Also the first problem whose rows are not
    finite, or None."""
    cdef _Monitor monitor = _Monitor()
    cdef fg_parameters parameters = _starting((weights, means, None, precisions_cholesky))
    cdef int64_t most = weights.shape[1], bad = 0
    cdef fg_layout layout = _COVARIANCE_TYPES[covariance_type]
    cdef fg_output c_want = _WANTS[want]
    cdef int threads = n_threads
    cdef fg_call call
    cdef fg_status status
    n_rows = problems.offsets[-1] - problems.offsets[0]
    out = np.empty((n_rows, most) if want == "responsibilities" else n_rows,
                   np.int64 if want == "labels" else problems.dtype)
    cdef void *c_out = _address(out)
    cdef const int64_t *k = <const int64_t *>_address(n_components)
    cdef const int64_t *order = <const int64_t *>_address(problems.order)
    with nogil:
        fg_call_begin(threads, &call)
        status = fg_score_batch(&problems.c, order, layout, most, k, &parameters, c_want,
                                call.n_threads, &monitor.c, c_out, &bad)
        fg_call_end(&call)
    if status not in (FG_OK, FG_NOT_FINITE):
        _raise(status, -1, monitor, None)
    return out, None if status == FG_OK else bad


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
