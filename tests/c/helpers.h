/* Helper threads of the core that outlive a call. */
#ifndef FG_TEST_HELPERS_H
#define FG_TEST_HELPERS_H

#include "fusedgmm.h"
#include "thread.h"

/* Ends a call, and waits until no helper uses its memory any more. */
static inline void end_call_and_wait(fg_call *call) {
    fg_lease *lease = fg_call_end(call);
    while (lease && !fg_lease_try_end(lease))
        fg_sleep(100);
}

#endif
