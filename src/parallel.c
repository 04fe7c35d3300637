/* The only OpenMP of the tree. See parallel.h. */
#define _POSIX_C_SOURCE 200809L
#include "parallel.h"

#include <stdatomic.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif

int fg_openmp_max_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

int fg_openmp_version(void) {
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}

#if defined(__unix__) || defined(__APPLE__)
/* libgomp's threads do not survive fork, and a child that starts a region would wait for them for
 * ever. Giving the forking thread's pool back beforehand cures parent and child alike. */
static void before_fork(void) {
    /* OpenMP 5.0; gcc has it since 9, where _OPENMP still says 4.5 */
#if defined(_OPENMP) && (_OPENMP >= 201811 || (defined(__GNUC__) && __GNUC__ >= 9))
    if (!omp_in_parallel())
        omp_pause_resource_all(omp_pause_soft);
#endif
}
#endif

int fg_parallel_install_fork_guard(void) {
#if defined(__unix__) || defined(__APPLE__)
    return pthread_atfork(before_fork, NULL, NULL);
#else
    return 0;
#endif
}

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
    const double now = seconds();
    if (now - monitor->last_poll < 0.02)
        return 0;
    monitor->last_poll = now;
    return monitor->poll(monitor->context) != 0;
}

typedef struct {
    void (*work)(int64_t task, int thread, void *context);
    void *context;
    fg_monitor *monitor;
    atomic_int stopped, busy; /* busy: threads that may still have a task */
} crew;

/* Returns whether the task was run: not after the user's stop. */
static int run_task(crew *c, int64_t task, int thread) {
    if (atomic_load_explicit(&c->stopped, memory_order_relaxed))
        return 0;
    c->work(task, thread, c->context);
    if (thread == 0 && fg_parallel_poll(c->monitor))
        atomic_store_explicit(&c->stopped, 1, memory_order_relaxed);
    return 1;
}

#ifdef _OPENMP
static void sleep_for(long microseconds) {
#ifdef _WIN32
    Sleep((DWORD)((microseconds + 999) / 1000));
#else
    nanosleep(&(struct timespec){0, 1000 * microseconds}, NULL);
#endif
}

/* A barrier would keep the calling thread from the user's interrupt while another thread is deep in
 * a long task. Naps grow with the wait, so that a short one costs little. */
static void wait_for_others(crew *c) {
    long nap = 10;
    while (atomic_load(&c->busy) > 0) {
        sleep_for(nap);
        if (nap < 5000)
            nap *= 2;
        if (fg_parallel_poll(c->monitor))
            atomic_store_explicit(&c->stopped, 1, memory_order_relaxed);
    }
}
#endif

fg_status fg_parallel_run(int64_t n_tasks, int n_threads, fg_monitor *monitor,
                          void (*work)(int64_t task, int thread, void *context),
                          void (*merge)(int64_t task, int thread, void *context), void *context) {
    crew c = {.work = work, .context = context, .monitor = monitor};
#ifndef _OPENMP
    n_threads = 1;
#endif
    if (n_threads > n_tasks)
        n_threads = n_tasks > 1 ? (int)n_tasks : 1;
    if (n_threads <= 1) { /* no region: a tiny call must not start threads */
        for (int64_t task = 0; task < n_tasks; task++)
            if (run_task(&c, task, 0) && merge)
                merge(task, 0, context);
    }
#ifdef _OPENMP
    else if (merge) {
#pragma omp parallel for ordered schedule(dynamic, 1) num_threads(n_threads)
        for (int64_t task = 0; task < n_tasks; task++) {
            const int thread = omp_get_thread_num();
            const int was_run = run_task(&c, task, thread);
#pragma omp ordered
            if (was_run)
                merge(task, thread, context);
        }
    } else {
#pragma omp parallel num_threads(n_threads)
        {
            const int thread = omp_get_thread_num();
            atomic_fetch_add(&c.busy, 1);
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t task = 0; task < n_tasks; task++)
                run_task(&c, task, thread);
            atomic_fetch_sub(&c.busy, 1);
            if (thread == 0)
                wait_for_others(&c);
        }
    }
#endif
    return c.stopped ? FG_INTERRUPTED : FG_OK;
}
