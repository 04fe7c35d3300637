/* The thread functions that team.c needs: POSIX, macOS, Windows. */
#ifndef FG_THREAD_H
#define FG_THREAD_H

#include <stdint.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>

typedef HANDLE fg_signal;
static inline int fg_signal_open(fg_signal *s) {
    *s = CreateSemaphoreA(NULL, 0, 1 << 30, NULL);
    return *s != NULL;
}
static inline void fg_signal_send(fg_signal *s) { ReleaseSemaphore(*s, 1, NULL); }
static inline void fg_signal_wait(fg_signal *s) { WaitForSingleObject(*s, INFINITE); }
static inline double fg_seconds(void) {
    LARGE_INTEGER now, rate;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&rate);
    return (double)now.QuadPart / (double)rate.QuadPart;
}
static inline void fg_sleep(int64_t microseconds) { Sleep((DWORD)((microseconds + 999) / 1000)); }
static inline void fg_yield(void) { SwitchToThread(); }
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#ifdef __APPLE__
#include <dispatch/dispatch.h>

typedef dispatch_semaphore_t fg_signal;
static inline int fg_signal_open(fg_signal *s) {
    *s = dispatch_semaphore_create(0);
    return *s != NULL;
}
static inline void fg_signal_send(fg_signal *s) { dispatch_semaphore_signal(*s); }
static inline void fg_signal_wait(fg_signal *s) {
    dispatch_semaphore_wait(*s, DISPATCH_TIME_FOREVER);
}
#else
#include <semaphore.h>

/* A semaphore: the sender never waits for the thread it wakes, as it might with a lock. */
typedef sem_t fg_signal;
static inline int fg_signal_open(fg_signal *s) { return sem_init(s, 0, 0) == 0; }
static inline void fg_signal_send(fg_signal *s) { sem_post(s); }
static inline void fg_signal_wait(fg_signal *s) {
    while (sem_wait(s) != 0) /* a signal handler ran */
        ;
}
#endif
static inline double fg_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static inline void fg_sleep(int64_t microseconds) {
    nanosleep(&(struct timespec){0, 1000 * (long)microseconds}, NULL);
}
static inline void fg_yield(void) { sched_yield(); }
#endif

/* Tells the CPU that this thread is waiting in a loop. */
static inline void fg_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One round of a short waiting loop. Every 64th round yields the CPU to other threads, which may
 * include the one this loop waits for. */
static inline void fg_spin(int round) {
    if (round % 64 == 63)
        fg_yield();
    else
        fg_pause();
}

#endif
