"""Faults that the tests must find: each is planted alone, and a named test has to fail.

    python tests/mutations.py              all of them
    python tests/mutations.py name ...     these; a part of a name stands for all that have it
    python tests/mutations.py --list       their names
    python tests/mutations.py --check      only whether each still fits the sources

A fault is planted in a copy of the tree, built in one folder where only what it touches is compiled
anew. The tests named with it run first; where they pass, the whole suite does, which first has to
pass without any fault. Exits with 1 if a fault survives all tests, if its old text does not occur
exactly once, or if a test fails without any fault. Needs what .ci/mutations installs.
FUSEDGMM_MUTATIONS: a folder to build in, kept.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300  # seconds for the tests of one fault: one that hangs is found, too


class Fault(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]  # "c:fit" is a program of tests/c, others are pytest's, in tests/


def fault(name: str, file: str, old: str, new: str, *tests: str) -> Fault:
    return Fault(name, file, old, new, tests)


MIXTURE, BASE = "python/fusedgmm/mixture.py", "python/fusedgmm/_base.py"
BAYESIAN, VARIATIONAL = "python/fusedgmm/bayesian.py", "python/fusedgmm/variational.py"
STATISTICS, BATCH = "python/fusedgmm/statistics.py", "python/fusedgmm/batch.py"
VALIDATION, FILES = "python/fusedgmm/_validation.py", "python/fusedgmm/_files.py"

# In the order of the files, for what is compiled. The first seven families that scikit-learn's own
# tests of its mixtures do not find are marked with (s).
FAULTS = [
    # ---- the estimator ----
    fault(
        "given precisions ignored (s)",
        MIXTURE,
        "            self.precisions_init,\n",
        "            None,\n",
        "test_interop.py::test_given_precisions_are_the_ones_used",
    ),
    fault(
        "float64 data fitted in float32 (s)",
        MIXTURE,
        "_core.fit(\n            X,\n",
        "_core.fit(\n            X.astype(np.float32),\n",
        "test_mixture.py::test_agrees_with_scikit_learn_from_the_same_start",
    ),
    fault(
        "one start too many",
        MIXTURE,
        "min(2 * K - 1, MOST_STARTS)",
        "min(2 * K, MOST_STARTS)",
        "test_mixture.py::test_a_quick_fit_makes_so_many_starts",
    ),
    fault(
        "n_starts in place of n_init",
        MIXTURE,
        "max(int(self.n_init), int(starts))",
        "int(starts)",
        "test_mixture.py::test_quick_fits_keep_the_best_of_several_starts",
    ),
    fault(
        "a warm start forgets its bound",
        MIXTURE,
        "float(self.lower_bound_) if resume else -math.inf",
        "-math.inf",
        "test_sklearn_contract.py::test_a_warm_start_of_a_converged_fit_converges_at_once",
    ),
    fault(
        "BIC counts all pairs of features",
        MIXTURE,
        "triangle = n_features * (n_features + 1) // 2",
        "triangle = n_features * n_features",
        "test_sklearn_contract.py::test_criteria_are_scikit_learns",
    ),
    fault(
        "a score counts rows of weight zero",
        BASE,
        "values, weight = values[weight > 0], weight[weight > 0]",
        "values, weight = values[weight >= 0], weight[weight >= 0]",
        "test_hard_data.py::test_a_row_of_weight_zero_has_no_part_in_a_score",
    ),
    fault(
        "score without its weights",
        BASE,
        "np.average(values.astype(np.float64, copy=False), weights=weight)",
        "np.average(values.astype(np.float64, copy=False))",
        "test_bayesian.py::test_weights_are_repeated_rows",
    ),
    fault(
        "no iterations, no check for NaN",
        BASE,
        "        if self.max_iter == 0:\n            check_finite(X)",
        "        if self.max_iter < 0:\n            check_finite(X)",
        "test_hard_data.py::test_bad_rows_are_refused_though_no_pass_reads_them",
    ),
    fault(
        "parameters beyond float32 become infinite",
        BASE,
        "    if not np.isfinite(array).all():\n        raise ValueError(\n"
        '            f"{np.dtype(dtype)}',
        '    if False:\n        raise ValueError(\n            f"{np.dtype(dtype)}',
        "test_hard_data.py::test_float32_that_cannot_hold_a_covariance_says_so",
    ),
    fault(
        "a component of weight zero unsaid",
        BASE,
        "        if len(dead):\n",
        "        if len(dead) > 1:\n",
        "test_degenerate.py::test_without_repair_a_dead_component_stays_where_it_was",
    ),
    fault(
        "negative weights pass",
        VALIDATION,
        "    if negative.any():\n",
        "    if negative.all():\n",
        "test_mixture.py::test_bad_sample_weights_are_named",
    ),
    fault(
        "masked values are read",
        VALIDATION,
        "if np.ma.isMaskedArray(X) and np.ma.getmaskarray(X).any():",
        "if np.ma.isMaskedArray(X) and np.ma.getmaskarray(X).all():",
        "test_hard_data.py::test_masked_values_are_refused_and_a_mask_of_nothing_is_not",
    ),
    fault(
        "statistics merged without moving the shift",
        STATISTICS,
        "return sx, (self._sxx - before) + after",
        "return sx, self._sxx",
        "test_statistics.py::test_parts_with_other_shifts_merge",
    ),
    fault(
        "statistics merged about zero",
        STATISTICS,
        "return self._shift + np.divide(offset, n, out=np.zeros_like(offset), where=n > 0)",
        "return np.zeros_like(offset)",
        "test_statistics.py::test_parts_with_other_shifts_merge",
    ),
    fault(
        "merged statistics lose a weight sum",
        STATISTICS,
        "self.weight_sum + other.weight_sum,",
        "self.weight_sum,",
        "test_statistics.py::test_merging_adds_what_is_counted",
    ),
    fault(
        "a batch repairs nothing",
        BATCH,
        '            degenerate == "repair",\n',
        "            False,\n",
        "test_degenerate.py::test_a_batch_repairs_as_single_fits_do",
    ),
    fault(
        "Bayesian sums are not recentred",
        VARIATIONAL,
        "scatter = sxx - sx * step",
        "scatter = sxx",
        "test_bayesian.py::test_agrees_with_scikit_learn_from_the_same_start",
    ),
    fault(
        "Bayesian reg_covar added twice",
        VARIATIONAL,
        "            scatter = sums.scatter + reg_covar * nk\n",
        "            scatter = sums.scatter + 2 * reg_covar * nk\n",
        "test_bayesian.py::test_reg_covar_counts_once_for_every_row",
    ),
    fault(
        "sticks are broken from the wrong end",
        VARIATIONAL,
        "np.concatenate((np.cumsum(nk[:0:-1])[::-1], [0.0]))",
        "np.concatenate(([0.0], np.cumsum(nk[:-1])))",
        "test_bayesian.py::test_agrees_with_scikit_learn_from_the_same_start",
    ),
    fault(
        "the worst Bayesian start is kept",
        BAYESIAN,
        "trial[1][-1] > kept[1][-1]",
        "trial[1][-1] < kept[1][-1]",
        "test_bayesian.py::test_n_init_keeps_the_best",
    ),
    fault(
        "Bayesian convergence at twice tol",
        BAYESIAN,
        "converged = abs(change) < self.tol",
        "converged = abs(change) < 2 * self.tol",
        "test_bayesian.py::test_stops_at_the_first_change_below_tol",
    ),
    fault(
        "offsets that fall far seem to rise",
        "python/fusedgmm/_problems.py",
        "np.flatnonzero(cuts[1:] < cuts[:-1])",
        "np.flatnonzero(np.diff(cuts) < 0)",
        "test_batch.py::test_what_is_refused",
    ),
    fault(
        "files are written in place",
        FILES,
        "        os.replace(temporary, path)\n",
        "        path.write_bytes(Path(temporary).read_bytes())\n        os.unlink(temporary)\n",
        "test_files.py::test_the_new_file_is_complete_before_it_gets_its_name",
    ),
    fault(
        "a pipe is replaced by a file",
        FILES,
        "if mode is not None and not stat.S_ISREG(mode):",
        "if mode is not None and stat.S_ISDIR(mode):",
        "test_files.py::test_pipes_and_devices_are_neither_read_nor_replaced",
    ),
    fault(
        "pickles in files are run",
        FILES,
        "npy.read_array(file, allow_pickle=False)",
        "npy.read_array(file, allow_pickle=True)",
        "test_files.py::test_a_pickle_inside_is_refused_and_not_run",
    ),
    fault(
        "an array may claim more than its file has",
        FILES,
        "if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():",
        "if math.prod(shape) * dtype.itemsize < info.file_size - file.tell():",
        "test_files.py::test_a_size_beyond_all_memory_is_refused",
    ),
    # ---- the door ----
    fault(
        "signals are not asked for",
        "src/_core.pyx",
        "        PyErr_CheckSignals()\n",
        "        pass\n",
        "test_interrupts.py::test_ctrl_c_stops_a_task_of_seconds",
    ),
    fault(
        "a lack of memory is called a singular covariance",
        "src/_core.pyx",
        "    if status == FG_NO_MEMORY:\n",
        "    if status == FG_NO_MEMORY + 100:\n",
        "test_sizes.py::test_working_memory_that_cannot_be_had",
    ),
    fault(
        "columns are read as neighbours",
        "src/_core.pyx",
        "data.feature_stride = view.strides[1] // view.itemsize if view.shape[1] > 1 else 0",
        "data.feature_stride = 1",
        "test_core.py::test_any_layout_gives_the_same_bits",
    ),
    fault(
        "the problems of a cube stand closer",
        "src/_core.pyx",
        "                          - rows.shape[1] * self.c.rows.row_stride)\n",
        "                          - rows.shape[1] * self.c.n_features)\n",
        "test_batch.py::test_every_layout_of_a_cube",
    ),
    # ---- fit, em, history, repair ----
    fault(
        "the worst start is kept",
        "src/fit.c",
        "result.lower_bound > out_result->lower_bound + MARGIN",
        "result.lower_bound < out_result->lower_bound - MARGIN",
        "test_sklearn_contract.py::test_n_init_keeps_the_best",
    ),
    fault(
        "no margin between starts",
        "src/fit.c",
        "static const double MARGIN = 1e-6;",
        "static const double MARGIN = 0;",
        "test_mixture.py::test_a_later_start_must_be_better_by_more_than_rounding",
    ),
    fault(
        "a wide margin between starts",
        "src/fit.c",
        "static const double MARGIN = 1e-6;",
        "static const double MARGIN = 1e-4;",
        "test_mixture.py::test_a_later_start_must_be_better_by_more_than_rounding",
    ),
    fault(
        "every start is the first one",
        "src/fit.c",
        "fg_random(seed, (uint64_t)init)",
        "fg_random(seed, 0)",
        "test_mixture.py::test_quick_fits_keep_the_best_of_several_starts",
    ),
    fault(
        "a start whose width is given needs one of its own",
        "src/fit.c",
        "if (status == FG_SINGULAR && given->precisions_cholesky)",
        "if (0)",
        "test_interop.py::test_given_precisions_spare_the_start_its_own",
    ),
    fault(
        "a start that collapses ends the fit",
        "src/fit.c",
        "            status = FG_OK;\n        }\n        if (!collapsed",
        "        }\n        if (!collapsed",
        "test_mixture.py::test_a_start_that_collapses_is_passed_over",
    ),
    fault(
        "convergence at twice tol",
        "src/em.c",
        "fabs(change) < options->tol",
        "fabs(change) < 2 * options->tol",
        "test_mixture.py::test_stops_at_the_first_change_below_tol",
    ),
    fault(
        "a fall of the likelihood is convergence",
        "src/em.c",
        "fabs(change) < options->tol",
        "change < options->tol",
        "test_mixture.py::test_stops_at_the_first_change_below_tol",
    ),
    fault(
        "convergence right after a new place",
        "src/em.c",
        " && !has_reseeded(out_history, repairs);",
        " && (1 || !has_reseeded(out_history, repairs));",
        "test_degenerate.py::test_a_fit_does_not_end_at_a_new_place",
    ),
    fault(
        "bounds per row, not per weight",
        "src/em.c",
        "f.statistics.log_likelihood / f.statistics.weight_sum",
        "f.statistics.log_likelihood / (double)f.statistics.n_rows",
        "c:fit",
    ),
    fault(
        "a dead component moves",
        "src/em.c",
        "        if (next->weights[k] > 0)\n",
        "        if (next->weights[k] > -1)\n",
        "test_hard_data.py::test_a_component_without_rows_stays_where_it_was",
    ),
    fault(
        "a mean that moved far costs digits",
        "src/em.c",
        "if (!(step * step <= bearable(arithmetic) * variance_of(shape, next, k, i)))",
        "if (step * step < 0)",
        "test_hard_data.py::test_a_bad_start_far_away_costs_no_digits",
    ),
    fault(
        "groups far apart cost digits",
        "src/em.c",
        "close &= between <= bearable(arithmetic) * variance_of(shape, p, 0, i);",
        "close &= between >= 0;",
        "test_hard_data.py::test_far_groups_keep_the_digits_of_their_covariance",
    ),
    fault(
        "tied takes the scatter of the first pass",
        "src/em.c",
        "scatter = iteration <= 2 || !f->has_scatter;",
        "scatter = iteration <= 1 || !f->has_scatter;",
        "test_hard_data.py::test_a_bad_start_far_away_costs_no_digits",
        "test_reference.py",
        "test_core.py",
    ),
    fault(
        "sums that are no number pass",
        "src/em.c",
        "if (status == FG_OK && !isfinite(out_statistics->log_likelihood))",
        "if (status == FG_OK && !isfinite(out_statistics->weight_sum))",
        "c:pass",
    ),
    fault(
        "a thread keeps the sums of its last task",
        "src/em.c",
        "    fg_statistics_reset(p->shape, j->sums, monitor, partial);\n",
        "    if (task < p->n_threads)\n"
        "        fg_statistics_reset(p->shape, j->sums, monitor, partial);\n",
        "c:pass",
    ),
    fault(
        "the history does not grow",
        "src/history.c",
        "    if (count < *room)\n",
        "    if (*room)\n",
        "c:fit",
    ),
    fault(
        "the history loses what it had when it grows",
        "src/history.c",
        "realloc(elements, (size_t)more * size)",
        "realloc(NULL, (size_t)more * size)",
        "c:fit",
    ),
    fault(
        "a hundredth of the deviation is narrow",
        "src/repair.c",
        "LEAST_SHARE = 1e-6;",
        "LEAST_SHARE = 1e-4;",
        "test_degenerate.py::test_the_floor_is_a_thousandth_of_each_features_deviation",
    ),
    fault(
        "a floor is recorded again and again",
        "src/repair.c",
        "if (!was_floored(out_history, component) && !fg_history_add_repair",
        "if ((1 || !was_floored(out_history, component)) && !fg_history_add_repair",
        "test_degenerate.py::test_a_flooring_is_recorded_once_though_it_is_done_in_every_iteration",
    ),
    fault(
        "a row is taken twice",
        "src/repair.c",
        " && !is_taken(history, n + i))",
        " && (1 || !is_taken(history, n + i)))",
        "test_degenerate.py::test_two_that_die_at_once_do_not_share_a_place",
    ),
    fault(
        "a component comes back once",
        "src/repair.c",
        "RESEEDINGS = 3,",
        "RESEEDINGS = 1,",
        "test_degenerate.py::test_a_component_comes_back_three_times",
    ),
    fault(
        "a component comes back for ever",
        "src/repair.c",
        "RESEEDINGS = 3,",
        "RESEEDINGS = 1000,",
        "test_degenerate.py::test_a_component_comes_back_three_times",
    ),
    fault(
        "a row of weight zero is a new place",
        "src/repair.c",
        "value < least && counts && ",
        "value < least && (counts || 1) && ",
        "test_degenerate.py::test_rows_of_weight_zero_are_no_new_place",
    ),
    fault(
        "a new place takes weight from nobody",
        "src/repair.c",
        "        parameters->weights[j] *= 1 - share;\n",
        "        parameters->weights[j] *= 1;\n",
        "test_degenerate.py::test_a_new_place_has_an_equal_share_and_the_pooled_width",
    ),
    # ---- starts ----
    fault(
        "reg_covar added twice to a start",
        "src/start.c",
        "pooled ? 0 : reg_covar,",
        "reg_covar,",
        "test_starts.py::test_reg_covar_is_added_once",
    ),
    fault(
        "k-means++ draws without distances",
        "src/start.c",
        "score[i] = w[i] * nearest[i];",
        "score[i] = w[i];",
        "test_starts.py::test_seeds_find_small_groups_far_away",
    ),
    fault(
        "k-means++ draws without weights",
        "src/start.c",
        "score[i] = w[i] * nearest[i];",
        "score[i] = nearest[i];",
        "test_starts.py::test_seeds_are_drawn_by_weight",
    ),
    fault(
        "the worst candidate of k-means++",
        "src/start.c",
        "if (now < best_total || c == 0) {",
        "if (now > best_total || c == 0) {",
        "test_starts.py::test_greedy_seeds_are_better_than_plain_ones",
    ),
    fault(
        "one iteration of k-means",
        "src/start.c",
        "LLOYD_PASSES = 100,",
        "LLOYD_PASSES = 1,",
        "test_starts.py::test_the_clusters_of_kmeans_are_those_of_their_means",
    ),
    fault(
        "a stratified sample forgets the weights",
        "src/start.c",
        "            if (!data->sample_weight)\n                row = (int64_t)target;",
        "            if (1 || !data->sample_weight)\n                row = (int64_t)target;",
        "test_hard_data.py::test_only_the_ratios_of_weights_matter",
    ),
    fault(
        "the worst clustering of a sample",
        "src/start.c",
        "if (i && now < least)",
        "if (i && now > least)",
        "test_starts.py::test_of_three_clusterings_of_a_sample_the_best_is_kept",
    ),
    fault(
        "a row of weight zero is measured by seeds",
        "src/start.c",
        "row = weight(data, i) > 0 ? i : counts;",
        "row = i + 0 * counts;",
        "test_hard_data.py::test_rows_of_weight_zero_have_no_part_wherever_they_lie",
    ),
    fault(
        "rows are drawn twice",
        "src/start.c",
        "        taken[row] = 1;\n",
        "        taken[row] = 0;\n",
        "test_starts.py::test_rows_are_drawn_once",
    ),
    # ---- the batch ----
    fault(
        "problems are run in another order than they were shared out",
        "src/batch.c",
        "b->order[b->first + task]",
        "b->first + task",
        "test_batch.py::test_any_number_of_threads",
        "test_batch.py::test_any_order",
    ),
    fault(
        "all problems have the first seed",
        "src/batch.c",
        "options->seeds[problem],",
        "options->seeds[0],",
        "test_batch.py::test_a_batch_is_a_loop_of_fits",
    ),
    fault(
        "weights of the first problem for all",
        "src/batch.c",
        "            data.sample_weight += begin;\n",
        "            data.sample_weight += 0;\n",
        "test_batch.py::test_any_form_of_input",
    ),
    fault(
        "equal rows are called collapsed",
        "src/batch.c",
        "        return FG_CONSTANT;\n",
        "        return outcome;\n",
        "test_batch.py::test_a_bad_problem_is_named_and_the_others_untouched",
    ),
    fault(
        "rows of weight zero count as distinct",
        "src/batch.c",
        "        if (data->sample_weight && !(data->sample_weight[n] > 0))\n",
        "        if (data->sample_weight && !(data->sample_weight[n] >= 0))\n",
        "test_batch.py::test_rows_of_weight_zero_are_not_distinct",
    ),
    fault(
        "the largest criterion is the best",
        "src/batch.c",
        "criterion < least",
        "criterion > least",
        "test_batch.py::test_the_best_of_several_numbers",
    ),
    fault(
        "NaN in a problem of no iterations is not noticed",
        "src/batch.c",
        "    if (status == FG_OK && !isfinite(log_likelihood))\n",
        "    if (status == FG_OK && options->fit.max_iter > 0 && !isfinite(log_likelihood))\n",
        "test_batch.py::test_a_bad_problem_is_named_and_the_others_untouched",
    ),
    # ---- the M step, statistics ----
    fault(
        "tied averaged without weights (s)",
        "src/parameters.c",
        "out->covariances[i * d + j] -= sx[i] * share * sx[j];",
        "out->covariances[i * d + j] -=\n"
        "                        sx[i] * share * sx[j] * share * nk_sum / (double)k_count;",
        "c:fit",
    ),
    fault(
        "the covariance is not recentred",
        "src/parameters.c",
        "*sxx++ * share - (sx[i] * share) * (sx[j] * share);",
        "*sxx++ * share;",
        "c:fit",
    ),
    fault(
        "reg_covar added twice",
        "src/parameters.c",
        "                    covariance[i * d + j] = covariance[j * d + i] =\n"
        "                        value + (i == j ? reg_covar : 0);",
        "                    covariance[i * d + j] = covariance[j * d + i] =\n"
        "                        value + (i == j ? 2 * reg_covar : 0);",
        "c:fit",
    ),
    fault(
        "a singular matrix has a factor",
        "src/parameters.c",
        "if (!(row[i] > 0) || !isfinite(row[i]))",
        "if (row[i] < 0)",
        "c:fit",
    ),
    fault(
        "the inverse factor's last column is not scaled",
        "src/parameters.c",
        "        for (int64_t j = i; j < d; j++)\n            row[j] *= scale;",
        "        for (int64_t j = i; j < (i ? d : d - 1); j++)\n            row[j] *= scale;",
        "c:fit",
    ),
    fault(
        "a singular covariance names another component",
        "src/parameters.c",
        "*out_component = shape->covariance == FG_FULL ? k : -1;",
        "*out_component = shape->covariance == FG_FULL ? 0 : -1;",
        "c:fit",
    ),
    fault(
        "the last sum is not merged",
        "src/statistics.c",
        "add(from->sxx, fg_moment_count(shape), into->sxx);",
        "add(from->sxx, fg_moment_count(shape) - 1, into->sxx);",
        "c:pass",
    ),
    # ---- threads and processes ----
    fault(
        "sums merge in the order in which threads are done",
        "src/parallel.c",
        "        wait_for(c, thread, &c->merged, task);\n",
        "        wait_for(c, thread, &c->merged, 0);\n",
        "test_core.py::test_threads_do_not_change_a_bit",
        "test_threads.py::test_calls_from_many_threads_at_once_have_the_bits_of_each_alone",
        "test_floating_point.py::test_the_same_bits_with_any_number_of_threads_and_in_every_run",
    ),
    fault(
        "no guard for fork",
        "src/parallel.c",
        "    if (!omp_in_parallel() && !forks_go_unnoticed)\n",
        "    if (0)\n",
        "test_mixture.py::test_a_fork_after_a_fit_does_not_hang",
    ),
    fault(
        "a child counts the calls of its parent",
        "src/parallel.c",
        "atomic_store(&callers, 0);",
        "atomic_load(&callers);",
        "test_processes.py::test_a_child_of_fork_fits_with_the_bits_and_threads_of_its_parent",
    ),
    fault(
        "calls that run at once do not share the threads",
        "src/parallel.c",
        "others > 0 ? (n_threads + others) / (others + 1) : n_threads;",
        "others > 1000000 ? 1 : n_threads;",
        "test_processes.py::test_calls_that_run_at_once_share_the_threads",
    ),
    fault(
        "threads are taken for granted",
        "src/parallel.c",
        "had += try_threads(n_threads - had);",
        "had = n_threads + 0 * try_threads(1);",
        "test_processes.py::test_threads_that_cannot_be_started_are_done_without",
    ),
    fault(
        "no poll between tasks",
        "src/parallel.c",
        "        if (thread == 0)\n            ask(c);\n        if (!c->merge)\n",
        "        if (!c->merge)\n",
        "c:pass",
    ),
    fault(
        "a thread rounds as the runtime started it",
        "src/parallel.c",
        "                fegetenv(&environment);\n                fesetenv(FE_DFL_ENV);\n",
        "                fegetenv(&environment);\n",
        "test_floating_point.py::test_a_mode_that_the_process_has_set_changes_no_bits_and_is_kept",
    ),
    fault(
        "small pieces are never asked about",
        "src/parallel.h",
        "(numbers >= 4096 || i % 64 == 63)",
        "numbers >= 4096",
        "c:interrupt",
    ),
    # ---- kernels ----
    fault(
        "no poll within a task",
        "src/kernels/block.h",
        "        b->stopped = fg_parallel_poll(b->monitor);\n",
        "        b->stopped = 0;\n",
        "c:interrupt",
    ),
    fault(
        "float sums of any length (s)",
        "src/kernels/block.h",
        "#define FLUSH_ROWS (sizeof(real) == 4 ? 2048 : 1 << 30)",
        "#define FLUSH_ROWS (1 << 30)",
        "c:pass",
    ),
    fault(
        "rows beyond the end have weight",
        "src/kernels/block.h",
        "    for (int64_t n = rows; n < padded; n++)\n        b->weights[n] = 0;",
        "    for (int64_t n = rows; n < padded; n++)\n        b->weights[n] = 1;",
        "c:pass",
    ),
    fault(
        "the last rows of a block are not loaded",
        "src/kernels/block.h",
        "    for (; n < rows; n++)\n        for (int64_t i = 0; i < d; i++)\n            out[",
        "    for (; n < rows - 1; n++)\n        for (int64_t i = 0; i < d; i++)\n            out[",
        "c:pass",
    ),
    fault(
        "the last features are read as a whole vector",
        "src/kernels/block.h",
        "vec_load_part(from + r * stride, width);",
        "vec_load(from + r * stride);",
        "c:guard",
    ),
    fault(
        "weights of the first rows for all",
        "src/kernels/block.h",
        "data->sample_weight[begin + n] * weight_scale",
        "data->sample_weight[n] * weight_scale",
        "c:pass",
    ),
    fault(
        "the last panel has a column less",
        "src/kernels/density.h",
        "    case 3: RUN(3, 1); break;\n    default: RUN(4, 1);",
        "    case 3: RUN(2, 1); break;\n    default: RUN(4, 1);",
        "c:pass",
    ),
    fault(
        "a mean's rest is forgotten",
        "src/kernels/density.h",
        "                if (rest)\n                    t = vec_sub",
        "                if (rest && k_width == 1)\n                    t = vec_sub",
        "c:pass",
    ),
    fault(
        "another constant than 2 pi (s)",
        "src/kernels/model.h",
        "1.8378770664093453",
        "1.8378770664",
        "c:pass",
    ),
    fault(
        "the E step without the weights (s)",
        "src/kernels/model.h",
        "(real)(log(parameters->weights[k]) + log_det -",
        "(real)(-log((double)k_count) + log_det -",
        "c:pass",
    ),
    fault(
        "moments about zero (s)",
        "src/kernels/model.h",
        "(real)(about->shift ? about->shift[k * d + i] : mean[i]);",
        "0;",
        "test_core.py::test_an_offset_costs_no_digits",
    ),
    fault(
        "responsibilities of a millionth are dropped",
        "src/kernels/model.h",
        "#define NEGLIGIBLE (sizeof(real) == 8 ? 0x1p-64 : 0x1p-36)",
        "#define NEGLIGIBLE 0x1p-20",
        "c:pass",
    ),
    fault(
        "responsibilities underflow (s)",
        "src/kernels/responsibilities.h",
        "for (int v = 0; v < FG_GROUP; v++) top[v] = lowest;",
        "for (int v = 0; v < FG_GROUP; v++) top[v] = vec_set(0);",
        "test_core.py::test_far_points_keep_finite_responsibilities",
        "c:pass",
    ),
    fault(
        "the product of many densities overflows",
        "src/kernels/responsibilities.h",
        "< (sizeof(real) == 8 ? 1000 : 120);",
        "< 1e9;",
        "c:pass",
    ),
    fault(
        "of equal components the last is the label",
        "src/kernels/responsibilities.h",
        "best[v] = vec_select(vec_less(top[v], l), index, best[v]);",
        "best[v] = vec_select(vec_less(l, top[v]), best[v], index);",
        "c:pass",
    ),
    fault(
        "random responsibilities without weights",
        "src/kernels/responsibilities.h",
        "b->responsibilities[k * stride + n] *= b->weights[n] / sum;",
        "b->responsibilities[k * stride + n] *= (b->weights[n] > 0) / sum;",
        "test_starts.py::test_rows_count_by_their_weights",
    ),
    fault(
        "the last tile has no diagonal",
        "src/kernels/sums.h",
        "if (j0 + j <= i0 + i)",
        "if (j0 + j < i0 + i || i0 + i < d - 1)",
        "c:pass",
    ),
    fault(
        "sums about the centre stay there",
        "src/kernels/sums.h",
        "                sum -= nk * (out->shift[k * d + i] -",
        "                sum -= 0 * nk * (out->shift[k * d + i] -",
        "c:pass",
    ),
    fault(
        "the last vector of a large scatter is left out",
        "src/kernels/sums.h",
        "const int64_t vectors = (i0 + height + FG_LANES - 1) / FG_LANES;",
        "const int64_t vectors = at_most((i0 + height + FG_LANES - 1) / FG_LANES,\n"
        "                                        d / FG_LANES);",
        "c:pass",
    ),
    fault(
        "a row of weight zero stays where it lies",
        "src/kernels/kernels.c",
        "        if (b.weighted)\n            move_weightless(",
        "        if (0)\n            move_weightless(",
        "test_hard_data.py::test_rows_of_weight_zero_have_no_part_wherever_they_lie",
    ),
    fault(
        "NaN in the rows is not noticed",
        "src/kernels/kernels.c",
        "log_likelihood * model->sums_scale + b.poison;",
        "log_likelihood * model->sums_scale;",
        "c:pass",
    ),
    fault(
        "NaN in rows that are scored is not noticed",
        "src/kernels/kernels.c",
        "    return !(poison == 0);",
        "    return poison > 0;",
        "c:pass",
    ),
    fault(
        "the rest of a task is not handed over",
        "src/kernels/kernels.c",
        "    flush_sums(model, &b, sums, out_statistics);\n    out_statistics->n_rows",
        "    if (since_flush > b.p.rows || sizeof(real) == 8)\n"
        "        flush_sums(model, &b, sums, out_statistics);\n    out_statistics->n_rows",
        "c:pass",
    ),
]


# ---- the copy, and what runs in it ----


def misfits() -> list[str]:
    """What no longer fits the sources: an old text, or a test that is not there."""
    found = []
    for f in FAULTS:
        count = (ROOT / f.file).read_text().count(f.old)
        if count != 1:
            found.append(f"{f.name}: its old text occurs {count} times in {f.file}")
        for test in f.tests:
            if test.startswith("c:"):
                file, word = Path("tests/c") / f"test_{test[2:]}.c", "int main"
            else:
                name, _, word = test.partition("::")
                file = Path("tests") / name
            if not (ROOT / file).exists():
                found.append(f"{f.name}: there is no {file}")
            elif not re.search(rf"\b{word}\b", (ROOT / file).read_text()):
                found.append(f"{f.name}: there is no {word} in {file}")
    names = [f.name for f in FAULTS]
    return found + [f"{n}: two faults have this name" for n in set(names) if names.count(n) > 1]


def renew(source: str, target: str) -> None:
    """Copy a file where it differs: what is built tells by the time whether it is up to date."""
    if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
        shutil.copy(source, target)


class Tree:
    """A copy of the sources, its build, and the package that it gives."""

    def __init__(self, work: Path) -> None:
        self.source, self.build, self.site = work / "source", work / "build", work / "site"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, self.source, False, ignored, renew, dirs_exist_ok=True)
        options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-compile", "--upgrade"]
        options += ["--disable-pip-version-check", "-C", f"build-dir={self.build}"]
        options += ["-C", "cmake.define.FG_C_TESTS=ON", "--target", str(self.site)]
        self._run(sys.executable, "-m", "pip", "install", *options, str(self.source))
        (self.core,) = (self.site / "fusedgmm").glob("_core*.so")

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-4000:]}")

    @contextmanager
    def planted(self, f: Fault):
        """With the fault in the copy; the build follows when tests ask for it."""
        places = [self.source / f.file]
        if f.file.startswith("python/"):
            places.append(self.site / f.file.removeprefix("python/"))
        before = places[0].read_text()
        try:
            for place in places:
                place.write_text(before.replace(f.old, f.new))
            yield
        finally:
            for place in places:
                place.write_text(before)

    def make(self, target: str) -> None:
        self._run("cmake", "--build", str(self.build), "--parallel", "2", "--target", target)
        if target in ("_core", "all"):
            (built,) = self.build.glob("_core*.so")
            shutil.copyfile(built, self.core)

    def fails(self, tests: tuple[str, ...]) -> str:
        """The first of the tests that fails; empty where all pass."""
        for test in tests:
            if test.startswith("c:"):
                self.make(f"test_{test[2:]}")
                code, _ = self._code(str(self.build / "tests/c" / f"test_{test[2:]}"))
                if code:
                    return test
        python = [test for test in tests if not test.startswith("c:")]
        if not python:
            return ""
        self.make("_core")
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        code, said = self._code(*pytest, "--tb=no", "--color=no", *python)
        if code in (0, 5):  # 5: all of them are for other machines
            return ""
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
        if code == 1 and found:
            return found[1].partition("[")[0].removeprefix("tests/")
        if code is not None and code > 1:
            raise SystemExit(f"pytest could not run {python}:\n{said[-3000:]}")
        return f"{python[0]} ({'hangs' if code is None else 'crashes'})"

    def _code(self, *command: str) -> tuple[int | None, str]:
        """A program's exit status, None where it was still running at the end, and its words."""
        variables = {
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_WAIT_POLICY": "passive",
        }
        process = subprocess.Popen(
            command,
            cwd=self.source / "tests",
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=LIMIT)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            return None, ""
        finally:  # what a test has left running, too
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


SUITE = ("c:math", "c:pass", "c:fit", "c:guard", "c:memory", "c:interrupt", ".")


def main(words: list[str]) -> int:
    if "--list" in words:
        print("\n".join(f.name for f in FAULTS))
        return 0
    wrong = misfits()
    if wrong or "--check" in words:
        print("\n".join(wrong) or f"{len(FAULTS)} faults fit the sources")
        return bool(wrong)
    wanted = [f for f in FAULTS if not words or any(word in f.name for word in words)]
    if not wanted:
        print(f"no fault has {words} in its name")
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(os.environ.get("FUSEDGMM_MUTATIONS") or folder))
        named = tuple(dict.fromkeys(test for f in wanted for test in f.tests))
        if broken := tree.fails(named):
            print(f"{broken} fails without any fault")
            return 1
        print(f"built; {len(named)} tests pass: {time.monotonic() - began:.0f} s", flush=True)
        survivors, suite_passes = [], False
        for f in wanted:
            since = time.monotonic()
            with tree.planted(f):
                killer = tree.fails(f.tests)
            if not killer and not suite_passes:
                if broken := tree.fails(SUITE):
                    print(f"{broken} fails without any fault")
                    return 1
                suite_passes = True
            if not killer:
                with tree.planted(f):
                    killer = tree.fails(SUITE)
                if killer:
                    killer += ", not by what is named with it"
            if not killer:
                survivors.append(f.name)
            outcome = f"killed by {killer}" if killer else "SURVIVED"
            print(f"{time.monotonic() - since:4.0f} s  {f.name}: {outcome}", flush=True)
    print(f"{len(wanted) - len(survivors)} of {len(wanted)} faults killed", end="")
    print(f" in {time.monotonic() - began:.0f} s" + "".join(f"\nSURVIVED: {n}" for n in survivors))
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
