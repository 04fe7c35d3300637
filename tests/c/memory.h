/* Memory for the tests: never NULL, or ending at the end of a page. */
#ifndef FG_TEST_MEMORY_H
#define FG_TEST_MEMORY_H

#include <stdlib.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

static inline void *allocate(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    return memory;
}

#ifdef _WIN32
static inline size_t page_size(void) { return 4096; }
static inline void *new_pages(size_t bytes) {
    return VirtualAlloc(NULL, bytes, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
}
static inline int forbid(void *memory, size_t bytes) {
    DWORD before;
    return VirtualProtect(memory, bytes, PAGE_NOACCESS, &before) ? 0 : -1;
}
static inline void free_pages(void *memory, size_t bytes) {
    (void)bytes;
    VirtualFree(memory, 0, MEM_RELEASE);
}
#else
static inline size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
static inline void *new_pages(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
static inline int forbid(void *memory, size_t bytes) { return mprotect(memory, bytes, PROT_NONE); }
static inline void free_pages(void *memory, size_t bytes) { munmap(memory, bytes); }
#endif

/* Reading one byte after it is a crash. */
static inline void *guarded_new(size_t bytes) {
    const size_t page = page_size(), pages = (bytes + page - 1) / page;
    char *memory = new_pages((pages + 1) * page);
    if (!memory || forbid(memory + pages * page, page) != 0)
        abort();
    return memory + pages * page - bytes;
}

static inline void guarded_free(void *memory, size_t bytes) {
    const size_t page = page_size(), pages = (bytes + page - 1) / page;
    free_pages((char *)memory + bytes - pages * page, (pages + 1) * page);
}

#endif
