/* Accelerates EM by extrapolation: SQUAREM. */
#ifndef FG_ACCELERATE_H
#define FG_ACCELERATE_H

#include "fusedgmm.h"

/* Where a cycle stands; stored as doubles. */
typedef struct {
    double length, max_length; /* of the trial, and its limit */
    double n_steps, has_trial;
} fg_cycle;

/* A cycle: two steps of EM, t0 -> t1 -> t2, and a trial extrapolated from them. */
typedef struct {
    fg_context *context;
    const fg_shape *shape;
    double *memory; /* begins with the state of the cycle, t0 and the trial */
    fg_cycle *cycle;
    fg_parameters x[3];  /* coordinates of t0, t1, t2; later t0, and first and second differences */
    fg_parameters trial; /* the extrapolated mixture */
    double *rows;        /* scratch memory */
} fg_accelerator;

fg_status fg_accelerator_open(fg_context *context, const fg_shape *shape, fg_accelerator *out);
void fg_accelerator_close(fg_accelerator *accelerator);
void fg_accelerator_restart(fg_accelerator *accelerator); /* for the next start */
/* Continues from the memory of another accelerator. */
void fg_accelerator_resume(fg_accelerator *accelerator, const double *memory);
/* Begins a new cycle at the next step: a step did not follow from the one before. */
void fg_accelerator_renew(fg_accelerator *accelerator);
/* Takes the EM step from one mixture to the next; after the second step of a cycle there may be a
 * trial. */
fg_status fg_accelerator_add(fg_accelerator *accelerator, const fg_parameters *from,
                             const fg_parameters *to);
/* Ends the cycle: the trial was accepted as the next iterate, or not. */
void fg_accelerator_judge(fg_accelerator *accelerator, int accepted);

#endif
