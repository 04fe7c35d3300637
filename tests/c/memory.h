/* Memory for the tests: never NULL, or ending where its page does. */
#ifndef FG_TEST_MEMORY_H
#define FG_TEST_MEMORY_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void *allocate(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    return memory;
}

/* Reading one byte behind it is a crash. */
static inline void *guarded_new(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page;
    char *memory =
        mmap(NULL, (pages + 1) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + pages * page, page, PROT_NONE) != 0)
        abort();
    return memory + pages * page - bytes;
}

static inline void guarded_free(void *memory, size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page;
    munmap((char *)memory + bytes - pages * page, (pages + 1) * page);
}

#endif
