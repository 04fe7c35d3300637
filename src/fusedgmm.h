/* The C core's public header: sizes, data, parameters, statistics, status codes.
 *
 * Data flows one way: fit -> em -> pass -> kernels -> simd, and back by statistics -> parameters ->
 * covariance.
 * Parameters and statistics are always double; data are float or double. */
#ifndef FUSEDGMM_H
#define FUSEDGMM_H

#include <fenv.h>
#include <stddef.h>
#include <stdint.h>

/* How covariances are stored: a matrix each, one matrix for all, variances, one variance each. */
typedef enum { FG_FULL, FG_TIED, FG_DIAG, FG_SPHERICAL } fg_layout;
typedef enum { FG_FLOAT32, FG_FLOAT64 } fg_real_type;
typedef enum { FG_START_KMEANS, FG_START_KMEANS_PP, FG_START_RANDOM, FG_START_DATA } fg_start;

typedef enum {
    FG_OK = 0,
    FG_NO_MEMORY,
    FG_INTERRUPTED,
    FG_SINGULAR,   /* a covariance is not positive definite; the context says which */
    FG_NOT_FINITE, /* the data, or the log-likelihood */
} fg_status;

/* The sizes of one mixture. */
typedef struct {
    int64_t n_components, n_features;
    fg_layout layout;
} fg_shape;

/* Rows of samples, in place: element (row, feature) is at row * row_stride + feature *
 * feature_stride, counted in elements. */
typedef struct {
    const void *x;
    fg_real_type real_type;
    int64_t n_rows, row_stride, feature_stride;
    const double *sample_weight; /* n_rows, or NULL for ones */
} fg_data;

/* weights K, means K x d; covariances and precisions_cholesky: full K x d x d, tied d x d,
 * diag K x d, spherical K. The precision is U U^T with U upper triangular. */
typedef struct {
    double *weights, *means, *covariances, *precisions_cholesky;
} fg_parameters;

/* Sums about a shift, near each component's mean and known exactly in the data's type.
 * sxx: full K x d(d+1)/2 and tied d(d+1)/2, summed over the components (lower triangle by rows),
 * diag K x d, spherical K. Where tied's shifts are all one point, that is the data's scatter. */
typedef struct {
    double *nk, *shift, *sx, *sxx;
    double log_likelihood, weight_sum;
    int64_t n_rows;
} fg_statistics;

/* Which sums a pass takes, beside the log-likelihood: none, N_k and sx, or sxx too. */
typedef enum { FG_LIKELIHOOD, FG_FIRST_MOMENTS, FG_MOMENTS } fg_sums;

/* How the work is watched. poll is called on the calling thread every few milliseconds; non-zero
 * stops the work with FG_INTERRUPTED, and is remembered in stopped. report is called when a start
 * of a fit begins (iteration 0) and after each of its iterations. Both may be NULL. */
typedef struct {
    int (*poll)(void *context);
    int (*report)(void *context, int64_t init, int64_t iteration, double lower_bound,
                  double change);
    void *context;
    double last_poll; /* seconds; kept here so that many short passes poll as one long one does */
    int64_t done;     /* batch: problems finished */
    int stopped;
    int eager; /* poll is called whenever there is an occasion: it costs nothing */
} fg_monitor;

/* Where the rows are; see rows.h. */
typedef struct {
    const fg_data *data;
    double weight_scale; /* a power of two that makes the largest sample weight about one */
} fg_rows;

/* Reads the sample weights once. The data stay the caller's. */
void fg_rows_open(const fg_data *data, fg_rows *out);

/* A thread that helps with a call may be off its CPU when the call returns, in the middle of work
 * that somebody else has done meanwhile. It still reads the rows when it comes back. A lease says
 * until when they have to stay. */
typedef struct fg_lease fg_lease;

/* What the calls below carry with them. */
typedef struct {
    const fg_rows *rows; /* NULL where none are read */
    int n_threads;
    fg_monitor *monitor;        /* or NULL */
    int64_t singular_component; /* out, with FG_SINGULAR; -1: the tied covariance */
    fg_lease *lease;            /* or NULL: no thread reads the rows any more when a call returns */
} fg_context;

/* Stands around every call that may take long. Calls that run at the same time share the threads;
 * and rounding is to the nearest, subnormals are kept, whatever the caller has set. */
typedef struct {
    int n_threads;   /* the call's share */
    fg_lease *lease; /* for the call's context; NULL where there is one thread, or no memory */
    fenv_t environment;
    int64_t forks; /* fg_team_forks when it began */
} fg_call;
void fg_call_begin(int n_threads, fg_call *out_call);
/* Returns the lease where the rows have to stay, otherwise NULL. */
fg_lease *fg_call_end(fg_call *call);
/* Whether the rows of a call that has ended may go; the lease is gone then, too. */
int fg_lease_try_end(fg_lease *lease);
/* Keeps what belongs to a lease until it can go; 0 without memory. And one of those that can go
 * now, or NULL: asked for whenever there is an occasion. */
int fg_lease_keep(fg_lease *lease, void *what);
void *fg_lease_let_go(void);

typedef enum { FG_OUTPUT_LABELS, FG_OUTPUT_RESPONSIBILITIES, FG_OUTPUT_LOG_LIKELIHOOD } fg_output;

/* dispatch */
const char *fg_build(void); /* compiler and build type */
const char *fg_isa_name(void);
const char *fg_isa_usable(int i);    /* the i-th in rising order; NULL behind the last */
int fg_isa_choose(const char *name); /* NULL: the best one; 0 if done, -1 if not usable here */
/* The chosen kernels' exp or log of n values, for the tests. */
void fg_vector_exp_log(fg_real_type real_type, const void *x, int64_t n, int want_log, void *out);

/* openmp, team, parallel */
int fg_openmp_max_threads(void); /* the calling thread's limit; INT_MAX without OpenMP */
int fg_openmp_version(void);     /* 0 without OpenMP */
int fg_parallel_install(void);   /* once: what a fork needs */
int fg_available_cpus(void);     /* to the calling thread; 0 where the system does not say */
int fg_team_size(void);          /* helpers that have been started so far */
int64_t fg_team_taken(int i);    /* how often helper i has taken part in a call's work */

/* covariance */
size_t fg_moment_count(const fg_shape *shape);     /* doubles in sxx */
size_t fg_covariance_count(const fg_shape *shape); /* doubles in covariances */
/* The factors of the parameters' precisions, from their covariances. */
fg_status fg_precision_cholesky(fg_context *context, const fg_shape *shape,
                                const fg_parameters *parameters);

/* statistics: not for those of a pass that go on being summed */
/* Takes the sums about another shift. */
fg_status fg_statistics_move(const fg_shape *shape, const double *shift, fg_statistics *statistics);
/* into += from, about a shift where neither loses digits; from is moved there, too. */
fg_status fg_statistics_merge(const fg_shape *shape, fg_statistics *from, fg_statistics *into);

/* parameters: the M step */
typedef struct {
    double reg_covar; /* added to every variance */
} fg_m_step;
fg_status fg_maximize(fg_context *context, const fg_shape *shape, const fg_m_step *options,
                      const fg_statistics *statistics, fg_parameters *out);

/* pass */
int64_t fg_task_count(const fg_shape *shape, int64_t n_rows); /* more threads find no work */
/* How many threads pay for passes over so many rows: one pass, or many in a row. */
int64_t fg_worth_threads(const fg_shape *shape, int64_t n_rows, int64_t n_passes);
fg_status fg_accumulate(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                        fg_statistics *out);
fg_status fg_score(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                   fg_output output, void *out);

/* fit: a start, passes until they converge, and the best of several */

/* What a fit does, whatever the data. */
typedef struct {
    fg_start start;
    int64_t n_init, max_iter;
    double tol;
    fg_m_step m_step;
    int repair; /* singular covariances and empty components; else FG_SINGULAR, and weight zero */
} fg_fit_options;

/* A repair: what was done, in which iteration (0: in the start), to which component (-1: the tied
 * covariance), and the row of its new place, or -1. */
typedef enum { FG_FLOORED, FG_RESEEDED } fg_repair_kind;
typedef struct {
    fg_repair_kind kind;
    int64_t iteration, component, row;
} fg_repair;

/* What happened in a fit. */
typedef struct {
    double *lower_bounds; /* after each iteration */
    int64_t n_bounds, bounds_room;
    fg_repair *repairs;
    int64_t n_repairs, repairs_room;
} fg_history;

void fg_history_free(fg_history *history);

/* Of the kept start. lower_bound: before a fit, that of the given parameters' own last iteration,
 * -infinity where there was none. history: zero before a fit, freed by the caller. */
typedef struct {
    double lower_bound;
    int64_t n_iter;
    int converged;
    fg_history history;
} fg_fit_result;

/* given: starting values that replace those of the start, where not NULL; covariances go with
 * precisions_cholesky. */
fg_status fg_fit(fg_context *context, const fg_shape *shape, const fg_fit_options *options,
                 const fg_parameters *given, uint64_t seed, fg_parameters *out_parameters,
                 fg_fit_result *out_result);

/* batch: many fits, their problems shared out among the threads */

/* Problem i has the rows offsets[i] .. offsets[i + 1] - 1 of rows, and i gaps before them; or,
 * where each is given, so many rows of its own. */
typedef struct {
    int64_t n_problems, n_features;
    const int64_t *offsets; /* n_problems + 1 */
    fg_data rows;
    int64_t gap; /* elements between the end of a problem and the next; sample_weight has none */
    const fg_data *each;  /* n_problems, or NULL */
    const int64_t *order; /* n_problems: in which they are begun, the largest first */
} fg_problems;

/* How a problem ended: every status and what it means. Up to FG_TOO_FEW_DISTINCT_ROWS there may be
 * a mixture; of the statuses after it, only FG_REPAIRED has one. Python's BatchStatus is made from
 * this list; numbers in saved results must keep their meaning. */
#define FG_EACH_BATCH_STATUS(X)                                                                    \
    X(CONVERGED, "converged")                                                                      \
    X(NOT_CONVERGED, "did not converge within max_iter")                                           \
    X(EMPTY_COMPONENT, "a component lost all its rows: its weight is 0")                           \
    X(CONSTANT_ROWS, "all rows are the same")                                                      \
    X(TOO_FEW_DISTINCT_ROWS, "fewer distinct rows than components")                                \
    X(TOO_FEW_ROWS, "fewer rows than components, or fewer than two")                               \
    X(ROWS_NOT_FINITE, "NaN or infinity in the rows")                                              \
    X(BAD_SAMPLE_WEIGHT, "sample weights negative, not finite, or all zero")                       \
    X(SINGULAR_COVARIANCE, "a covariance is singular; raise reg_covar, or scale the data")         \
    X(ROWS_OUT_OF_REACH, "rows beyond the reach of every component; scale the data")               \
    X(OUT_OF_MEMORY, "no memory left")                                                             \
    X(NOT_RUN, "not run: the call was stopped")                                                    \
    X(REPAIRED, "degenerate components were repaired")

typedef enum {
#define FG_BATCH_STATUS(name, meaning) FG_##name,
    FG_EACH_BATCH_STATUS(FG_BATCH_STATUS)
#undef FG_BATCH_STATUS
} fg_batch_status;

const char *fg_batch_status_name(int i); /* without its prefix; NULL after the last */
const char *fg_batch_status_meaning(int i);

/* Every problem is fitted with each of n_candidates numbers of components; the one with the least
 * criterion is kept. given: for all problems, or where given_each, problem after problem; only with
 * a single candidate. */
typedef struct {
    fg_layout layout;
    fg_fit_options fit;
    const int64_t *candidates;
    int64_t n_candidates;
    int by_aic; /* the criterion: BIC or AIC */
    fg_parameters given;
    int weights_each, means_each, precisions_each;
    const uint32_t *seeds; /* n_problems */
} fg_batch_options;

/* Room for the largest candidate K in every problem; what is not written stays as it was. */
typedef struct {
    fg_parameters parameters;
    double *lower_bound, *bic, *aic; /* n_problems */
    double *criteria;                /* n_problems x n_candidates */
    int64_t *n_iter, *n_components;  /* n_problems */
    int8_t *status;                  /* n_problems, of fg_batch_status */
    uint8_t *converged;              /* n_problems */
} fg_batch_result;

fg_status fg_fit_batch(fg_context *context, const fg_problems *problems,
                       const fg_batch_options *options, fg_batch_result *out);

/* Parameters as in fg_batch_result, with room for max_components; of those a problem has
 * n_components, 0 where it has no mixture. */
typedef struct {
    fg_layout layout;
    int64_t max_components;
    const int64_t *n_components;
    fg_parameters parameters;
    fg_output output;
} fg_score_batch_options;

/* Scores every row by its own problem's mixture, in the order of the problems. Responsibilities are
 * written in rows of max_components. Where there is no value, all bits are set: NaN, and -1.
 * FG_NOT_FINITE comes with the first problem whose rows are not. */
fg_status fg_score_batch(fg_context *context, const fg_problems *problems,
                         const fg_score_batch_options *options, void *out, int64_t *out_problem);

#endif
