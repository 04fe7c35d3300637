# The declarations of the C core's header that _core.pyx uses.
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    const char *FG_VERSION  # defined by the build

cdef extern from "fusedgmm.h" nogil:
    ctypedef enum fg_layout:
        FG_FULL, FG_TIED, FG_DIAG, FG_SPHERICAL
    ctypedef enum fg_real_type:
        FG_FLOAT32, FG_FLOAT64
    ctypedef enum fg_start:
        FG_START_KMEANS, FG_START_KMEANS_PP, FG_START_RANDOM, FG_START_DATA
    ctypedef enum fg_status:
        FG_OK, FG_NO_MEMORY, FG_INTERRUPTED, FG_SINGULAR, FG_NOT_FINITE
    ctypedef enum fg_output:
        FG_OUTPUT_LABELS, FG_OUTPUT_RESPONSIBILITIES, FG_OUTPUT_LOG_LIKELIHOOD
    ctypedef struct fg_shape:
        int64_t n_components, n_features
        fg_layout layout
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
    ctypedef struct fg_fit_state
    ctypedef struct fg_part:
        fg_data data
        int64_t begin
    int FG_MOST_PARTS
    ctypedef struct fg_stream:
        int (*fetch)(fg_stream *, int64_t, int64_t, int64_t, int) noexcept nogil
        void *context
        fg_part *parts
        int64_t n_parts, begin, end
        int is_weighted
        double largest_weight
        int is_late
    ctypedef struct fg_monitor:
        int (*poll)(void *) noexcept nogil
        int (*report)(void *, int64_t, int64_t, double, double) noexcept nogil
        void *context
        double last_poll
        int64_t done
        int stopped
        const fg_fit_state *state
        int finish
    ctypedef struct fg_rows:
        const fg_data *data
        fg_stream *stream
    ctypedef struct fg_lease:
        pass
    ctypedef struct fg_context:
        const fg_rows *rows
        int n_threads
        fg_monitor *monitor
        int64_t singular_component
        fg_lease *lease
    ctypedef struct fg_m_step:
        double reg_covar
    ctypedef enum fg_stopping:
        FG_STOP_CHANGE, FG_STOP_AITKEN
    ctypedef struct fg_fit_options:
        fg_start start
        int64_t n_init, max_iter
        double tol
        fg_m_step m_step
        int repair
        const double *records
        const fg_fit_state *resume
        fg_stopping stopping
        int accelerate
    ctypedef enum fg_repair_kind:
        FG_FLOORED, FG_RESEEDED
    ctypedef struct fg_repair:
        fg_repair_kind kind
        int64_t iteration, component, row
    ctypedef struct fg_history:
        double *lower_bounds
        int64_t n_bounds
        fg_repair *repairs
        int64_t n_repairs
    ctypedef struct fg_fit_result:
        double lower_bound, change
        int64_t n_iter, n_passes
        int converged
        fg_history history
    ctypedef struct fg_fit_state:
        int64_t init
        fg_parameters *parameters
        fg_fit_result *result
        int *has_scatter
        fg_real_type *scatter_type
        double *shift
        double *sxx
        int *reseedings
        double *accelerator
        int64_t n_kept, n_failed, first_singular
        const fg_parameters *best
        const fg_fit_result *best_result
    ctypedef struct fg_problems:
        int64_t n_problems, n_features
        const int64_t *offsets
        fg_data rows
        int64_t gap
        const fg_data *each
        const int64_t *order
        int64_t copies
        const double *cost
    const char *fg_batch_status_name(int)
    const char *fg_batch_status_meaning(int)
    ctypedef struct fg_candidate:
        int64_t n_components, n_init
        fg_layout layout
    ctypedef struct fg_shared_starts:
        int64_t n, size
        const int64_t *n_components
        const int64_t *init
        const int64_t *offset
        const int64_t *of_candidate
        const int64_t *order
        double *records
    ctypedef struct fg_batch_options:
        fg_fit_options fit
        const fg_candidate *candidates
        int64_t n_candidates
        int separate
        int by_aic
        fg_parameters given
        int weights_each, means_each, precisions_each
        const uint32_t *seeds
        const fg_data *held_out
        fg_shared_starts starts
    ctypedef struct fg_score_batch_options:
        fg_layout layout
        int64_t max_components
        const int64_t *n_components
        fg_parameters parameters
        fg_output output
    ctypedef struct fg_batch_result:
        fg_parameters parameters
        double *lower_bound
        double *bic
        double *aic
        double *log_likelihood
        double *held_out
        double *criteria
        int64_t *n_iter
        int64_t *n_passes
        int64_t *candidate
        int8_t *status
        uint8_t *converged

    const char *fg_build()
    const char *fg_isa_name()
    const char *fg_isa_usable(int)
    int fg_isa_choose(const char *name)
    void fg_vector_exp_log(fg_real_type, const void *, int64_t, int, void *)
    int64_t fg_task_count(const fg_shape *, int64_t)
    int64_t fg_worth_threads(const fg_shape *, int64_t, int64_t)
    int fg_available_cpus()
    int fg_openmp_max_threads()
    int fg_openmp_version()
    int fg_parallel_install()
    ctypedef struct fg_call:
        int n_threads
        fg_lease *lease
    void fg_call_begin(int, fg_call *)
    fg_lease *fg_call_end(fg_call *)
    int fg_lease_keep(fg_lease *, void *)
    void *fg_lease_let_go()
    int fg_team_size()
    int64_t fg_team_taken(int)
    void fg_rows_open(const fg_data *, fg_rows *)
    void fg_rows_open_stream(const fg_data *, fg_stream *, fg_rows *)
    fg_status fg_statistics_move(const fg_shape *, const double *, fg_statistics *)
    fg_status fg_statistics_merge(const fg_shape *, fg_statistics *, fg_statistics *)
    fg_status fg_maximize(fg_context *, const fg_shape *, const fg_m_step *,
                          const fg_statistics *, fg_parameters *)
    fg_status fg_precision_cholesky(fg_context *, const fg_shape *, const fg_parameters *)
    fg_status fg_accumulate(fg_context *, const fg_shape *, const fg_parameters *, fg_statistics *)
    fg_status fg_accumulate_in_double(fg_context *, const fg_shape *, const fg_parameters *,
                                      fg_statistics *)
    ctypedef struct fg_scorer:
        pass
    fg_status fg_scorer_open(fg_context *, const fg_shape *, const fg_parameters *, fg_real_type,
                             fg_scorer **)
    fg_status fg_scorer_run(fg_context *, const fg_scorer *, fg_output, void *)
    void fg_scorer_close(fg_scorer *)
    fg_status fg_fit(fg_context *, const fg_shape *, const fg_fit_options *,
                     const fg_parameters *, uint64_t, fg_parameters *, fg_fit_result *)
    void fg_history_free(fg_history *)
    size_t fg_accelerator_count(const fg_shape *)
    fg_status fg_fit_batch(fg_context *, const fg_problems *, const fg_batch_options *,
                           fg_batch_result *)
    fg_status fg_score_batch(fg_context *, const fg_problems *, const fg_score_batch_options *,
                             void *, int64_t *)

cdef extern from "checks.h" nogil:
    uint64_t fg_fingerprint(const void *bytes, size_t count, uint64_t seed)
    int fg_all_within(const void *numbers, fg_real_type real_type, int64_t count, double low,
                      double high)
    int fg_are_factors(const double *matrices, int64_t count, int64_t d)
    int fg_are_inverse(const double *covariances, const double *factors, int64_t count, int64_t d,
                       double tolerance, double *work)

cdef extern from "draw.h" nogil:
    int64_t fg_draw_keys(uint64_t, int64_t, int64_t, const double *, double, int64_t *, double *)

cdef extern from "random.h" nogil:
    uint64_t fg_random(uint64_t, uint64_t)
