/* The parameters, laid out for the kernels. */

/* U, for d up to SMALL_FEATURES: its columns, upper part only. For larger d: panels of PANEL
 * columns, the last panel first; a panel has its rows above the diagonal block, then that block's
 * upper triangle by rows. */
static int64_t factor_count(const fg_shape *shape) {
    const int64_t d = shape->n_features, triangle = d * (d + 1) / 2;
    switch (shape->layout) {
    case FG_FULL: return shape->n_components * triangle;
    case FG_TIED: return triangle;
    case FG_DIAG: return shape->n_components * d;
    default: return 0;
    }
}

/* The narrowest components have precisions beyond float, and no difference times infinity is no
 * number. */
static real in_range(double x) {
    const double most = sizeof(real) == 8 ? DBL_MAX : (double)FLT_MAX;
    return (real)(x > most ? most : x < -most ? -most : x);
}

static void pack_factor(const double *u, int64_t d, double share, real *out) {
    if (d <= SMALL_FEATURES) {
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i <= j; i++)
                *out++ = in_range(share * u[i * d + j]);
        return;
    }
    for (int64_t j0 = (d - 1) / PANEL * PANEL; j0 >= 0; j0 -= PANEL) {
        const int64_t end = j0 + PANEL < d ? j0 + PANEL : d;
        for (int64_t i = 0; i < end; i++)
            for (int64_t j = i > j0 ? i : j0; j < end; j++)
                *out++ = in_range(share * u[i * d + j]);
    }
}

enum { N_MODEL_PARTS = 9 };

static size_t model_parts(const fg_shape *shape, size_t at[N_MODEL_PARTS + 1]) {
    const int64_t k = shape->n_components, d = shape->n_features;
    const int64_t count[N_MODEL_PARTS] = {k * d, k * d, factor_count(shape), k * d, d, k * d, k,
                                          k,     k};
    at[0] = 0;
    for (int i = 0; i < N_MODEL_PARTS; i++)
        at[i + 1] = at[i] + ALIGNED((size_t)count[i] * sizeof(real));
    return at[N_MODEL_PARTS];
}

static size_t model_bytes(const fg_shape *shape) {
    size_t at[N_MODEL_PARTS + 1];
    return model_parts(shape, at);
}

/* log of a product of positive numbers, with one log for all of them. */
static double log_product(const double *x, int64_t n, int64_t step) {
    double mantissa = 1;
    int64_t exponents = 0;
    for (int64_t i = 0; i < n; i++) {
        int of_factor, of_product;
        mantissa = frexp(mantissa * frexp(x[i * step], &of_factor), &of_product);
        exponents += of_factor + of_product;
    }
    return log(mantissa) + (double)exponents * 0.69314718055994531;
}

/* out = scale (mean - from) U. In double the means are their own shift, and there is nothing to do.
 */
static void multiply_upper(const double *mean, const real *from, const double *u, int64_t d,
                           double scale, real *out) {
    int apart = 0;
    for (int64_t i = 0; i < d; i++)
        apart |= mean[i] != (double)from[i];
    for (int64_t j = 0; j < d; j++) {
        double along = 0;
        for (int64_t i = 0; apart && i <= j; i++)
            along += (mean[i] - (double)from[i]) * u[i * d + j];
        out[j] = in_range(scale * along);
    }
}

/* Responsibilities below the component's weight times this cannot change its sums. */
#define NEGLIGIBLE (sizeof(real) == 8 ? 0x1p-64 : 0x1p-36)
/* An offset below so many standard deviations cannot change a density. */
#define UNSEEN (sizeof(real) == 8 ? 0x1p-50 : 0x1p-22)

static void prepare(const fg_shape *shape, const fg_parameters *parameters,
                    fg_assignment assignment, const fg_shift_choice *choice, void *memory,
                    fg_monitor *monitor, double *out_shift, fg_model *out) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const fg_layout layout = shape->layout;
    size_t at[N_MODEL_PARTS + 1];
    model_parts(shape, at);
    char *m = memory;
    real *shift = (real *)(m + at[0]), *mean_rounding = (real *)(m + at[1]),
         *factor = (real *)(m + at[2]);
    real *offset = (real *)(m + at[3]), *centre = (real *)(m + at[4]),
         *whitened_means = (real *)(m + at[5]);
    real *scale = (real *)(m + at[6]), *log_scale = (real *)(m + at[7]);
    real *threshold = (real *)(m + at[8]);
    const double *u = parameters->precisions_cholesky;
    const int common = choice->shift && choice->common;
    for (int64_t i = 0; i < d; i++) {
        double mean = 0;
        for (int64_t k = 0; k < k_count; k++)
            mean += parameters->weights[k] * parameters->means[k * d + i];
        centre[i] = (real)(common ? choice->shift[i] : mean);
    }
    double largest_rounding = 0, log_det = 0;
    const int64_t numbers = layout == FG_FULL ? d * d : d;
    for (int64_t k = 0; k < k_count && !fg_parallel_poll_piece(k, numbers, monitor); k++) {
        const double *mean = parameters->means + k * d;
        double *s = out_shift + k * d;
        /* a component of weight zero has no density anywhere, however narrow it is */
        const int alive = parameters->weights[k] > 0;
        for (int64_t i = 0; i < d; i++) {
            shift[k * d + i] = (real)(choice->shift ? choice->shift[k * d + i] : mean[i]);
            s[i] = (double)shift[k * d + i];
        }
        if (layout == FG_FULL) {
            multiply_upper(mean, shift + k * d, u + k * d * d, d, -alive, offset + k * d);
            log_det = log_product(u + k * d * d, d, d + 1);
        } else if (layout == FG_TIED) {
            multiply_upper(mean, centre, u, d, 1, whitened_means + k * d);
            log_det = k ? log_det : log_product(u, d, d + 1);
        } else {
            for (int64_t j = 0; j < d; j++) {
                const double precision = layout == FG_DIAG ? u[k * d + j] : u[k];
                const double beside = mean[j] - s[j];
                mean_rounding[k * d + j] = (real)beside;
                offset[k * d + j] = alive ? in_range(-beside * precision) : 0;
                if (layout == FG_DIAG)
                    factor[k * d + j] = alive ? in_range(precision) : 0;
                /* not fmax: gcc 12 for aarch64 breaks down vectorizing its reduction */
                const double apart = fabs(beside) * precision;
                largest_rounding = apart > largest_rounding ? apart : largest_rounding;
            }
            log_det = layout == FG_DIAG ? log_product(u + k * d, d, 1) : (double)d * log(u[k]);
        }
        if (layout == FG_FULL)
            pack_factor(u + k * d * d, d, alive, factor + k * (d * (d + 1) / 2));
        const int own_scale = layout == FG_SPHERICAL && alive;
        scale[k] = own_scale ? in_range(-0.5 * u[k] * u[k]) : (real)-0.5;
        /* Distances alone decide for k-means: beside a large constant they would lose digits. */
        log_scale[k] = assignment == FG_NEAREST ? 0
                                                : (real)(log(parameters->weights[k]) + log_det -
                                                         0.5 * (double)d * 1.8378770664093453);
        threshold[k] = (real)(parameters->weights[k] * NEGLIGIBLE);
    }
    if (layout == FG_TIED)
        pack_factor(u, d, 1, factor);
    /* Spherical distances are about the mean itself, in two pieces; so are their sums. */
    const int seen = largest_rounding > UNSEEN;
    if (layout == FG_SPHERICAL && seen && !choice->shift)
        for (int64_t i = 0; i < k_count * d; i++)
            out_shift[i] += (double)mean_rounding[i];
    *out = (fg_model){.shape = *shape,
                      .assignment = assignment,
                      .common = common,
                      .recentred = choice->shift != NULL,
                      .weight_scale = 1,
                      .sums_scale = 1,
                      .shift = shift,
                      .mean_rounding = seen ? mean_rounding : NULL,
                      .factor = factor,
                      .offset = offset,
                      .centre = centre,
                      .whitened_means = whitened_means,
                      .scale = scale,
                      .log_scale = log_scale,
                      .threshold = threshold};
}
