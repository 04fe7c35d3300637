/* A tile of a matrix product, for factors of large covariances. */

/* out = sum over l < n of a_l b_l^T, row by row, where a_l are consecutive groups of FG_OUTER_ROWS
 * numbers and b_l of FG_OUTER_VECTORS vectors. */
static void multiply_tile(const void *rows, const void *columns, int64_t n, void *out) {
    const real *a = rows, *b = columns;
    vec sum[FG_OUTER_ROWS][FG_OUTER_VECTORS];
    FG_EACH(i, FG_OUTER_ROWS)
        FG_EACH(v, FG_OUTER_VECTORS)
            sum[i][v] = vec_set(0);
    for (int64_t l = 0; l < n; l++) {
        vec y[FG_OUTER_VECTORS];
        FG_EACH(v, FG_OUTER_VECTORS)
            y[v] = vec_load(b + v * FG_LANES);
        FG_EACH(i, FG_OUTER_ROWS) {
            const vec x = vec_set(a[i]);
            FG_EACH(v, FG_OUTER_VECTORS)
                sum[i][v] = vec_fma(x, y[v], sum[i][v]);
        }
        a += FG_OUTER_ROWS;
        b += FG_OUTER_VECTORS * FG_LANES;
    }
    FG_EACH(i, FG_OUTER_ROWS)
        FG_EACH(v, FG_OUTER_VECTORS)
            vec_store((real *)out + (i * FG_OUTER_VECTORS + v) * FG_LANES, sum[i][v]);
}
