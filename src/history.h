/* The record of a fit, written as it proceeds. */
#ifndef FG_HISTORY_H
#define FG_HISTORY_H

#include "fusedgmm.h"

/* Both return 0 without memory. */
int fg_history_add_bound(fg_history *history, double lower_bound);
int fg_history_add_repair(fg_history *history, fg_repair repair);

#endif
