/* What happened in a fit, kept as it goes. */
#ifndef FG_HISTORY_H
#define FG_HISTORY_H

#include "fusedgmm.h"

/* Return 0 where there is no memory. */
int fg_history_add_bound(fg_history *history, double lower_bound);
int fg_history_add_repair(fg_history *history, fg_repair repair);

#endif
