/* Counts failures and prints them with their context. */
#ifndef FG_CHECK_H
#define FG_CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char check_context[200]; /* what is being tested, printed with a failure */
static long check_count, check_failures;

#define CONTEXT(...) snprintf(check_context, sizeof check_context, __VA_ARGS__)
#define CHECK(ok, ...)                                                                             \
    do {                                                                                           \
        check_count++;                                                                             \
        if (!(ok) && ++check_failures <= 20) {                                                     \
            fprintf(stderr, "%s:%d, %s: ", __func__, __LINE__, check_context);                     \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)

/* Returns the exit status. A test without any check has failed. */
static inline int check_result(void) {
    printf("%ld checks, %ld failed\n", check_count, check_failures);
    return check_failures || !check_count;
}

#endif
