"""How often the bootstrap's confidence intervals cover the true parameters.

    python bench/coverage.py [--sets 500] [--replicates 199] [--rows 2000] [--level 0.95]

Simulates data sets from a known mixture of three components in two dimensions, fits each, and
counts the intervals that contain the true weight, mean or covariance. Prints the share of each kind
of parameter, for each kind of bootstrap. With 500 data sets, the standard error of a share of 95 %
is 1 %, or less where it is over several parameters.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from fusedgmm import GaussianMixture, MixtureParameters, bootstrap
from fusedgmm._alignment import alignments

TRUTH = MixtureParameters.from_covariances(
    [0.5, 0.3, 0.2],
    [[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]],
    [[[1.0, 0.3], [0.3, 1.0]], [[1.0, -0.5], [-0.5, 2.0]], [[0.5, 0.0], [0.0, 0.5]]],
)
PARTS = ("weights", "means", "covariances")


def order(parameters: MixtureParameters) -> np.ndarray:
    """Return the component of the fit that corresponds to each true one."""
    mixture = (TRUTH.weights, TRUTH.means, TRUTH.precisions_cholesky)
    fitted = (parameters.weights, parameters.means, parameters.precisions_cholesky)
    return alignments("full", mixture, tuple(array[None] for array in fitted))[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=199)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--level", type=float, default=0.95)
    args = parser.parse_args()
    for kind in ("nonparametric", "weighted", "parametric"):
        covered: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
        degenerate, begin = 0, time.perf_counter()
        for seed in range(args.sets):
            simulated = GaussianMixture.from_parameters(TRUTH, random_state=seed)
            X = simulated.sample(args.rows)[0]
            model = GaussianMixture(3, random_state=0).fit(X)
            result = bootstrap(model, X, args.replicates, kind, random_state=seed)
            degenerate += result.n_degenerate
            places = order(result.model.parameters)
            lower, upper = result.interval(args.level)
            for part in PARTS:
                true = getattr(TRUTH, part)
                inside = getattr(lower, part)[places] <= true
                inside &= true <= getattr(upper, part)[places]
                if part == "covariances":
                    inside = inside[:, [0, 1, 1], [0, 0, 1]]  # each entry once
                covered[part].append(inside)
        shares = "  ".join(f"{part} {np.mean(covered[part]):.1%}" for part in PARTS)
        every = [np.mean(covered[part], axis=0).ravel() for part in PARTS]
        least, most = np.concatenate(every).min(), np.concatenate(every).max()
        seconds = time.perf_counter() - begin
        print(
            f"{kind:<13}  {shares}  one parameter {least:.1%} to {most:.1%}  "
            f"{degenerate} degenerate  {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
