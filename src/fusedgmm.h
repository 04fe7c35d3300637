/* The public header of the C core: sizes, data, parameters, statistics, status codes.
 *
 * Data flow one way: fit -> em -> pass -> kernels -> simd; results return through statistics ->
 * parameters -> covariance. Parameters and statistics are always double; data are float or double.
 */
#ifndef FUSEDGMM_H
#define FUSEDGMM_H

#include <fenv.h>
#include <stddef.h>
#include <stdint.h>

/* How covariances are stored: one matrix per component, one shared matrix, one variance per
 * component and feature, or one variance per component. */
typedef enum { FG_FULL, FG_TIED, FG_DIAG, FG_SPHERICAL } fg_layout;
typedef enum { FG_FLOAT32, FG_FLOAT64 } fg_real_type;
typedef enum { FG_START_KMEANS, FG_START_KMEANS_PP, FG_START_RANDOM, FG_START_DATA } fg_start;

typedef enum {
    FG_OK = 0,
    FG_NO_MEMORY,
    FG_INTERRUPTED,
    FG_SINGULAR,   /* a covariance is not positive definite; the context names it */
    FG_NOT_FINITE, /* the data or the log-likelihood contain NaN or infinity */
} fg_status;

/* The sizes of one mixture. */
typedef struct {
    int64_t n_components, n_features;
    fg_layout layout;
} fg_shape;

/* Rows of samples, read in place. The element (row, feature) is at row * row_stride + feature *
 * feature_stride; strides are counted in elements. */
typedef struct {
    const void *x;
    fg_real_type real_type;
    int64_t n_rows, row_stride, feature_stride;
    const double *sample_weight; /* n_rows, or NULL for ones */
} fg_data;

/* weights: K; means: K x d; covariances and precisions_cholesky: full K x d x d, tied d x d,
 * diagonal K x d, spherical K. The precision is U U^T with U upper triangular. */
typedef struct {
    double *weights, *means, *covariances, *precisions_cholesky;
} fg_parameters;

/* Sums about a shift: one point per component, close to its mean and exactly representable in the
 * data's type. sxx: full K x d(d+1)/2 (lower triangle, row by row), tied d(d+1)/2 (likewise, summed
 * over the components), diag K x d, spherical K. For tied, if all shifts are the same point, sxx is
 * the scatter of the data. */
typedef struct {
    double *nk, *shift, *sx, *sxx;
    double log_likelihood, weight_sum;
    int64_t n_rows;
} fg_statistics;

/* Which sums a pass computes besides the log-likelihood: none, N_k and sx, or sxx as well. */
typedef enum { FG_LIKELIHOOD, FG_FIRST_MOMENTS, FG_MOMENTS } fg_sums;

/* Callbacks that watch the work; both may be NULL. poll is called on the calling thread every few
 * milliseconds; a non-zero return stops the work with FG_INTERRUPTED and sets stopped. report is
 * called when a start of a fit begins (iteration 0) and after each of its iterations. */
typedef struct fg_fit_state fg_fit_state;
typedef struct {
    int (*poll)(void *context);
    int (*report)(void *context, int64_t init, int64_t iteration, double lower_bound,
                  double change);
    void *context;
    double last_poll; /* seconds; kept here so that many short passes poll as one long pass does */
    int64_t done;     /* batch: number of finished problems */
    int stopped;
    int eager;                 /* call poll at every polling point: it costs nothing */
    const fg_fit_state *state; /* of the fit that reports; valid during the report */
    int finish;                /* set by report: end the fit and keep what it has */
} fg_monitor;

/* Consecutive rows of a stream; begin is the number of the first in the stream. */
typedef struct {
    fg_data data;
    int64_t begin;
} fg_part;

/* Rows that do not lie in memory all at once: a stream, read from its first row to its last in
 * every pass. Some consecutive rows are at hand, in parts; fetch brings others. */
enum { FG_MOST_PARTS = 64 };
typedef struct fg_stream fg_stream;
struct fg_stream {
    /* Called on the thread that made the call. Writes the fields below so
     * that row is at hand, with at least need rows from it on, better wanted, or all up to the
     * last. Begins anew if row was passed already. The parts before row are not read any more,
     * unless is_late: then they must stay valid until the call's lease has ended. Non-zero: an
     * error, which the caller keeps; the core stops as for an interrupt. */
    int (*fetch)(fg_stream *stream, int64_t row, int64_t need, int64_t wanted, int is_late);
    void *context;
    fg_part parts[FG_MOST_PARTS];
    int64_t n_parts, begin, end; /* rows [begin, end) are at hand */
    int is_weighted;
    double largest_weight;
    /* for the core: whether a thread may still read the parts, and how often that happened */
    int is_late, n_late;
};

/* The source of the rows; see rows.h. */
typedef struct {
    const fg_data *data; /* with a stream: x is NULL, but the number and type of the rows are set */
    double weight_scale; /* a power of two that scales the largest sample weight to about 1 */
    fg_stream *stream;   /* or NULL: the rows are in memory */
} fg_rows;

/* Reads the sample weights once. The caller keeps ownership of the data. */
void fg_rows_open(const fg_data *data, fg_rows *out);
/* data: only the number and the type of the rows. */
void fg_rows_open_stream(const fg_data *data, fg_stream *stream, fg_rows *out);

/* A helper thread may be descheduled in the middle of a task, and the call may return before it
 * runs again, because another thread has redone its task. When the helper resumes, it still reads
 * the rows. A lease records how long the rows must stay valid. */
typedef struct fg_lease fg_lease;

/* The context of a call; the functions below take it as their first argument. */
typedef struct {
    const fg_rows *rows; /* NULL if no rows are read */
    int n_threads;
    fg_monitor *monitor;        /* or NULL */
    int64_t singular_component; /* output with FG_SINGULAR; -1: the tied covariance */
    fg_lease *lease;            /* or NULL: no thread reads the rows after the call returns */
} fg_context;

/* Brackets every call that may take long. Concurrent calls share the available threads. During a
 * call the rounding mode is to nearest and subnormal numbers are kept, whatever the caller's
 * floating-point environment is. */
typedef struct {
    int n_threads;   /* number of threads for this call */
    fg_lease *lease; /* for the call's context; NULL with one thread or without memory */
    fenv_t environment;
    int64_t forks; /* fg_team_forks when it began */
} fg_call;
void fg_call_begin(int n_threads, fg_call *out_call);
/* Returns the lease if the rows must stay valid, otherwise NULL. */
fg_lease *fg_call_end(fg_call *call);
/* Returns non-zero, and frees the lease, if no thread reads the rows of an ended call any more. */
int fg_lease_try_end(fg_lease *lease);
/* fg_lease_keep stores an object until its lease ends; it returns 0 without memory. fg_lease_let_go
 * returns one stored object whose lease has ended, or NULL; callers ask at every opportunity. */
int fg_lease_keep(fg_lease *lease, void *what);
void *fg_lease_let_go(void);

typedef enum { FG_OUTPUT_LABELS, FG_OUTPUT_RESPONSIBILITIES, FG_OUTPUT_LOG_LIKELIHOOD } fg_output;

/* dispatch */
const char *fg_build(void); /* compiler and build type */
const char *fg_isa_name(void);
const char *fg_isa_usable(int i);    /* the i-th, in increasing order; NULL after the last */
int fg_isa_choose(const char *name); /* NULL: the best; 0 on success, -1 if not usable here */
/* exp or log of n values as the chosen kernels compute them, for the tests. */
void fg_vector_exp_log(fg_real_type real_type, const void *x, int64_t n, int want_log, void *out);

/* openmp, team, parallel */
int fg_openmp_max_threads(void); /* the calling thread's limit; INT_MAX without OpenMP */
int fg_openmp_version(void);     /* 0 without OpenMP */
int fg_parallel_install(void);   /* called once: installs the fork handler */
int fg_available_cpus(void);     /* to the calling thread; 0 if the system does not say */
int fg_team_size(void);          /* number of helper threads started so far */
int64_t fg_team_taken(int i);    /* how many offers helper i has taken */

/* covariance */
size_t fg_moment_count(const fg_shape *shape);     /* doubles in sxx */
size_t fg_covariance_count(const fg_shape *shape); /* doubles in covariances */
/* Computes the Cholesky factors of the precisions from the covariances. */
fg_status fg_precision_cholesky(fg_context *context, const fg_shape *shape,
                                const fg_parameters *parameters);

/* statistics: not for those that a pass is still adding to */
/* Converts the sums to another shift. */
fg_status fg_statistics_move(const fg_shape *shape, const double *shift, fg_statistics *statistics);
/* into += from, about a shift at which neither loses precision; from is converted to it, too. */
fg_status fg_statistics_merge(const fg_shape *shape, fg_statistics *from, fg_statistics *into);

/* parameters: the M step */
typedef struct {
    double reg_covar; /* added to every variance */
} fg_m_step;
fg_status fg_maximize(fg_context *context, const fg_shape *shape, const fg_m_step *options,
                      const fg_statistics *statistics, fg_parameters *out);

/* pass */
int64_t fg_task_count(const fg_shape *shape, int64_t n_rows); /* no more threads can help */
/* The number of threads worth using for one pass, or for several in a row, over n_rows rows. */
int64_t fg_worth_threads(const fg_shape *shape, int64_t n_rows, int64_t n_passes);
fg_status fg_accumulate(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                        fg_statistics *out);
/* The same, but float data are computed in double in any case. */
fg_status fg_accumulate_in_double(fg_context *context, const fg_shape *shape,
                                  const fg_parameters *parameters, fg_statistics *out);
fg_status fg_score(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                   fg_output output, void *out);
/* A mixture prepared for rows of one real type. Any number of calls may use it, also at the same
 * time; it must stay until their leases have ended. It does not refer to the parameters. The
 * context of fg_scorer_open needs no rows. */
typedef struct fg_scorer fg_scorer;
fg_status fg_scorer_open(fg_context *context, const fg_shape *shape,
                         const fg_parameters *parameters, fg_real_type real_type, fg_scorer **out);
fg_status fg_scorer_run(fg_context *context, const fg_scorer *scorer, fg_output output, void *out);
void fg_scorer_close(fg_scorer *scorer);

/* fit: a start, passes until convergence, and the best of several starts */

/* When a fit has converged: as soon as an EM step changes the mean log-likelihood by less than tol;
 * or only if the estimate of what is still to be gained is less than tol, too. */
typedef enum { FG_STOP_CHANGE, FG_STOP_AITKEN } fg_stopping;

size_t fg_accelerator_count(const fg_shape *shape); /* doubles in the state of an acceleration */

/* The options of a fit. */
typedef struct {
    fg_start start;
    int64_t n_init, max_iter;
    double tol;
    fg_m_step m_step;
    int repair;            /* repair degenerate components; otherwise FG_SINGULAR, or weight zero */
    const double *records; /* of the starts, made by fg_start_record; or NULL */
    const fg_fit_state *resume; /* the state in which to go on, other options the same; or NULL */
    fg_stopping stopping;
    int accelerate; /* extrapolate by SQUAREM */
} fg_fit_options;

/* A repair: its kind, the iteration (0: during the start), the component (-1: the tied covariance),
 * and the row at which a component was reseeded, or -1. */
typedef enum { FG_FLOORED, FG_RESEEDED } fg_repair_kind;
typedef struct {
    fg_repair_kind kind;
    int64_t iteration, component, row;
} fg_repair;

/* The record of a fit. */
typedef struct {
    double *lower_bounds; /* one per iteration */
    int64_t n_bounds, bounds_room;
    fg_repair *repairs;
    int64_t n_repairs, repairs_room;
} fg_history;

void fg_history_free(fg_history *history);

/* The result of the best start. lower_bound: before a fit, the bound of the given parameters' own
 * last iteration, or -infinity. change: that of the lower bound in the last EM step; infinity if it
 * was the first, or did not follow from the one before. n_iter: accepted steps; n_passes: also
 * those that were rejected. history: zeroed before a fit, freed by the caller. */
typedef struct {
    double lower_bound, change;
    int64_t n_iter, n_passes;
    int converged;
    fg_history history;
} fg_fit_result;

/* A fit between two iterations: all that it needs to go on, to the same result as without a break.
 * It points at the fit's own memory. */
struct fg_fit_state {
    int64_t init;              /* number of the start at hand */
    fg_parameters *parameters; /* after result->n_iter iterations; not valid if that is 0 */
    fg_fit_result *result;     /* its record so far */
    /* tied: whether sxx (as in fg_statistics) is the scatter of the data about shift, K x d, and
     * the arithmetic in which it was summed */
    int *has_scatter;
    fg_real_type *scatter_type;
    double *shift, *sxx;
    int *reseedings;     /* K; NULL unless components are repaired */
    double *accelerator; /* of size fg_accelerator_count; unused without acceleration */
    /* of the starts before: how many gave a mixture, how many were singular, where the first was */
    int64_t n_kept, n_failed, first_singular;
    const fg_parameters *best; /* of them; with its record */
    const fg_fit_result *best_result;
};

/* given: starting values that replace those of the start, each or NULL; covariances must come with
 * precisions_cholesky. */
fg_status fg_fit(fg_context *context, const fg_shape *shape, const fg_fit_options *options,
                 const fg_parameters *given, uint64_t seed, fg_parameters *out_parameters,
                 fg_fit_result *out_result);

/* batch: many independent fits, distributed over the threads */

/* Table i has the rows offsets[i] .. offsets[i + 1] - 1 of rows, preceded by i gaps; or, if each is
 * given, the same number of rows in each[i]. Every table is one problem, or several: problem p has
 * the rows of table p / copies. */
typedef struct {
    int64_t n_problems, n_features;
    const int64_t *offsets; /* one more than tables */
    fg_data rows;
    int64_t gap;          /* elements between two tables; sample_weight has no gaps */
    const fg_data *each;  /* one per table, or NULL */
    const int64_t *order; /* n_problems: the order of fitting, the largest first */
    int64_t copies;       /* problems per table; 0 means 1 */
    const double *cost;   /* n_problems: relative amounts of work; or NULL: numbers of rows */
} fg_problems;

/* The outcome of a problem: every status and its meaning. Statuses up to FG_TOO_FEW_DISTINCT_ROWS
 * may come with a mixture; of the later ones only FG_REPAIRED does. Python's BatchStatus is made
 * from this list; saved results rely on the numbers. */
#define FG_EACH_BATCH_STATUS(X)                                                                    \
    X(CONVERGED, "converged")                                                                      \
    X(NOT_CONVERGED, "did not converge within max_iter")                                           \
    X(EMPTY_COMPONENT, "a component lost all its rows; its weight is 0")                           \
    X(CONSTANT_ROWS, "all rows are the same")                                                      \
    X(TOO_FEW_DISTINCT_ROWS, "fewer distinct rows than components")                                \
    X(TOO_FEW_ROWS, "fewer rows than components, or fewer than two")                               \
    X(ROWS_NOT_FINITE, "NaN or infinity in the rows")                                              \
    X(BAD_SAMPLE_WEIGHT, "sample weights negative, not finite, or all zero")                       \
    X(SINGULAR_COVARIANCE, "a covariance is singular; raise reg_covar, or scale the data")         \
    X(ROWS_OUT_OF_REACH, "rows too far from every component; scale the data")                      \
    X(OUT_OF_MEMORY, "out of memory")                                                              \
    X(NOT_RUN, "not run: the call was interrupted")                                                \
    X(REPAIRED, "degenerate components were repaired")

typedef enum {
#define FG_BATCH_STATUS(name, meaning) FG_##name,
    FG_EACH_BATCH_STATUS(FG_BATCH_STATUS)
#undef FG_BATCH_STATUS
} fg_batch_status;

const char *fg_batch_status_name(int i); /* without the prefix; NULL after the last */
const char *fg_batch_status_meaning(int i);

/* A mixture that is tried for a problem, with its number of starts. */
typedef struct {
    int64_t n_components, n_init;
    fg_layout layout;
} fg_candidate;

/* Starts that candidates of the same n_components share, since only the layout of covariances
 * distinguishes them. Start s of table t, with its record at records[t * size + offset[s]], is that
 * of number init[s] with n_components[s] components. */
typedef struct {
    int64_t n;    /* starts of a table; 0: the candidates share nothing */
    int64_t size; /* doubles of the records of a table */
    const int64_t *n_components, *init, *offset; /* n */
    const int64_t *of_candidate;                 /* n_candidates: where its records begin */
    const int64_t *order;                        /* n per table: the order in which they are made */
    double *records;                             /* all NaN before the call */
} fg_shared_starts;

/* Every problem is fitted with each of n_candidates candidates; the fit with the smallest criterion
 * is kept. Or, if separate is set, problem p only with candidate p % n_candidates: with as many
 * copies of each table as candidates, all fits are kept. given: starting values for all problems,
 * or one set per problem if the _each flag is set; only with a single candidate. */
typedef struct {
    fg_fit_options fit; /* without n_init */
    const fg_candidate *candidates;
    int64_t n_candidates;
    int separate;
    int by_aic; /* the criterion is AIC, otherwise BIC */
    fg_parameters given;
    int weights_each, means_each, precisions_each;
    const uint32_t *seeds;   /* one per table */
    const fg_data *held_out; /* one per table: other rows whose likelihood is wanted; or NULL */
    fg_shared_starts starts;
} fg_batch_options;

/* Every problem has room for the largest candidate, in each part of the parameters; unused elements
 * are left unchanged, as is everything of a problem without a mixture but its status and its
 * criteria. */
typedef struct {
    fg_parameters parameters;
    double *lower_bound, *bic, *aic; /* n_problems */
    double *log_likelihood;          /* n_problems: of all rows, at the final parameters */
    double *held_out;                /* n_problems: of the held-out rows; unused without these */
    double *criteria;                /* n_problems x n_candidates; separate: n_problems */
    int64_t *n_iter, *n_passes;      /* n_problems */
    int64_t *candidate;              /* n_problems: the number of the chosen candidate */
    int8_t *status;                  /* n_problems, values of fg_batch_status */
    uint8_t *converged;              /* n_problems */
} fg_batch_result;

fg_status fg_fit_batch(fg_context *context, const fg_problems *problems,
                       const fg_batch_options *options, fg_batch_result *out);

/* Parameters as in fg_batch_result, with room for max_components. Problem i has n_components[i]
 * components, 0 if it has no mixture. */
typedef struct {
    fg_layout layout;
    int64_t max_components;
    const int64_t *n_components;
    fg_parameters parameters;
    fg_output output;
} fg_score_batch_options;

/* Scores every row with the mixture of its own problem, in the order of the problems.
 * Responsibilities have rows of max_components entries. Where there is no value, all bits are set:
 * NaN, or -1. With FG_NOT_FINITE, out_problem is the first problem that has rows with NaN or
 * infinity. */
fg_status fg_score_batch(fg_context *context, const fg_problems *problems,
                         const fg_score_batch_options *options, void *out, int64_t *out_problem);

#endif
