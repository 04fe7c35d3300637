"""A fit with one part of the rows per MPI rank. Needs an MPI, and: pip install mpi4py

mpirun -n 3 python examples/on_mpi.py
"""

from mpi4py import MPI

from fusedgmm import GaussianMixture, accumulate, em
from on_processes import rows_of


def main():
    world = MPI.COMM_WORLD
    X = rows_of(world.rank)

    def step(parameters):
        parts = world.gather(accumulate(X, parameters))  # in the order of the ranks
        return world.bcast(None if parts is None else sum(parts))

    start = GaussianMixture(2, random_state=0).fit(X).parameters if world.rank == 0 else None
    return em(step, world.bcast(start))  # every rank runs the loop, and has the same bits


if __name__ == "__main__":
    model = main()
    if MPI.COMM_WORLD.rank == 0:
        print(model.means_)
