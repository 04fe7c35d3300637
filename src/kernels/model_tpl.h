/* Lays the parameters out for the kernels, once per pass. */

/* The arrays of a model, divided from one allocation. */
typedef struct {
    real *shift, *mean_rounding, *factor, *offset, *centre, *whitened_means, *scale, *log_scale;
} model_arrays;

static size_t model_arrays_in(const fg_shape *shape, void *memory, model_arrays *out) {
    const int64_t k_count = shape->n_components, d = shape->n_features, means = k_count * d;
    char *m = memory;
    size_t at = 0;
    at = place(&out->shift, m, at, means);
    at = place(&out->mean_rounding, m, at, means);
    at = place(&out->factor, m, at, (int64_t)fg_moment_count(shape)); /* triangles, too */
    at = place(&out->offset, m, at, means);
    at = place(&out->centre, m, at, d);
    at = place(&out->whitened_means, m, at, means);
    at = place(&out->scale, m, at, k_count);
    return place(&out->log_scale, m, at, k_count);
}

static size_t model_bytes(const fg_shape *shape) {
    model_arrays unused;
    real base;
    return model_arrays_in(shape, &base, &unused);
}

/* Clamps to the range of real: very narrow components have precisions beyond the range of float,
 * and zero times infinity is NaN. */
static real in_range(double x) {
    const double greatest = sizeof(real) == 8 ? DBL_MAX : (double)FLT_MAX;
    return (real)(x > greatest ? greatest : x < -greatest ? -greatest : x);
}

/* Packs scale U. For d up to SMALL_FEATURES: the upper part of its columns. For larger d: panels of
 * PANEL columns, the last panel first. A panel has its rows above the diagonal block, then the
 * upper triangle of that block, row by row. */
static void pack_factor(const double *u, int64_t d, double scale, real *out) {
    if (d <= SMALL_FEATURES) {
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i <= j; i++)
                *out++ = in_range(scale * u[i * d + j]);
        return;
    }
    for (int64_t j0 = (d - 1) / PANEL * PANEL; j0 >= 0; j0 -= PANEL) {
        const int64_t end = j0 + PANEL < d ? j0 + PANEL : d;
        for (int64_t i = 0; i < end; i++)
            for (int64_t j = i > j0 ? i : j0; j < end; j++)
                *out++ = in_range(scale * u[i * d + j]);
    }
}

/* The log of a product of positive numbers, with a single call of log. */
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

/* out = scale (mean - from) U. In double the shift is usually the mean itself, and there is nothing
 * to multiply. */
static void multiply_upper(const double *mean, const real *from, const double *u, int64_t d,
                           double scale, real *out) {
    int differ = 0;
    for (int64_t i = 0; i < d; i++)
        differ |= mean[i] != (double)from[i];
    for (int64_t j = 0; j < d; j++) {
        double sum = 0;
        for (int64_t i = 0; differ && i <= j; i++)
            sum += (mean[i] - (double)from[i]) * u[i * d + j];
        out[j] = in_range(scale * sum);
    }
}

/* A rounding error of a mean below this many standard deviations cannot change a density. */
#define NEGLIGIBLE_ROUNDING (sizeof(real) == 8 ? 0x1p-50 : 0x1p-22)

/* The input and output of the preparation. */
typedef struct {
    int64_t k_count, d;
    const fg_parameters *from;
    fg_assignment assignment;
    fg_monitor *monitor;
    model_arrays to;
} preparation;

/* Sets the centre: the mixture's mean, or the shift common to all components. */
static void prepare_centre(const preparation *p, const double *common_shift) {
    for (int64_t i = 0; i < p->d; i++) {
        double mean = 0;
        for (int64_t k = 0; k < p->k_count; k++)
            mean += p->from->weights[k] * p->from->means[k * p->d + i];
        p->to.centre[i] = (real)(common_shift ? common_shift[i] : mean);
    }
}

/* Sets the points about which the sums will be, in the data's type: shift, or the means if it is
 * NULL. */
static void prepare_shift(const preparation *p, const double *shift, double *out_shift) {
    const double *from = shift ? shift : p->from->means;
    for (int64_t k = 0; k < p->k_count && !fg_parallel_poll_piece(k, p->d, p->monitor); k++)
        for (int64_t i = k * p->d; i < (k + 1) * p->d; i++) {
            p->to.shift[i] = (real)from[i];
            out_shift[i] = (double)p->to.shift[i];
        }
}

/* log_det: log det U. */
static void prepare_constants(const preparation *p, int64_t k, double log_det) {
    const double weight = p->from->weights[k];
    /* For k-means only distances matter; next to a large constant they would lose precision. */
    p->to.log_scale[k] =
        p->assignment == FG_NEAREST
            ? 0
            : (real)(log(weight) + log_det - 0.5 * (double)p->d * 1.8378770664093453);
}

/* Here and below, a component of weight zero has zero density everywhere, however narrow it is. */
static void prepare_full(const preparation *p) {
    const int64_t d = p->d;
    for (int64_t k = 0; k < p->k_count && !fg_parallel_poll_piece(k, d * d, p->monitor); k++) {
        const double *mean = p->from->means + k * d;
        const double *u = p->from->precisions_cholesky + k * d * d;
        const int has_weight = p->from->weights[k] > 0;
        multiply_upper(mean, p->to.shift + k * d, u, d, -has_weight, p->to.offset + k * d);
        pack_factor(u, d, has_weight, p->to.factor + k * (d * (d + 1) / 2));
        prepare_constants(p, k, log_product(u, d, d + 1));
    }
}

static void prepare_tied(const preparation *p) {
    const int64_t d = p->d;
    const double *u = p->from->precisions_cholesky, log_det = log_product(u, d, d + 1);
    pack_factor(u, d, 1, p->to.factor);
    for (int64_t k = 0; k < p->k_count && !fg_parallel_poll_piece(k, d, p->monitor); k++) {
        const double *mean = p->from->means + k * d;
        multiply_upper(mean, p->to.centre, u, d, 1, p->to.whitened_means + k * d);
        p->to.scale[k] = (real)-0.5;
        prepare_constants(p, k, log_det);
    }
}

static void prepare_diagonal(const preparation *p) {
    const int64_t d = p->d;
    for (int64_t k = 0; k < p->k_count && !fg_parallel_poll_piece(k, d, p->monitor); k++) {
        const double *u = p->from->precisions_cholesky + k * d;
        const int has_weight = p->from->weights[k] > 0;
        for (int64_t i = 0; i < d; i++) {
            const double rounding = p->from->means[k * d + i] - (double)p->to.shift[k * d + i];
            p->to.factor[k * d + i] = has_weight ? in_range(u[i]) : 0;
            p->to.offset[k * d + i] = has_weight ? in_range(-rounding * u[i]) : 0;
        }
        prepare_constants(p, k, log_product(u, d, 1));
    }
}

/* Returns whether the rounding of the means affects the densities. */
static int prepare_spherical(const preparation *p) {
    const int64_t d = p->d;
    double largest = 0;
    for (int64_t k = 0; k < p->k_count && !fg_parallel_poll_piece(k, d, p->monitor); k++) {
        const double u = p->from->precisions_cholesky[k];
        for (int64_t i = k * d; i < (k + 1) * d; i++) {
            const double rounding = p->from->means[i] - (double)p->to.shift[i];
            const double deviations = fabs(rounding) * u;
            p->to.mean_rounding[i] = (real)rounding;
            /* not fmax: vectorizing its reduction crashes gcc 12 for aarch64 */
            largest = deviations > largest ? deviations : largest;
        }
        p->to.scale[k] = p->from->weights[k] > 0 ? in_range(-0.5 * u * u) : (real)-0.5;
        prepare_constants(p, k, (double)d * log(u));
    }
    return largest > NEGLIGIBLE_ROUNDING;
}

static void prepare(const fg_shape *shape, const fg_parameters *parameters,
                    fg_assignment assignment, const fg_shift_choice *choice, void *memory,
                    fg_monitor *monitor, double *out_shift, fg_model *out) {
    const int common = choice->shift && choice->common;
    preparation p = {shape->n_components, shape->n_features, parameters, assignment, monitor, {0}};
    model_arrays_in(shape, memory, &p.to);
    prepare_centre(&p, common ? choice->shift : NULL);
    prepare_shift(&p, choice->shift, out_shift);
    const scatter_method scatter = plan_for(shape).scatter;
    *out = (fg_model){.shape = *shape,
                      .assignment = assignment,
                      .weight_scale = 1,
                      .sums_scale = 1,
                      .shift = p.to.shift,
                      .factor = p.to.factor,
                      .offset = p.to.offset,
                      .centre = p.to.centre,
                      .whitened_means = p.to.whitened_means,
                      .scale = p.to.scale,
                      .log_scale = p.to.log_scale,
                      .shares = parameters->weights,
                      .leaves_out = assignment == FG_SOFT && scatter == RANK_UPDATES && !common};
    switch (shape->layout) {
    case FG_FULL:
        prepare_full(&p);
        out->sqrt_responsibilities = assignment == FG_SOFT && scatter != IN_REGISTERS;
        break;
    case FG_TIED:
        prepare_tied(&p);
        out->centred_sums = common;
        break;
    case FG_DIAG: prepare_diagonal(&p); break;
    case FG_SPHERICAL:
        if (prepare_spherical(&p))
            out->mean_rounding = p.to.mean_rounding;
        out->centred_sums = !choice->shift;
        /* Distances are about the exact mean, stored in two parts; so are their sums. */
        for (int64_t i = 0; out->mean_rounding && !choice->shift && i < p.k_count * p.d; i++)
            out_shift[i] += (double)p.to.mean_rounding[i];
    }
}
