"""A fit with processes that each hold some rows. Needs nothing else.

python examples/on_processes.py
"""

from multiprocessing import get_context

import numpy as np

from fusedgmm import GaussianMixture, accumulate, em


def rows_of(part):
    """Read the rows of a part, for example from a file."""
    rng = np.random.default_rng(part)
    return rng.normal(size=(5_000, 3)) + 6 * rng.integers(2, size=(5_000, 1))


def accumulate_part(part_and_parameters):
    part, parameters = part_and_parameters
    return accumulate(rows_of(part), parameters, n_threads=1)


def main(n_parts=6, n_processes=2):
    start = GaussianMixture(2, random_state=0).fit(rows_of(0)).parameters
    with get_context("spawn").Pool(n_processes) as pool:

        def step(parameters):
            return sum(pool.map(accumulate_part, [(part, parameters) for part in range(n_parts)]))

        return em(step, start)  # the sum is in the order of the parts: always the same bits


if __name__ == "__main__":
    print(main().means_)
