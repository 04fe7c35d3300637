/* Interrupts at every polling point of a fit: the fit reports the interrupt and polls no more. And
 * there is a polling point wherever work may take long.
 *
 * Linked with --wrap for clock_gettime: the clock runs fast, so that no poll is skipped because the
 * last one was a moment ago. */
#include <string.h>
#include <time.h>

#include "calls.h"
#include "check.h"
#include "instruction_sets.h"
#include "mixture.h"
#include "random.h"

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

int __wrap_clock_gettime(clockid_t clock, struct timespec *out) {
    static time_t now;
    (void)clock;
    *out = (struct timespec){.tv_sec = ++now};
    return 0;
}

typedef struct {
    int64_t asked, stops_at; /* 0: never */
} user;

static int ask(void *context) {
    user *u = context;
    return ++u->asked == u->stops_at;
}

static fg_status fit(const mixture *m, const samples *s, fg_start start, int repair, user *u) {
    const int accelerate = start == FG_START_RANDOM; /* with a trial in the third pass */
    const fg_fit_options options = {.start = start,
                                    .n_init = 1,
                                    .max_iter = accelerate ? 4 : 2,
                                    .m_step.reg_covar = 1e-3,
                                    .repair = repair,
                                    .accelerate = accelerate};
    const fg_parameters nothing = {NULL, NULL, NULL, NULL};
    fg_parameters parameters = parameters_new(&m->shape);
    fg_monitor monitor = {.poll = ask, .context = u};
    fg_fit_result result = {0};
    const fg_status status =
        fg_fit(ON(&s->data, 1, &monitor), &m->shape, &options, &nothing, 1, &parameters, &result);
    fg_history_free(&result.history);
    parameters_free(&parameters);
    return status;
}

/* least: minimum number of polls of a fit, for any start. */
static void test_every_question(fg_shape shape, int64_t n_rows, int64_t least) {
    enum { STOPS = 12 };
    mixture m = mixture_new(shape, 2, 1);
    samples s = samples_new(&m, FG_FLOAT64, n_rows, 0, 2);
    for (fg_start start = FG_START_KMEANS; start <= FG_START_DATA; start++) {
        user patient = {0, 0};
        CONTEXT("%s K=%lld d=%lld start %d", layout_name(shape.layout),
                (long long)shape.n_components, (long long)shape.n_features, (int)start);
        CHECK(fit(&m, &s, start, 0, &patient) == FG_OK, "no fit");
        CHECK(patient.asked >= least, "only %lld questions", (long long)patient.asked);
        const int64_t step = patient.asked / STOPS + 1;
        for (int64_t n = 1; n <= patient.asked; n += step) {
            user impatient = {0, n};
            const fg_status status = fit(&m, &s, start, 0, &impatient);
            CHECK(status == FG_INTERRUPTED, "stopped at question %lld of %lld: status %d",
                  (long long)n, (long long)patient.asked, (int)status);
            CHECK(impatient.asked == n, "asked on: %lld", (long long)(impatient.asked - n));
        }
    }
    samples_free(&s);
    mixture_free(&m);
}

/* Work in many small pieces, or in few large ones: checks the minimum number of polls. */
static void test_long_work(fg_shape shape, int64_t n_rows, fg_start start, int repair,
                           int64_t least) {
    const int64_t n = n_rows * shape.n_features;
    const mixture m = {.shape = shape};
    double *x = malloc((size_t)n * sizeof *x);
    const samples s = {.data = {x, FG_FLOAT64, n_rows, shape.n_features, 1, NULL}};
    user patient = {0, 0};
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)(fg_random(1, (uint64_t)i) >> 11) * 0x1p-53;
    CONTEXT("%s K=%lld d=%lld N=%lld start %d repair %d", layout_name(shape.layout),
            (long long)shape.n_components, (long long)shape.n_features, (long long)n_rows,
            (int)start, repair);
    CHECK(fit(&m, &s, start, repair, &patient) == FG_OK, "no fit");
    CHECK(patient.asked >= least, "only %lld questions", (long long)patient.asked);
    free(x);
}

/* An interrupt within a task: the last rows are not reached. */
static void test_stop_within_a_task(void) {
    enum { ROWS = 512 };
    const fg_shape shape = {64, 64, FG_FULL};
    mixture m = mixture_new(shape, 2, 1);
    samples s = samples_new(&m, FG_FLOAT64, ROWS, 0, 2);
    static int64_t labels[ROWS];
    CONTEXT("a task of %d rows", ROWS);
    CHECK(fg_task_count(&shape, ROWS) == 1, "more than a task");
    user patient = {0, 0}, impatient = {0, 0};
    for (int run = 0; run < 2; run++) {
        user *u = run ? &impatient : &patient;
        fg_monitor monitor = {.poll = ask, .context = u};
        impatient.stops_at = patient.asked - 2; /* long after the preparation of the parameters */
        memset(labels, 0xff, sizeof labels);
        const fg_status status =
            fg_score(ON(&s.data, 1, &monitor), &shape, &m.parameters, FG_OUTPUT_LABELS, labels);
        CHECK(status == (run ? FG_INTERRUPTED : FG_OK), "status %d", (int)status);
        CHECK((labels[ROWS - 1] == -1) == run, "the last row has label %lld",
              (long long)labels[ROWS - 1]);
    }
    samples_free(&s);
    mixture_free(&m);
}

int main(void) {
    EACH_INSTRUCTION_SET(isa) {
        test_stop_within_a_task();
        test_every_question((fg_shape){2, 3, FG_FULL}, 100, 1);
        /* a start and two M steps factor and invert each matrix: row by row, or, if it is large,
         * by tiles of 48 rows and columns, of which there are 6 x 7 / 2 */
        test_every_question((fg_shape){2, 128, FG_FULL}, 30, 3 * 2 * 2 * 128);
        test_every_question((fg_shape){3, 128, FG_TIED}, 30, 3 * 2 * 128);
        test_every_question((fg_shape){2, 260, FG_FULL}, 30, 3 * 2 * 2 * 21);
        test_every_question((fg_shape){3, 260, FG_TIED}, 30, 3 * 2 * 21);
        /* a start factors twice, two M steps and every repair before and after them once */
        test_long_work((fg_shape){100, 40, FG_FULL}, 200, FG_START_DATA, 0, 4 * 100);
        test_long_work((fg_shape){100, 40, FG_FULL}, 200, FG_START_DATA, 1, 7 * 100);
        /* three tries: seeds from six candidates each, then their inertia */
        test_long_work((fg_shape){128, 2, FG_SPHERICAL}, 32768, FG_START_KMEANS, 0,
                       3 * 128 * (6 * 2 + 1 + 2));
        /* a block of this many features is loaded and checked in strips, four times */
        test_long_work((fg_shape){1, 20000, FG_DIAG}, 40, FG_START_DATA, 0, 4 * (20000 / 64));
    }
    return check_result();
}
