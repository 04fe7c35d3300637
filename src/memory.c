/* See memory.h. */
#define _GNU_SOURCE
#include "memory.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "parallel.h"

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20, LARGE = 2 * HUGE_PAGE };

/* Windows has no aligned_alloc, and its free does not accept aligned memory. */
#ifdef _WIN32
#include <malloc.h>
static void *allocate(size_t bytes, size_t alignment) { return _aligned_malloc(bytes, alignment); }
void fg_release(void *memory) { _aligned_free(memory); }
#else
static void *allocate(size_t bytes, size_t alignment) {
    if (alignment <= sizeof(double)) /* much faster */
        return malloc(bytes);
    if (bytes > SIZE_MAX - alignment)
        return NULL;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}
void fg_release(void *memory) { free(memory); }
#endif

static void *on_huge_pages(size_t bytes, size_t otherwise) {
#ifdef MADV_HUGEPAGE
    /* The first touch of a page can take the system longer than a pass needs for its numbers, so
     * use few, large pages. It does no harm if the advice is refused. */
    if (bytes >= LARGE) {
        void *memory = allocate(bytes, HUGE_PAGE);
        if (memory)
            madvise(memory, bytes, MADV_HUGEPAGE);
        return memory;
    }
#endif
    return allocate(bytes, otherwise);
}

double *fg_doubles(size_t count) { return on_huge_pages(count * sizeof(double), sizeof(double)); }

void *fg_cache_lines(size_t bytes) { return on_huge_pages(bytes, CACHE_LINE); }

void fg_clear_large(void *memory, size_t bytes, fg_monitor *monitor) {
    for (size_t at = 0; at < bytes && !fg_parallel_poll(monitor); at += FG_PIECE)
        memset((char *)memory + at, 0, bytes - at < FG_PIECE ? bytes - at : FG_PIECE);
}
