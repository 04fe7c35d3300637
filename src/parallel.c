/* The only OpenMP of the tree. See parallel.h. */
#define _GNU_SOURCE
#include "parallel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#define FG_POSIX
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#endif

int fg_openmp_version(void) {
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}

/* ---- processes ---- */

static atomic_int callers; /* calls that run now, in any thread */
static atomic_int alone;   /* a child whose runtime cannot start a region any more */

int fg_openmp_max_threads(void) {
#ifdef _OPENMP
    return atomic_load_explicit(&alone, memory_order_relaxed) ? 1 : omp_get_max_threads();
#else
    return 1;
#endif
}

#ifdef FG_POSIX
static atomic_int forks;       /* so far: each gave back the forking thread's pool */
static int forks_go_unnoticed; /* by the runtime */

#ifdef _OPENMP
/* LLVM's and Intel's runtime, told by a function of its own, looks after forks itself, unless
 * KMP_INIT_AT_FORK forbids it when the runtime begins: importing scikit-learn does. */
#ifdef __clang__
static int runtime_is_llvms(void) { return 1; }
#else
extern int kmp_get_blocktime(void) __attribute__((weak));
static int runtime_is_llvms(void) { return kmp_get_blocktime != NULL; }
#endif
static int runtime_ignores_forks(void) {
    const char *setting = getenv("KMP_INIT_AT_FORK");
    omp_get_max_threads(); /* begins, if it has not: what is set later does not matter any more */
    return runtime_is_llvms() && setting && *setting && strchr("fFnN0", *setting);
}
#else
static int runtime_ignores_forks(void) { return 0; }
#endif

/* The threads of OpenMP do not survive a fork, and a child that starts a region would wait for them
 * for ever. Giving the forking thread's pool back beforehand cures parent and child alike. LLVM's
 * runtime does that by itself; where it is told not to, giving back does not help (omp_pause_hard
 * now and then waits for ever), and the child does with one thread. */
static void before_fork(void) {
    /* OpenMP 5.0; gcc has it since 9, where _OPENMP still says 4.5 */
#if defined(_OPENMP) && (_OPENMP >= 201811 || (defined(__GNUC__) && __GNUC__ >= 9))
    if (!omp_in_parallel() && !forks_go_unnoticed)
        omp_pause_resource_all(omp_pause_soft);
#endif
    atomic_fetch_add(&forks, 1);
}

/* The calls of the parent's other threads do not run here. */
static void in_child(void) {
    atomic_store(&callers, 0);
    atomic_store(&alone, forks_go_unnoticed);
}
#endif

static size_t stack_bytes; /* of OpenMP's threads; 0: what the system gives */

/* OMP_STACKSIZE: a number and one of B, K, M, G; K where it has none. */
static size_t stack_size_wanted(void) {
    const char *text = getenv("OMP_STACKSIZE");
    if (!text)
        text = getenv("GOMP_STACKSIZE");
    char *end = NULL;
    const double number = text ? strtod(text, &end) : 0;
    if (!(number > 0))
        return 0;
    while (*end == ' ')
        end++;
    const char unit = *end;
    const double scale = unit == 'B' || unit == 'b'   ? 1
                         : unit == 'M' || unit == 'm' ? 1 << 20
                         : unit == 'G' || unit == 'g' ? 1 << 30
                                                      : 1 << 10;
    return number * scale < 1e15 ? (size_t)(number * scale) : 0;
}

int fg_parallel_install(void) {
    stack_bytes = stack_size_wanted();
#ifdef FG_POSIX
    forks_go_unnoticed = runtime_ignores_forks();
    return pthread_atfork(before_fork, NULL, in_child);
#else
    return 0;
#endif
}

void fg_call_begin(int n_threads, fg_call *out_call) {
    const int others = atomic_fetch_add(&callers, 1);
    const int share = others > 0 ? (n_threads + others) / (others + 1) : n_threads;
    out_call->n_threads = share > 1 ? share : 1;
    fegetenv(&out_call->environment);
    fesetenv(FE_DFL_ENV);
}

void fg_call_end(const fg_call *call) {
    fesetenv(&call->environment);
    atomic_fetch_sub(&callers, 1);
}

/* ---- threads that can be had ---- */

#if defined(FG_POSIX) && defined(_OPENMP)
typedef struct {
    pthread_t thread;
    pthread_mutex_t *gate;
    long id;
} candidate;

static void *wait_at_gate(void *context) {
    candidate *c = context;
#ifdef __linux__
    c->id = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(c->gate);
    pthread_mutex_unlock(c->gate);
    return NULL;
}

/* A thread that has been joined still counts against the limits until the kernel forgets it. */
static void wait_until_forgotten(const candidate *c) {
#ifdef __linux__
    for (int i = 0; i < 10000 && syscall(SYS_tgkill, getpid(), c->id, 0) == 0; i++)
        sched_yield();
#else
    (void)c;
#endif
}

/* How many of n threads can be started beside this one, all at once. */
static int try_threads(int n) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t attributes;
    candidate *all = calloc((size_t)n, sizeof *all);
    int started = 0;
    if (!all || pthread_attr_init(&attributes)) {
        free(all);
        return 0;
    }
    if (stack_bytes > 0)
        pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_mutex_lock(&gate);
    for (; started < n; started++) {
        all[started].gate = &gate;
        if (pthread_create(&all[started].thread, &attributes, wait_at_gate, &all[started]))
            break;
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++)
        pthread_join(all[i].thread, NULL);
    for (int i = 0; i < started; i++)
        wait_until_forgotten(&all[i]);
    pthread_attr_destroy(&attributes);
    free(all);
    return started;
}

/* An OpenMP runtime ends the process when it cannot start a thread. So those that it would have to
 * start are started here first. It keeps the threads of the last region for the next one: most
 * calls have nothing to do here. */
static int threads_to_be_had(int n_threads) {
    static _Thread_local int had, had_at_fork;
    const int now = atomic_load_explicit(&forks, memory_order_relaxed);
    if (had == 0 || had_at_fork != now) {
        had = 1;
        had_at_fork = now;
    }
    if (n_threads > had)
        had += try_threads(n_threads - had);
    else
        had = n_threads; /* the runtime lets the others go */
    return had;
}
#else
static int threads_to_be_had(int n_threads) { return n_threads; }
#endif

/* ---- work ---- */

#ifdef _WIN32
static double seconds(void) { return 1e-3 * (double)GetTickCount64(); }
#else
static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif

int fg_parallel_poll(fg_monitor *monitor) {
    if (!monitor || !monitor->poll)
        return 0;
    if (monitor->stopped)
        return 1;
    const double now = seconds();
    if (now - monitor->last_poll < 0.02)
        return 0;
    monitor->last_poll = now;
    monitor->stopped = monitor->poll(monitor->context) != 0;
    return monitor->stopped;
}

typedef struct {
    void (*work)(int64_t task, int thread, fg_monitor *monitor, void *context);
    void (*merge)(int64_t task, int thread, void *context); /* or NULL */
    void *context;
    int64_t n_tasks;
    fg_monitor *monitor;
    atomic_int stopped;
    /* tasks that have been taken, tasks that have been merged, threads that have no more to do */
    atomic_int_fast64_t taken, merged, left;
} team;

static int poll_team(void *context) {
    return atomic_load_explicit(&((team *)context)->stopped, memory_order_relaxed);
}

/* Asks the user, on the calling thread. */
static int ask(team *c) {
    if (fg_parallel_poll(c->monitor))
        atomic_store_explicit(&c->stopped, 1, memory_order_relaxed);
    return poll_team(c);
}

static void sleep_for(long microseconds) {
#ifdef _WIN32
    Sleep((DWORD)((microseconds + 999) / 1000));
#else
    nanosleep(&(struct timespec){0, 1000 * microseconds}, NULL);
#endif
}

/* Waits until a count has come so far, or the user stops. A barrier, or OpenMP's ordered, would
 * keep the calling thread from the user's interrupt while another thread is deep in a long task.
 * Most waits are short: spin for some milliseconds, and let others that want this CPU have it; then
 * take naps, an eighth of the wait at most, for the nap is what the next task comes too late by. */
static void wait_for(team *c, int thread, const atomic_int_fast64_t *count, int64_t goal) {
    enum { SPINS = 100000, YIELD = 256, SHORT_NAP = 20, LONG_NAP = 2500 }; /* microseconds */
    int spins = 0, nap = SHORT_NAP;
    while (atomic_load_explicit(count, memory_order_acquire) < goal && !poll_team(c)) {
        if (spins < SPINS) {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#endif
            if (++spins % YIELD != 0)
                continue;
#ifdef FG_POSIX
            sched_yield(); /* on a busy machine that takes milliseconds */
#endif
        } else {
            sleep_for(nap);
            nap += nap < LONG_NAP ? nap / 8 : 0;
        }
        if (thread == 0)
            ask(c);
    }
}

/* A thread takes one task after another, until there are none or the user stops; what is left then
 * stays undone. The user is for the calling thread to ask. */
static void take_part(team *c, int thread) {
    fg_monitor others = {.poll = poll_team, .context = c};
    while (!poll_team(c)) {
        const int64_t task = atomic_fetch_add(&c->taken, 1);
        if (task >= c->n_tasks)
            break;
        c->work(task, thread, thread == 0 ? c->monitor : &others, c->context);
        if (thread == 0)
            ask(c);
        if (!c->merge)
            continue;
        wait_for(c, thread, &c->merged, task);
        if (poll_team(c)) /* the task may have ended early */
            break;
        c->merge(task, thread, c->context);
        atomic_store_explicit(&c->merged, task + 1, memory_order_release);
    }
    atomic_fetch_add(&c->left, 1);
}

static void run_team(team *c, int n_threads) {
#ifdef _OPENMP
    if (n_threads > 1) { /* no region for one: a tiny call must not start threads */
#pragma omp parallel num_threads(n_threads)
        {
            const int thread = omp_get_thread_num();
            fenv_t environment; /* of the time when the runtime started the thread */
            if (thread != 0) {
                fegetenv(&environment);
                fesetenv(FE_DFL_ENV);
            }
            take_part(c, thread);
            if (thread == 0) /* there may be fewer threads than were asked for */
                wait_for(c, thread, &c->left, omp_get_num_threads());
            else
                fesetenv(&environment);
        }
        return;
    }
#else
    (void)n_threads;
#endif
    take_part(c, 0);
}

fg_status fg_parallel_run(int64_t n_tasks, int n_threads, fg_monitor *monitor,
                          void (*work)(int64_t task, int thread, fg_monitor *monitor,
                                       void *context),
                          void (*merge)(int64_t task, int thread, void *context), void *context) {
    if (monitor && monitor->stopped)
        return FG_INTERRUPTED;
    team c = {
        .work = work, .merge = merge, .context = context, .n_tasks = n_tasks, .monitor = monitor};
    if (n_threads > n_tasks)
        n_threads = n_tasks > 1 ? (int)n_tasks : 1;
    if (n_threads > 1)
        n_threads =
            atomic_load_explicit(&alone, memory_order_relaxed) ? 1 : threads_to_be_had(n_threads);
    run_team(&c, n_threads);
    /* On a busy machine the others may have done every task before this thread came to one. */
    return ask(&c) ? FG_INTERRUPTED : FG_OK;
}
