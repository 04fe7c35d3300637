# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, autotestdict=False
"""The interface to the C core: check shapes, release the GIL, call, turn statuses into exceptions.

Input: X is a 2-D array, aligned, in native byte order, float32 or float64, with any strides;
sample_weight is None or contiguous float64 (N,); parameters are array-like. Output arrays are new,
and float64 unless stated otherwise. All arguments but the first are passed by keyword."""

import gc
import os
import sys

import numpy as np

from core cimport *
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_IsContiguous, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef object _ndarray = np.ndarray, _empty = np.empty
cdef object _FLOAT32 = np.dtype(np.float32), _FLOAT64 = np.dtype(np.float64)

_COVARIANCE_TYPES = {"full": FG_FULL, "tied": FG_TIED, "diag": FG_DIAG, "spherical": FG_SPHERICAL}
_STARTS = {"kmeans": FG_START_KMEANS, "k-means++": FG_START_KMEANS_PP, "random": FG_START_RANDOM,
          "random_from_data": FG_START_DATA}
_STOPPING = {"change": FG_STOP_CHANGE, "aitken": FG_STOP_AITKEN}
_OUTPUTS = {"labels": FG_OUTPUT_LABELS, "responsibilities": FG_OUTPUT_RESPONSIBILITIES,
            "log_likelihood": FG_OUTPUT_LOG_LIKELIHOOD}


_NO_MEMORY = "fusedgmm could not allocate its working memory"


MOST_PARTS = FG_MOST_PARTS  # chunks of a stream that are held at a time


# ---- the build and the machine ----

def _usable():
    names, i = [], 0
    while fg_isa_usable(i) != NULL:
        names.append(fg_isa_usable(i).decode())
        i += 1
    return names


_wanted = os.environ.get("FUSEDGMM_ISA", "")
if fg_isa_choose(os.fsencode(_wanted)) != 0:
    raise ImportError(
        f"FUSEDGMM_ISA={_wanted!r} is not supported here; choose one of: {', '.join(_usable())}"
    )
fg_parallel_install()

# Cython also registers the module under its bare name, which may be that of a user's module.
if sys.modules.get("_core") is sys.modules.get(__name__):
    del sys.modules["_core"]


__version__ = FG_VERSION.decode()


def omp_max_threads():
    """The calling thread's OpenMP limit, or the largest int without OpenMP."""
    return fg_openmp_max_threads()


def helpers():
    """The number of offers of work that each helper thread of the core has taken so far."""
    return [fg_team_taken(i) for i in range(fg_team_size())]


def config():
    """The build of the core and the instruction set in use."""
    return {
        "instruction_set": fg_isa_name().decode(),
        "usable_instruction_sets": _usable(),
        "openmp": fg_openmp_version() or None,
        "build": fg_build().decode(),
    }


# ---- one call ----

class NotFiniteError(ValueError):
    """The log-likelihood is not finite: rows have NaN or infinity, or are too far from every
    component."""

    __module__ = __name__  # so that another process can unpickle it


cdef class _Call:
    """One call of the core: begin it with the GIL released, end it with its status.

    In between, the core polls this object on the calling thread for the user's interrupts. report,
    if given, is called as fg_monitor describes; progress is called with the number of finished
    problems."""

    cdef fg_context context  # passed to the core; completed by begin
    cdef fg_call shared
    cdef fg_monitor monitor
    cdef fg_rows rows
    cdef _Data data  # or None
    cdef Stream stream  # or None
    cdef object others  # other objects that a late helper may still read
    cdef int n_threads
    cdef object report, watch, progress
    cdef object covariance_type  # of a fit with watch
    cdef fg_shape shape
    cdef object error

    def __cinit__(self):
        self.monitor.context = <void *>self
        self.monitor.last_poll = 0
        self.monitor.done = self.monitor.stopped = self.monitor.finish = 0
        self.monitor.state = NULL
        self.monitor.poll = _poll
        self.monitor.report = NULL
        self.context.rows = NULL
        self.context.monitor = &self.monitor
        self.context.singular_component = -1

    cdef void begin(self) noexcept nogil:
        fg_call_begin(self.n_threads, &self.shared)
        self.context.n_threads = self.shared.n_threads
        self.context.lease = self.shared.lease
        if self.context.rows != NULL:
            if self.rows.stream != NULL:
                fg_rows_open_stream(self.rows.data, self.rows.stream, &self.rows)
            else:
                fg_rows_open(self.rows.data, &self.rows)

    cdef fg_status leave(self, fg_status status) noexcept nogil:
        """End the call and return the status, without raising."""
        cdef fg_lease *lease = fg_call_end(&self.shared)
        if lease != NULL:
            with gil:
                self.stay(lease)
        return status

    cdef void stay(self, fg_lease *lease) noexcept:
        """Keep this call and all that it refers to: a descheduled helper may still read them."""
        Py_INCREF(self)  # released by _let_go; never, if there is no memory to store it
        fg_lease_keep(lease, <void *>self)
        if _on_collection not in gc.callbacks:
            gc.callbacks.append(_on_collection)

    cdef int end(self, fg_status status) except -1 nogil:
        """End the call, and raise an exception unless the status is FG_OK."""
        if self.leave(status) != FG_OK:
            with gil:
                self.fail(status)
        return 0

    def parameters(self):
        """During a report of a fit: copies of its parameters, as a dict."""
        return _parameters_dict(self.monitor.state.parameters, self.covariance_type, &self.shape)

    def state(self):
        """During a report of a fit: all that it needs to go on later, as a dict of arrays."""
        cdef const fg_fit_state *s = self.monitor.state
        k, d = self.shape.n_components, self.shape.n_features
        moments = _moment_shape(self.covariance_type, k, d)
        has_scatter = s.has_scatter[0] != 0
        reseedings = np.zeros(k, np.int64)
        if s.reseedings != NULL:
            for i in range(k):
                reseedings[i] = s.reseedings[i]
        state = {
            "counts": np.array([s.init, has_scatter, <int>s.scatter_type[0], s.n_kept, s.n_failed,
                                s.first_singular], np.int64),
            # without a scatter the next pass takes new sums
            "shift": _copy(s.shift, (k, d)) if has_scatter else np.zeros((k, d)),
            "sxx": _copy(s.sxx, moments) if has_scatter else np.zeros(moments),
            "reseedings": reseedings,
            "accelerator": _copy(s.accelerator, (
                0 if s.accelerator == NULL else fg_accelerator_count(&self.shape),)),
        } | self.parameters() | _result_dict(s.result)
        if s.n_kept:
            best = _parameters_dict(s.best, self.covariance_type, &self.shape)
            best |= _result_dict(s.best_result)
            state |= {f"best_{name}": array for name, array in best.items()}
        return state

    cdef fail(self, fg_status status):
        cdef int64_t component = self.context.singular_component
        if status == FG_INTERRUPTED:
            raise self.error if self.error is not None else self.stream.error
        if status == FG_NO_MEMORY:
            raise MemoryError(_NO_MEMORY)
        if status == FG_SINGULAR:
            where = f"component {component}" if component >= 0 else "the tied covariance"
            raise ValueError(
                "Fitting the mixture model failed because some components have ill-defined "
                "empirical covariance (for instance caused by singleton or collapsed samples). "
                "Try to decrease the number of components, increase reg_covar, or scale the input "
                f"data. (Found at: {where}.)"
            )
        raise NotFiniteError(
            "the log-likelihood is not finite: some rows are too far from every component; "
            "scale the input data or give better starting values"
        )


cdef _let_go():
    """Release the earlier calls whose helpers have all returned."""
    cdef void *call = fg_lease_let_go()
    while call != NULL:
        Py_DECREF(<object>call)
        call = fg_lease_let_go()


def _on_collection(phase, info):
    """Python's garbage collector calls this once there has been a call with a late helper."""
    _let_go()


cdef _Call _call(int n_threads, _Data data=None, report=None, progress=None):
    """Create a call. Like the other classes here it is created by __new__: passing arguments to a
    constructor would take a tenth of the time that it takes to score one row."""
    _let_go()
    cdef _Call call = _Call.__new__(_Call)
    call.n_threads, call.report, call.progress = n_threads, report, progress
    if data is not None:
        call.data, call.rows.data, call.context.rows = data, &data.c, &call.rows
        call.rows.stream = NULL
    if report is not None:
        call.monitor.report = _report
    return call


cdef _Call _call_on(int n_threads, X, sample_weight=None, report=None):
    """Create a call on rows: those of an array, or of a stream, which has its own weights."""
    cdef _Call call
    cdef Stream stream
    if not isinstance(X, Stream):
        return _call(n_threads, _data(X, sample_weight), report)
    stream = X
    call = _call(n_threads, None, report)
    call.stream, call.rows.data, call.context.rows = stream, &stream.all, &call.rows
    call.rows.stream = &stream.c
    stream.begin()
    return call


cdef int _poll(void *context) noexcept with gil:
    call = <_Call>context
    try:
        PyErr_CheckSignals()
        if call.progress is not None:
            call.progress(call.monitor.done)
    except BaseException as error:
        call.error = error
        return 1
    return 0


cdef int _report(void *context, int64_t init, int64_t iteration, double bound,
                 double change) noexcept with gil:
    call = <_Call>context
    try:
        if call.report is not None:
            call.report(init, iteration, bound, change)
        if call.watch is not None:
            call.monitor.finish = bool(call.watch(init, iteration, bound, change, call))
    except BaseException as error:
        call.error = error
        return 1
    return 0


# ---- arrays ----

cdef char _real_format(const Py_buffer *view) noexcept:
    """The format character of a buffer if it has one character in this machine's byte order,
    however that is spelled; 0 otherwise."""
    cdef uint16_t one = 1
    cdef const char *format = view.format
    cdef char native = c"<" if (<uint8_t *>&one)[0] == 1 else c">"
    if format[0] == c"@" or format[0] == c"=" or format[0] == native:
        format += 1
    return 0 if format[0] == 0 or format[1] != 0 else format[0]


cdef bint _is_double(const Py_buffer *view) noexcept:
    """True for double, and for a long double of 8 bytes, as with Microsoft's compilers."""
    cdef char real = _real_format(view)
    return view.itemsize == 8 and (real == c"d" or real == c"g")


cdef bint _is_float(const Py_buffer *view) noexcept:
    return view.itemsize == 4 and _real_format(view) == c"f"


cdef void *_address(array) except NULL:
    """The address of a contiguous array; the caller keeps the array alive."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return view.buf


cdef double *_doubles_in(array, tuple shape) except? NULL:
    """The address of a plain, contiguous float64 array of that shape, or NULL for any other array.
    Using its buffer takes a tenth of the time of NumPy's functions."""
    cdef Py_buffer view
    cdef int i
    cdef double *begin
    if type(array) is not _ndarray:
        return NULL
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    cdef bint fits = (_is_double(&view) and <size_t>view.buf % sizeof(double) == 0
                      and view.ndim == len(shape) and PyBuffer_IsContiguous(&view, b"C"))
    if fits:
        for i in range(view.ndim):
            fits = fits and view.shape[i] == <Py_ssize_t>shape[i]
    begin = <double *>view.buf if fits else NULL
    PyBuffer_Release(&view)
    return begin


cdef _doubles(array, tuple shape, double **out_begin, name="an array"):
    """Return the array as contiguous float64 of that shape, and its address. name: for the error
    message."""
    out_begin[0] = _doubles_in(array, shape)
    if out_begin[0] != NULL:
        return array
    array = np.require(array, np.float64, "CA")
    if array.shape != shape:
        raise ValueError(f"expected {name} of shape {shape}, found {array.shape}")
    out_begin[0] = <double *>_address(array)
    return array


def covariance_shape(covariance_type, n_components, n_features):
    """The shape of covariances, precisions and their factors."""
    return _covariance_shape(covariance_type, n_components, n_features)


def moment_shape(covariance_type, n_components, n_features):
    """The shape of second moments: that of the covariances, but matrices are stored as their lower
    triangle, row by row."""
    return _moment_shape(covariance_type, n_components, n_features)


cdef tuple _covariance_shape(covariance_type, n_components, n_features):
    if covariance_type == "full":
        return (n_components, n_features, n_features)
    if covariance_type == "tied":
        return (n_features, n_features)
    return (n_components, n_features) if covariance_type == "diag" else (n_components,)


cdef tuple _moment_shape(covariance_type, n_components, n_features):
    cdef tuple shape = _covariance_shape(covariance_type, n_components, n_features)
    if covariance_type == "full" or covariance_type == "tied":
        return (*shape[:len(shape) - 2], n_features * (n_features + 1) // 2)
    return shape


cdef fg_shape _shape(covariance_type, int64_t n_components, int64_t n_features):
    cdef fg_shape shape
    shape.n_components = n_components
    shape.n_features = n_features
    shape.layout = _COVARIANCE_TYPES[covariance_type]
    return shape


cdef int _point_at(fg_data *data, x) except -1:
    """Let data point to the rows of x; the caller keeps the array alive."""
    cdef Py_buffer view
    PyObject_GetBuffer(x, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    cdef Py_ssize_t size = view.itemsize, row_stride = 0, feature_stride = 0
    cdef bint real = view.ndim == 2 and (_is_double(&view) or _is_float(&view))
    if real:
        # a single row or column may have any stride
        row_stride = view.strides[0] if view.shape[0] > 1 else 0
        feature_stride = view.strides[1] if view.shape[1] > 1 else 0
    if not real or <Py_ssize_t>view.buf % size or row_stride % size or feature_stride % size:
        PyBuffer_Release(&view)
        raise TypeError("the core takes aligned two-dimensional float32 or float64 arrays")
    data.x = view.buf
    data.real_type = FG_FLOAT64 if size == 8 else FG_FLOAT32
    data.n_rows = view.shape[0]
    data.row_stride, data.feature_stride = row_stride // size, feature_stride // size
    PyBuffer_Release(&view)
    data.sample_weight = NULL
    return 0


cdef class _Data:
    """Rows of samples, used in place; keeps the arrays that it points into alive."""

    cdef fg_data c
    cdef object x, weight
    # as a part of a stream:
    cdef int64_t begin  # the number of the first row
    cdef int64_t room  # rows for which there is memory, if rows are added; otherwise 0
    cdef bint is_copy


cdef _Data _data(x, sample_weight):
    cdef _Data data = _Data.__new__(_Data)
    data.x = x
    _point_at(&data.c, x)
    if sample_weight is not None:
        data.weight = _doubles(sample_weight, (data.c.n_rows,), <double **>&data.c.sample_weight)
    return data


cdef class Stream:
    """Rows that come in chunks, read anew in every pass. open_pass returns an iterator of (X,
    sample_weight), as for the other functions, with the same dtype and number of columns in every
    chunk; its errors are raised by the call that reads. A stream has the shape and dtype of its rows.

    is_stable: the arrays keep their values while the iterator goes on. Otherwise rows that are needed
    after the next chunk has been read are copied. most_bytes: an iterator is not asked for more rows
    ahead than that, if there are enough for one task. One call at a time may use a stream."""

    cdef fg_stream c
    cdef fg_data all
    cdef object open_pass, iterator, error, kept
    cdef list parts  # of _Data; each has begin
    cdef bint is_stable
    cdef int64_t most_bytes, n_features
    cdef readonly object dtype
    cdef readonly int64_t n_passes  # begun so far

    def __cinit__(self, open_pass, *, n_rows, n_features, dtype, is_stable, most_bytes,
                  largest_weight=None):
        self.open_pass, self.is_stable, self.most_bytes = open_pass, is_stable, most_bytes
        self.dtype, self.n_features, self.parts = np.dtype(dtype), n_features, []
        self.all.x, self.all.sample_weight, self.all.n_rows = NULL, NULL, n_rows
        self.all.row_stride = self.all.feature_stride = 0
        self.all.real_type = FG_FLOAT32 if self.dtype == np.float32 else FG_FLOAT64
        self.c.fetch, self.c.context = _fetch, <void *>self
        self.c.n_parts = self.c.begin = self.c.end = 0
        self.c.is_late = 0
        self.c.is_weighted = largest_weight is not None
        self.c.largest_weight = largest_weight or 0

    def __len__(self):
        return self.all.n_rows

    @property
    def shape(self):
        return self.all.n_rows, self.n_features

    cdef void begin(self):
        """Begin a call: keep nothing for the helpers of earlier ones, which keep it themselves."""
        self.error, self.kept = None, []
        self.c.is_late = 0

    cdef rewind(self):
        self.parts, self.c.begin, self.c.end = [], 0, 0
        self.iterator = None  # closes a generator before the next begins
        self.iterator = self.open_pass()
        self.n_passes += 1

    cdef fetch(self, int64_t row, int64_t need, int64_t wanted, bint is_late):
        """Have the rows at hand; see fg_stream."""
        cdef int64_t ahead, row_bytes = self.n_features * self.dtype.itemsize
        cdef _Data data
        if is_late:
            self.kept.append(self.parts[:])
        if self.iterator is None or row < self.c.begin:
            self.rewind()
        while True:
            self.drop(row)
            ahead = self.c.end - row
            if ahead >= wanted or ahead >= need and (
                    ahead * row_bytes >= self.most_bytes or len(self.parts) == FG_MOST_PARTS):
                break
            if len(self.parts) == FG_MOST_PARTS:
                self.gather(row)
            elif not self.is_stable and self.parts:
                self.protect(row)
            item = next(self.iterator, None)
            if item is None:
                raise RuntimeError("the stream ended before its last row")
            self.append(item[0], item[1])
            if self.c.end == self.all.n_rows:
                if not self.is_stable:
                    self.protect(row)
                next(self.iterator, None)  # the source may find that it has more rows
        self.c.n_parts = len(self.parts)
        for i in range(self.c.n_parts):
            data = self.parts[i]
            self.c.parts[i].data, self.c.parts[i].begin = data.c, data.begin

    cdef drop(self, int64_t row):
        """Let go of the parts before the row."""
        cdef _Data data
        cdef int n = 0
        for data in self.parts:
            if data.begin + data.c.n_rows > row:
                break
            n += 1
        if n:
            self.parts = self.parts[n:]
        self.c.begin = (<_Data>self.parts[0]).begin if self.parts else self.c.end

    cdef append(self, X, weight):
        """Add a chunk. Short chunks are copied together, for their own sake and for their number."""
        cdef _Data data, last
        cdef int64_t n = X.shape[0], at
        cdef int64_t SHORT = 1024, ROOM = 8192
        if n == 0:
            return
        if n >= SHORT:
            data = _data(X, weight)
        else:
            last = self.parts[len(self.parts) - 1] if self.parts else None
            if last is None or last.c.n_rows + n > last.room:
                last = _room(ROOM, self.n_features, self.dtype, self.c.is_weighted)
                last.begin = self.c.end
                self.parts.append(last)
            at = last.c.n_rows
            last.x[at:at + n] = X
            if self.c.is_weighted:
                last.weight[at:at + n] = weight
            last.c.n_rows += n
            self.c.end += n
            return
        data.begin = self.c.end
        self.parts.append(data)
        self.c.end += n

    cdef protect(self, int64_t row):
        """Copy the rows of the last part that are still needed, before the next chunk is read."""
        cdef _Data data = self.parts[len(self.parts) - 1], copy
        cdef int64_t first = max(row - data.begin, 0)
        if data.room or data.is_copy:
            return
        weight = None if data.weight is None else data.weight[first:].copy()
        copy = _data(data.x[first:].copy(), weight)
        copy.begin, copy.is_copy = data.begin + first, True
        self.parts[len(self.parts) - 1] = copy

    cdef gather(self, int64_t row):
        """Replace the parts by a single copy of the rows that are still needed."""
        cdef _Data first = self.parts[0], copy
        cdef int64_t skip = max(row - first.begin, 0)
        pieces = [(<_Data>data).x[:(<_Data>data).c.n_rows] for data in self.parts]
        x = np.concatenate(pieces)[skip:]
        weight = None
        if self.c.is_weighted:
            pieces = [(<_Data>data).weight[:(<_Data>data).c.n_rows] for data in self.parts]
            weight = np.concatenate(pieces)[skip:]
        copy = _data(x, weight)
        copy.begin, copy.is_copy = first.begin + skip, True
        self.parts = [copy]


cdef _Data _room(int64_t n_rows, int64_t n_features, dtype, bint is_weighted):
    """Memory for rows, of which none is written yet."""
    cdef _Data data = _data(_empty((n_rows, n_features), dtype),
                            _empty(n_rows) if is_weighted else None)
    data.room, data.c.n_rows = n_rows, 0
    return data


cdef int _fetch(fg_stream *stream, int64_t row, int64_t need, int64_t wanted,
                int is_late) noexcept with gil:
    self = <Stream>stream.context
    try:
        PyErr_CheckSignals()
        self.fetch(row, need, wanted, is_late)
    except BaseException as error:
        self.error, self.iterator = error, None
        return 1
    return 0


cdef class _Parameters:
    """Parameters of a mixture; keeps the arrays that it points into alive."""

    cdef fg_parameters c
    cdef tuple arrays  # weights, means, covariances, precisions_cholesky


cdef _Parameters _given(covariance_type, weights, means, precisions_cholesky, covariances=None):
    """Read-only parameters; arrays that are contiguous float64 are not copied."""
    cdef _Parameters p = _Parameters.__new__(_Parameters)
    k, d = means.shape if type(means) is _ndarray else np.shape(means)
    shape = _covariance_shape(covariance_type, k, d)
    p.arrays = (
        _doubles(weights, (k,), &p.c.weights, "weights"),
        _doubles(means, (k, d), &p.c.means, "means"),
        None if covariances is None
        else _doubles(covariances, shape, &p.c.covariances, "covariances"),
        _doubles(precisions_cholesky, shape, &p.c.precisions_cholesky, "precisions_cholesky"),
    )
    return p


cdef _Parameters _fresh(covariance_type, k, d):
    """New parameters, to be written."""
    cdef _Parameters p = _Parameters.__new__(_Parameters)
    shape = _covariance_shape(covariance_type, k, d)
    p.arrays = (_empty(k), _empty((k, d)), _empty(shape), _empty(shape))
    p.c = _starting(p.arrays)
    return p


cdef double *_maybe(array) except? NULL:
    """The address of a contiguous float64 array; NULL for None."""
    return NULL if array is None else <double *>_address(array)


cdef fg_parameters _starting(tuple given) except *:
    """Convert starting values for the core; for None it chooses its own."""
    cdef fg_parameters p
    weights, means, covariances, precisions_cholesky = given
    p.weights, p.means = _maybe(weights), _maybe(means)
    p.covariances, p.precisions_cholesky = _maybe(covariances), _maybe(precisions_cholesky)
    return p


cdef fg_fit_options _fit_options(init_params, n_init, tol, reg_covar, max_iter, repair, accelerate,
                                 stopping) except *:
    cdef fg_fit_options options
    options.repair, options.accelerate = repair, accelerate
    options.stopping = _STOPPING[stopping]
    options.records, options.resume = NULL, NULL
    options.start = _STARTS[init_params]
    options.n_init, options.max_iter = n_init, max_iter
    options.tol, options.m_step.reg_covar = tol, reg_covar
    return options


# ---- the calls ----

def n_tasks(*, covariance_type, n_samples, n_components, n_features):
    """The number of tasks of a pass, which is the largest useful number of threads."""
    cdef fg_shape shape = _shape(covariance_type, n_components, n_features)
    return fg_task_count(&shape, n_samples)


def worth_threads(*, covariance_type, n_samples, n_components, n_features, n_passes=1):
    """The number of threads worth using for one pass over so many rows, or for several in a row."""
    cdef fg_shape shape = _shape(covariance_type, n_components, n_features)
    return fg_worth_threads(&shape, n_samples, n_passes)


def available_cpus():
    """The number of CPUs that the calling thread may use; 0 if the system does not say."""
    return fg_available_cpus()


def fit(X, *, covariance_type, n_components, init_params, seed, tol, reg_covar, max_iter,
        n_init=1, sample_weight=None, given=(None, None, None, None), lower_bound=-INFINITY,
        n_threads=1, report=None, repair=False, watch=None, resume=None, accelerate=False,
        stopping="change"):
    """Fit by EM and return the best of n_init starts: (weights, means, covariances,
    precisions_cholesky); its lower bounds; whether it converged; its repairs, as (iteration,
    component, row), with row -1 if a covariance was floored and component -1 for the tied
    covariance; and its number of passes, which counts rejected extrapolations, too.

    given: weights, means, covariances and precisions_cholesky to start from, as contiguous float64,
    or None if the start determines them; lower_bound: their own last lower bound. report is called
    with (init, iteration, lower bound, change) after each iteration, and with iteration 0 when a
    start begins. watch is called likewise, with a fifth argument that has a method state: all that
    the fit needs to go on later, if passed as resume with the same other arguments. If watch returns
    true, the fit ends and returns what it has."""
    cdef int64_t k = n_components, d = X.shape[1]
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Parameters out = _fresh(covariance_type, k, d)
    cdef _Call call = _call_on(n_threads, X, sample_weight, report)
    cdef _State state = None if resume is None else _state(shape, covariance_type, resume)
    cdef fg_fit_options options = _fit_options(init_params, n_init, tol, reg_covar, max_iter,
                                               repair, accelerate, stopping)
    cdef fg_parameters c_given = _starting(given)
    cdef fg_fit_result result
    cdef fg_history *history = &result.history
    cdef uint64_t c_seed = seed
    memset(&result, 0, sizeof(result))
    result.lower_bound = lower_bound
    if watch is not None:
        call.watch, call.monitor.report = watch, _report
        call.covariance_type, call.shape = covariance_type, shape
    if state is not None:
        if bool(accelerate) != (len(resume["accelerator"]) > 0):
            raise ValueError("a fit resumes only with the acceleration with which it began")
        options.resume = &state.c
    try:
        with nogil:
            call.begin()
            call.end(fg_fit(&call.context, &shape, &options, &c_given, c_seed, &out.c, &result))
        return (
            out.arrays,
            [history.lower_bounds[i] for i in range(history.n_bounds)],
            bool(result.converged),
            [(history.repairs[i].iteration, history.repairs[i].component, history.repairs[i].row)
             for i in range(history.n_repairs)],
            result.n_passes,
        )
    finally:
        fg_history_free(history)


cdef _copy(const double *begin, tuple shape):
    """A new array with a copy of the numbers."""
    out = _empty(shape)
    memcpy(_address(out), begin, out.size * sizeof(double))
    return out


cdef dict _parameters_dict(const fg_parameters *p, covariance_type, fg_shape *shape):
    k, d = shape.n_components, shape.n_features
    square = _covariance_shape(covariance_type, k, d)
    return {"weights": _copy(p.weights, (k,)), "means": _copy(p.means, (k, d)),
            "covariances": _copy(p.covariances, square),
            "precisions_cholesky": _copy(p.precisions_cholesky, square)}


cdef dict _result_dict(const fg_fit_result *r):
    cdef int64_t i
    cdef const fg_history *h = &r.history
    repairs = [(<int>h.repairs[i].kind, h.repairs[i].iteration, h.repairs[i].component,
                h.repairs[i].row) for i in range(h.n_repairs)]
    return {
        "record": np.array([r.n_iter, r.converged, r.n_passes], np.int64),
        "lower_bound": np.array(r.lower_bound),
        "change": np.array(r.change),
        "lower_bounds": np.array([h.lower_bounds[i] for i in range(h.n_bounds)], np.float64),
        "repairs": np.array(repairs, np.int64).reshape(-1, 4),
    }


cdef class _State:
    """A state from which a fit goes on; keeps the arrays that it points into alive."""

    cdef fg_fit_state c
    cdef fg_parameters parameters, best
    cdef fg_fit_result result, best_result
    cdef int has_scatter
    cdef fg_real_type scatter_type
    cdef list arrays

    def __dealloc__(self):
        free(self.result.history.repairs)
        free(self.best_result.history.repairs)

    cdef fg_parameters read_parameters(self, dict state, covariance_type, fg_shape *shape, prefix):
        k, d = shape.n_components, shape.n_features
        cdef _Parameters p = _given(covariance_type, state[prefix + "weights"],
                                    state[prefix + "means"],
                                    state[prefix + "precisions_cholesky"],
                                    state[prefix + "covariances"])
        if p.arrays[1].shape != (k, d):
            raise ValueError(f"expected means of shape {(k, d)}, found {p.arrays[1].shape}")
        self.arrays.append(p)
        return p.c

    cdef read_result(self, dict state, prefix, fg_fit_result *out):
        cdef int64_t i, n_iter, converged, n_passes
        cdef fg_history *h = &out.history
        n_iter, converged, n_passes = state[prefix + "record"]
        bounds = _doubles(state[prefix + "lower_bounds"], (n_iter,), &h.lower_bounds)
        repairs = np.asarray(state[prefix + "repairs"]).reshape(-1, 4)
        self.arrays.append(bounds)
        h.n_bounds, h.n_repairs = n_iter, len(repairs)
        h.repairs = <fg_repair *>malloc(max(1, h.n_repairs) * sizeof(fg_repair))
        if h.repairs == NULL:
            raise MemoryError(_NO_MEMORY)
        for i in range(h.n_repairs):
            h.repairs[i].kind = <fg_repair_kind><int>repairs[i, 0]
            h.repairs[i].iteration, h.repairs[i].component, h.repairs[i].row = repairs[i, 1:]
        out.lower_bound, out.change = state[prefix + "lower_bound"], state[prefix + "change"]
        out.n_iter, out.n_passes, out.converged = n_iter, n_passes, converged


cdef _State _state(fg_shape shape, covariance_type, dict state):
    cdef _State s = _State.__new__(_State)
    k, d = shape.n_components, shape.n_features
    s.arrays = []
    s.parameters = s.read_parameters(state, covariance_type, &shape, "")
    s.read_result(state, "", &s.result)
    s.c.parameters, s.c.result, s.c.has_scatter = &s.parameters, &s.result, &s.has_scatter
    s.c.init, s.has_scatter, scatter_type, s.c.n_kept, s.c.n_failed, s.c.first_singular = (
        state["counts"])
    s.scatter_type = FG_FLOAT64 if scatter_type == FG_FLOAT64 else FG_FLOAT32
    s.c.scatter_type = &s.scatter_type
    s.arrays.append(_doubles(state["shift"], (k, d), &s.c.shift))
    s.arrays.append(_doubles(state["sxx"], _moment_shape(covariance_type, k, d), &s.c.sxx))
    reseedings = np.ascontiguousarray(state["reseedings"], np.intc)
    if reseedings.shape != (k,):
        raise ValueError(f"expected reseedings of shape {(k,)}, found {reseedings.shape}")
    s.arrays.append(reseedings)
    s.c.reseedings = <int *>_address(reseedings)
    count = len(state["accelerator"]) and fg_accelerator_count(&shape)
    s.arrays.append(_doubles(state["accelerator"], (count,), &s.c.accelerator))
    if s.c.n_kept:
        s.best = s.read_parameters(state, covariance_type, &shape, "best_")
        s.read_result(state, "best_", &s.best_result)
        s.c.best, s.c.best_result = &s.best, &s.best_result
    return s


# Statistics are dicts here: nk, shift, sx, and sxx with the shape of moment_shape.

cdef class _Statistics:
    """Sums of a pass; keeps the arrays that it points into alive."""

    cdef fg_statistics c
    cdef fg_shape shape
    cdef object nk, shift, sx, sxx

    cdef dict sums(self):
        return {"nk": self.nk, "shift": self.shift, "sx": self.sx, "sxx": self.sxx}


cdef _Statistics _statistics_in(covariance_type, nk, shift, sx, sxx):
    """Sums to read; they can also be written if the arrays are plain, contiguous and float64."""
    cdef _Statistics s = _Statistics.__new__(_Statistics)
    k, d = sx.shape if type(sx) is _ndarray else np.shape(sx)
    s.shape = _shape(covariance_type, k, d)
    s.nk, s.shift = _doubles(nk, (k,), &s.c.nk), _doubles(shift, (k, d), &s.c.shift)
    s.sx = _doubles(sx, (k, d), &s.c.sx)
    s.sxx = _doubles(sxx, _moment_shape(covariance_type, k, d), &s.c.sxx)
    s.c.log_likelihood = s.c.weight_sum = 0
    s.c.n_rows = 0
    return s


cdef _Statistics _copied(covariance_type, dict sums):
    """A copy of the sums, to be written."""
    nk, shift, sx, sxx = (np.array(sums[name], dtype=np.float64, order="C")
                          for name in ("nk", "shift", "sx", "sxx"))
    return _statistics_in(covariance_type, nk, shift, sx, sxx)


def accumulate(X, *, covariance_type, weights, means, covariances, precisions_cholesky,
               sample_weight=None, n_threads=1, in_double=False):
    """Run one pass and return its sums about each component's shift; sxx has the shape of
    moment_shape. For tied, sxx is summed over the components; if all rows of its shift are the same
    point, it is the scatter of the data. in_double: float32 rows are computed in double in any
    case, not only if the covariances need it."""
    cdef _Parameters p = _given(covariance_type, weights, means, precisions_cholesky, covariances)
    k, d = p.arrays[1].shape
    cdef fg_shape shape = _shape(covariance_type, k, d)
    cdef _Call call = _call_on(n_threads, X, sample_weight)
    cdef _Statistics s = _statistics_in(covariance_type, _empty(k), _empty((k, d)), _empty((k, d)),
                                        _empty(_moment_shape(covariance_type, k, d)))
    cdef bint wide = in_double
    with nogil:
        call.begin()
        if wide:
            call.end(fg_accumulate_in_double(&call.context, &shape, &p.c, &s.c))
        else:
            call.end(fg_accumulate(&call.context, &shape, &p.c, &s.c))
    return s.sums() | {"log_likelihood": s.c.log_likelihood, "weight_sum": s.c.weight_sum,
                       "n_samples": s.c.n_rows}


def merge_statistics(a, b, *, covariance_type):
    """Return the sums of both, about a shift at which neither loses precision."""
    cdef _Statistics into = _copied(covariance_type, a), other = _copied(covariance_type, b)
    cdef _Call call = _call(1)
    with nogil:
        call.begin()
        call.end(fg_statistics_merge(&into.shape, &other.c, &into.c))
    return into.sums()


def move_statistics(sums, *, covariance_type, shift):
    """Return the sums about another shift."""
    cdef _Statistics s = _copied(covariance_type, sums)
    cdef double *c_shift = NULL
    shift = _doubles(shift, s.sx.shape, &c_shift)
    cdef _Call call = _call(1)
    with nogil:
        call.begin()
        call.end(fg_statistics_move(&s.shape, c_shift, &s.c))
    return s.sums()


def maximize(*, covariance_type, nk, shift, sx, sxx, weight_sum, reg_covar, n_samples):
    """The M step; returns weights, means, covariances, precisions_cholesky."""
    cdef _Statistics s = _statistics_in(covariance_type, nk, shift, sx, sxx)
    cdef _Parameters out = _fresh(covariance_type, s.shape.n_components, s.shape.n_features)
    cdef _Call call = _call(1)
    cdef fg_m_step options
    options.reg_covar = reg_covar
    s.c.weight_sum, s.c.n_rows = weight_sum, n_samples
    with nogil:
        call.begin()
        call.end(fg_maximize(&call.context, &s.shape, &options, &s.c, &out.c))
    return out.arrays


def precision_cholesky(covariances, *, covariance_type, n_components, n_features):
    """The upper triangular U with precision = U U^T; covariances have the shape of their type."""
    cdef tuple array_shape = _covariance_shape(covariance_type, n_components, n_features)
    cdef fg_parameters p
    given = _doubles(covariances, array_shape, &p.covariances)
    out = _empty(array_shape)
    p.precisions_cholesky = <double *>_address(out)
    cdef fg_shape shape = _shape(covariance_type, n_components, n_features)
    cdef _Call call = _call(1)
    with nogil:
        call.begin()
        call.end(fg_precision_cholesky(&call.context, &shape, &p))
    return out


cdef class Scorer:
    """A mixture prepared for rows of one dtype. Any number of threads may use it at once. It does not
    refer to the arrays it was made of."""

    cdef fg_scorer *c
    cdef fg_shape shape
    cdef fg_real_type real_type
    cdef object n_components
    cdef readonly object dtype

    def __cinit__(self, *, covariance_type, weights, means, precisions_cholesky, dtype):
        cdef _Parameters p = _given(covariance_type, weights, means, precisions_cholesky)
        self.n_components, d = p.arrays[1].shape
        self.dtype = np.dtype(dtype)
        cdef fg_shape shape = _shape(covariance_type, self.n_components, d)
        self.shape = shape
        self.real_type = FG_FLOAT32 if self.dtype == np.float32 else FG_FLOAT64
        cdef _Call call = _call(1)
        with nogil:
            call.begin()
            call.end(fg_scorer_open(&call.context, &shape, &p.c, self.real_type, &self.c))

    def __dealloc__(self):
        fg_scorer_close(self.c)

    def worth_threads(self, n_rows):
        """Return how many threads pay for scoring n_rows rows."""
        return fg_worth_threads(&self.shape, n_rows, 1)

    def score(self, X, n_threads, output):
        """Return labels (N,) as int64, or responsibilities (N, K) or log_likelihood (N,) in the dtype
        of X, which must be that of the scorer."""
        cdef _Call call = _call(n_threads, _data(X, None))
        # another thread may have set the attributes since they were compared with X
        if X.shape[1] != self.shape.n_features or call.data.c.real_type != self.real_type:
            raise ValueError(f"X has {X.shape[1]} features of {X.dtype}, but the mixture has "
                             f"{self.shape.n_features} of {self.dtype}")
        call.others = self
        n_rows = call.data.c.n_rows
        out = _empty((n_rows, self.n_components) if output == "responsibilities" else n_rows,
                     np.int64 if output == "labels" else self.dtype)
        cdef void *c_out = _address(out)
        cdef fg_output c_output = _OUTPUTS[output]
        with nogil:
            call.begin()
            call.end(fg_scorer_run(&call.context, self.c, c_output, c_out))
        return out


# ---- arrays that users set ----

def fingerprint(tuple arrays):
    """Return a hash of the dtypes, shapes and bits of arrays; None if one of them is not a
    contiguous array of float32 or float64 in native byte order."""
    cdef Py_buffer buffer
    cdef uint64_t result = 0
    for array in arrays:
        if (type(array) is not _ndarray or not array.flags.c_contiguous
                or array.dtype not in (_FLOAT64, _FLOAT32)):
            return None
        PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES)
        with nogil:
            result = fg_fingerprint(buffer.shape, buffer.ndim * sizeof(Py_ssize_t),
                                    result + buffer.itemsize)
            result = fg_fingerprint(buffer.buf, buffer.len, result)
        PyBuffer_Release(&buffer)
    return result


def all_within(array, double low, double high):
    """Return whether low <= x <= high for all x of a contiguous float32 or float64 array."""
    cdef fg_real_type real_type = FG_FLOAT64 if array.dtype == _FLOAT64 else FG_FLOAT32
    return bool(fg_all_within(_address(array), real_type, array.size, low, high))


def are_factors(matrices):
    """Return whether contiguous float64 matrices, (..., d, d), are finite and upper triangular with
    a positive diagonal."""
    cdef const double *begin = <const double *>_address(matrices)
    cdef int64_t d = matrices.shape[matrices.ndim - 1], count = matrices.size // (d * d)
    cdef bint right
    with nogil:
        right = fg_are_factors(begin, count, d)
    return right


def are_inverse(covariances, factors, double tolerance):
    """Return whether C U U^T v = v for a vector v, where C are covariances and U upper triangular
    factors, contiguous float64 (..., d, d). The tolerance is relative to the sum of the absolute
    values of the terms."""
    cdef int64_t d = factors.shape[factors.ndim - 1], count = factors.size // (d * d)
    work = _empty(5 * d)
    cdef const double *c = <const double *>_address(covariances)
    cdef const double *u = <const double *>_address(factors)
    cdef double *c_work = <double *>_address(work)
    cdef bint right
    with nogil:
        right = fg_are_inverse(c, u, count, d, tolerance, c_work)
    return right


# ---- batch ----

def _batch_statuses():
    statuses, i = {}, 0
    while fg_batch_status_name(i) != NULL:
        statuses[fg_batch_status_name(i).decode()] = i, fg_batch_status_meaning(i).decode()
        i += 1
    return statuses


BATCH_STATUSES = _batch_statuses()  # name: (value, meaning)


cdef fg_data *_tables(list rows, sample_weight) except NULL:
    """Memory, to be freed, that points to the rows of each array, and to their weights."""
    cdef Py_ssize_t i, n = len(rows)
    cdef fg_data *tables = <fg_data *>malloc(max(1, n) * sizeof(fg_data))
    if tables == NULL:
        raise MemoryError(_NO_MEMORY)
    try:
        for i in range(n):
            _point_at(&tables[i], rows[i])
            if sample_weight is not None:
                tables[i].sample_weight = <const double *>_maybe(sample_weight[i])
    except BaseException:
        free(tables)
        raise
    return tables


cdef class Problems:
    """The rows of many problems, used in place and divided by offsets (P + 1): a 2-D array, a 3-D
    array of problems of equal size, or a list of 2-D arrays, all of one dtype. Keeps the arrays
    that it points into alive. sample_weight: None, contiguous float64 (N,), or a list of such
    arrays. order: the numbers of the problems in the order in which they are fitted. copies: so
    many problems, one after the other, have the same rows. cost: the relative amount of work of
    each problem, as float64; None: its number of rows."""

    cdef fg_problems c
    cdef fg_data *own
    cdef readonly object rows, sample_weight, offsets, order, cost, dtype

    def __cinit__(self, rows, *, offsets, order, sample_weight, dtype, n_features, copies=1,
                  cost=None):
        self.rows, self.sample_weight, self.dtype = rows, sample_weight, dtype
        self.offsets = np.ascontiguousarray(offsets, dtype=np.int64)
        self.order = np.ascontiguousarray(order, dtype=np.int64)
        self.cost = None if cost is None else np.ascontiguousarray(cost, dtype=np.float64)
        self.c.n_problems, self.c.n_features = (len(self.offsets) - 1) * copies, n_features
        self.c.copies = copies
        self.c.cost = _maybe(self.cost)
        if not len(self.order) == self.c.n_problems == len(self.order if cost is None else cost):
            raise ValueError("order and cost must have an entry per problem")
        self.c.offsets = <const int64_t *>_address(self.offsets)
        self.c.order = <const int64_t *>_address(self.order)
        self.c.gap = 0
        self.c.each = NULL
        if isinstance(rows, list):
            self.c.each = self.own = _tables(rows, sample_weight)
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


def draw_keys(seed, *, first, n_rows, sample_weight, limit):
    """Return the numbers and the keys of those rows among first, ..., first + n_rows - 1 whose key is
    below the limit: the rows with the smallest keys are a sample. See fg_draw_keys."""
    rows, keys = np.empty(n_rows, np.int64), np.empty(n_rows)
    cdef double *weights = NULL
    if sample_weight is not None:
        sample_weight = _doubles(sample_weight, (n_rows,), &weights)
    cdef int64_t *c_rows = <int64_t *>_address(rows)
    cdef double *c_keys = <double *>_address(keys)
    cdef uint64_t c_seed = seed
    cdef int64_t c_first = first, n = n_rows, count
    cdef double c_limit = limit
    with nogil:
        count = fg_draw_keys(c_seed, c_first, n, weights, c_limit, c_rows, c_keys)
    return rows[:count].copy(), keys[:count].copy()


def start_seed(seed, *, init):
    """The seed of start number init of a fit."""
    return fg_random(seed, init)


def seeds(seed, *, n):
    """One uint32 seed for each of n problems."""
    cdef uint64_t c_seed = seed
    cdef int64_t i, count = n
    out = np.empty(n, np.uint32)
    cdef uint32_t *c_out = <uint32_t *>_address(out)
    for i in range(count):
        c_out[i] = <uint32_t>(fg_random(c_seed, i) >> 32)
    return out


cdef class _Candidates:
    """The candidates of a batch, from tuples (n_components, covariance_type, n_init)."""

    cdef fg_candidate *c
    cdef fg_shared_starts starts
    cdef object n_components, init, offset, of_candidate, order, records

    def __cinit__(self, candidates):
        self.starts.n = 0
        cdef Py_ssize_t i
        self.c = <fg_candidate *>malloc(max(1, len(candidates)) * sizeof(fg_candidate))
        if self.c == NULL:
            raise MemoryError(_NO_MEMORY)
        for i, (n_components, covariance_type, n_init) in enumerate(candidates):
            self.c[i].n_components, self.c[i].n_init = n_components, n_init
            self.c[i].layout = _COVARIANCE_TYPES[covariance_type]

    cdef share_starts(self, candidates, int64_t n_tables, int64_t n_features):
        """Let candidates of the same n_components share their starts, if there are such."""
        cdef dict begin = {}, n_init = {}
        for k, _, count in candidates:
            n_init[k] = max(count, n_init.get(k, 0))
        if len(n_init) == len(candidates):
            return
        starts, size = [], 0
        for k in sorted(n_init, reverse=True):  # the costliest first
            begin[k] = size
            for init in range(n_init[k]):
                starts.append((k, init, size))
                size += 1 + k * n_features
        self.n_components, self.init, self.offset = np.array(starts, dtype=np.int64).T.copy()
        self.of_candidate = np.array([begin[k] for k, _, _ in candidates], dtype=np.int64)
        n = len(starts)
        self.order = np.arange(n_tables * n).reshape(n_tables, n).T.ravel().astype(np.int64)
        self.records = np.full(n_tables * size, np.nan)
        self.starts.n, self.starts.size = n, size
        self.starts.n_components = <const int64_t *>_address(self.n_components)
        self.starts.init = <const int64_t *>_address(self.init)
        self.starts.offset = <const int64_t *>_address(self.offset)
        self.starts.of_candidate = <const int64_t *>_address(self.of_candidate)
        self.starts.order = <const int64_t *>_address(self.order)
        self.starts.records = <double *>_address(self.records)

    def __dealloc__(self):
        free(self.c)


def fit_batch(Problems problems, *, candidates, separate=False, by_aic, init_params, tol, reg_covar,
              max_iter, repair, given=(None, None, None, None),
              given_each=(False, False, False), Problems held_out=None, n_threads, progress,
              result, accelerate=False, stopping="change"):
    """Fit every problem with each of the candidates, which are (n_components, covariance_type,
    n_init), from result["seeds"], and keep the best; if separate, problem p is fitted only with
    candidate p % len(candidates). The results are written into the arrays of result, which are
    named like the fields of fg_batch_result. Returns the exception that stopped the batch, or None.

    given: as for fit; given_each: which of (weights, means, precisions) have one entry per
    problem. held_out: other rows, a list with an array for each of those of the problems, whose
    log-likelihood is written to result["held_out"]."""
    cdef fg_batch_options options
    cdef fg_batch_result out
    cdef _Call call = _call(n_threads, None, None, progress)
    cdef _Candidates c_candidates = _Candidates(candidates)
    cdef fg_status status
    call.others = (problems, c_candidates, given, held_out, result)
    options.fit = _fit_options(init_params, 1, tol, reg_covar, max_iter, repair, accelerate,
                               stopping)
    options.candidates, options.n_candidates = c_candidates.c, len(candidates)
    options.separate, options.by_aic = separate, by_aic
    options.held_out = NULL if held_out is None else held_out.own
    if separate and init_params != "random" and len(problems):
        c_candidates.share_starts(candidates, len(problems.offsets) - 1, problems.c.n_features)
    options.starts = c_candidates.starts
    options.given = _starting(given)
    options.weights_each, options.means_each, options.precisions_each = given_each
    options.seeds = <const uint32_t *>_address(result["seeds"])
    out.parameters = _starting((result["weights"], result["means"], result["covariances"],
                                result["precisions_cholesky"]))
    out.lower_bound, out.criteria = _maybe(result["lower_bound"]), _maybe(result["criteria"])
    out.bic, out.aic = _maybe(result["bic"]), _maybe(result["aic"])
    out.log_likelihood = _maybe(result["log_likelihood"])
    out.held_out = _maybe(result.get("held_out"))
    out.n_iter = <int64_t *>_address(result["n_iter"])
    out.n_passes = <int64_t *>_address(result["n_passes"])
    out.candidate = <int64_t *>_address(result["candidate"])
    out.status = <int8_t *>_address(result["status"])
    out.converged = <uint8_t *>_address(result["converged"])
    with nogil:
        call.begin()
        status = call.leave(fg_fit_batch(&call.context, &problems.c, &options, &out))
    if status == FG_NO_MEMORY:
        return MemoryError(_NO_MEMORY)
    if status == FG_OK:  # the last report, and an interrupt that came too late to stop anything
        _poll(<void *>call)
    return call.error


def score_batch(Problems problems, *, covariance_type, n_components, weights, means,
                precisions_cholesky, n_threads, output):
    """Score the rows of every problem with its own mixture, one problem after the other; -1 or NaN
    for a problem without a mixture (n_components 0). Also returns the first problem that has rows
    with NaN or infinity, or None."""
    cdef _Call call = _call(n_threads)
    cdef fg_score_batch_options options
    cdef int64_t bad = 0
    call.others = (problems, n_components, weights, means, precisions_cholesky)
    cdef fg_status status
    cdef object n_rows = problems.c.offsets[problems.c.n_problems] - problems.c.offsets[0]
    options.layout, options.max_components = _COVARIANCE_TYPES[covariance_type], weights.shape[1]
    options.n_components = <const int64_t *>_address(n_components)
    options.parameters = _starting((weights, means, None, precisions_cholesky))
    options.output = _OUTPUTS[output]
    out = np.empty((n_rows, options.max_components) if output == "responsibilities" else n_rows,
                   np.int64 if output == "labels" else problems.dtype)
    cdef void *c_out = _address(out)
    with nogil:
        call.begin()
        status = call.leave(fg_score_batch(&call.context, &problems.c, &options, c_out, &bad))
    if status not in (FG_OK, FG_NOT_FINITE):
        call.fail(status)
    return out, None if status == FG_OK else bad


# ---- for the tests ----

def vector_exp(x):
    """exp of a contiguous float32 or float64 array, as the kernels compute it."""
    return _vector(x, 0)


def vector_log(x):
    """log of a contiguous float32 or float64 array, as the kernels compute it."""
    return _vector(x, 1)


cdef _vector(x, int want_log):
    out = np.empty_like(x)
    fg_vector_exp_log(FG_FLOAT32 if x.dtype == np.float32 else FG_FLOAT64, _address(x), x.size,
                      want_log, _address(out))
    return out
