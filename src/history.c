/* The record of a fit. See history.h. */
#include "history.h"

#include <stdlib.h>

/* Makes room for one more element; returns the elements, possibly moved, or NULL. */
static void *grow(void *elements, size_t size, int64_t count, int64_t *room) {
    if (count < *room)
        return elements;
    const int64_t more = *room ? 2 * *room : 32;
    void *moved = realloc(elements, (size_t)more * size);
    if (moved)
        *room = more;
    return moved;
}

int fg_history_add_bound(fg_history *h, double lower_bound) {
    double *bounds = grow(h->lower_bounds, sizeof *bounds, h->n_bounds, &h->bounds_room);
    if (!bounds)
        return 0;
    h->lower_bounds = bounds;
    bounds[h->n_bounds++] = lower_bound;
    return 1;
}

int fg_history_add_repair(fg_history *h, fg_repair repair) {
    fg_repair *repairs = grow(h->repairs, sizeof *repairs, h->n_repairs, &h->repairs_room);
    if (!repairs)
        return 0;
    h->repairs = repairs;
    repairs[h->n_repairs++] = repair;
    return 1;
}

void fg_history_free(fg_history *h) {
    free(h->lower_bounds);
    free(h->repairs);
    *h = (fg_history){0};
}
