# The C core's header, as _core.pyx sees it.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "fusedgmm.h" nogil:
    ctypedef enum fg_covariance:
        FG_FULL, FG_TIED, FG_DIAG, FG_SPHERICAL
    ctypedef enum fg_real_type:
        FG_FLOAT32, FG_FLOAT64
    ctypedef enum fg_start:
        FG_START_KMEANS, FG_START_KMEANS_PP, FG_START_RANDOM, FG_START_DATA
    ctypedef enum fg_status:
        FG_OK, FG_NO_MEMORY, FG_INTERRUPTED, FG_SINGULAR, FG_NOT_FINITE
    ctypedef enum fg_want:
        FG_WANT_LABELS, FG_WANT_RESPONSIBILITIES, FG_WANT_LOG_LIKELIHOOD
    ctypedef struct fg_shape:
        int64_t n_components, n_features
        fg_covariance covariance
    ctypedef struct fg_data:
        const void *x
        fg_real_type real_type
        int64_t n_rows, row_stride, feature_stride
        const double *sample_weight
    ctypedef struct fg_parameters:
        double *weights
        double *means
        double *covariances
        double *precisions_cholesky
    ctypedef struct fg_statistics:
        double *nk
        double *shift
        double *sx
        double *sxx
        double log_likelihood, weight_sum
        int64_t n_rows
    ctypedef struct fg_monitor:
        int (*poll)(void *) noexcept nogil
        int (*report)(void *, int64_t, double, double) noexcept nogil
        void *context
        double last_poll

    const char *fg_build()
    const char *fg_isa_name()
    const char *fg_isa_usable(int)
    int fg_isa_choose(const char *name)
    void fg_vector_exp_log(fg_real_type, const void *, int64_t, int, void *)
    int64_t fg_task_count(const fg_shape *, int64_t)
    int fg_openmp_max_threads()
    int fg_openmp_version()
    int fg_parallel_install_fork_guard()
    size_t fg_moment_count(const fg_shape *)
    size_t fg_covariance_count(const fg_shape *)
    fg_status fg_maximize(const fg_shape *, const fg_statistics *, double, fg_parameters *,
                          int64_t *)
    fg_status fg_precision_cholesky(const fg_shape *, const double *, double *, int64_t *)
    fg_status fg_accumulate(const fg_shape *, const fg_data *, const fg_parameters *, int,
                            fg_monitor *, fg_statistics *)
    fg_status fg_em(const fg_shape *, const fg_data *, fg_parameters *, double, double, int64_t,
                    double, int, fg_monitor *, double *, int64_t *, int *, int64_t *)
    fg_status fg_score(const fg_shape *, const fg_data *, const fg_parameters *, fg_want, int,
                       fg_monitor *, void *)
    fg_status fg_start_parameters(const fg_shape *, const fg_data *, fg_start, uint64_t, double,
                                  int, fg_monitor *, fg_parameters *, int64_t *)
