"""A fit by jobs that share nothing but a folder. Needs nothing else.

Each job reads the parameters from a file and writes the statistics of its rows to another. Here a
job is a process; a batch system (Slurm, Grid Engine, ...) would start it on any machine.

python examples/on_files.py
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fusedgmm import GaussianMixture, MixtureParameters, SufficientStatistics, accumulate, em
from on_processes import rows_of


def job(folder, part):
    parameters = MixtureParameters.load(folder / "parameters.npz")
    accumulate(rows_of(part), parameters).save(folder / f"part{part}.npz")


def main(n_parts=3):
    start = GaussianMixture(2, random_state=0).fit(rows_of(0)).parameters
    with TemporaryDirectory() as name:
        folder = Path(name)

        def step(parameters):
            parameters.save(folder / "parameters.npz")
            commands = [[sys.executable, __file__, name, str(part)] for part in range(n_parts)]
            jobs = [subprocess.Popen(command) for command in commands]
            if any([each.wait() for each in jobs]):  # a list: waits for all of them
                raise RuntimeError("a job has failed")
            files = [folder / f"part{part}.npz" for part in range(n_parts)]
            return sum(map(SufficientStatistics.load, files))

        return em(step, start)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        job(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        print(main().means_)
