/* Single values of the data, for the code that needs a few. */
#ifndef FG_DATA_H
#define FG_DATA_H

#include "fusedgmm.h"

static inline double fg_data_value(const fg_data *data, int64_t row, int64_t feature) {
    const int64_t at = row * data->row_stride + feature * data->feature_stride;
    return data->real_type == FG_FLOAT32 ? (double)((const float *)data->x)[at]
                                         : ((const double *)data->x)[at];
}

#endif
