"""A fit by Ray actors that each hold some rows. Needs: pip install ray

python examples/on_ray.py
"""

import ray

from fusedgmm import GaussianMixture, accumulate, em
from on_processes import rows_of


@ray.remote(max_restarts=-1, max_task_retries=-1)
class Part:
    def __init__(self, part, read):
        self.rows = read(part)

    def accumulate(self, parameters):
        return accumulate(self.rows, parameters)


def main(n_parts=3):
    ray.init(num_cpus=2, include_dashboard=False)
    parts = [Part.options(num_cpus=0.5).remote(part, rows_of) for part in range(n_parts)]

    def step(parameters):
        shared = ray.put(parameters)
        return sum(ray.get([part.accumulate.remote(shared) for part in parts]))

    model = em(step, GaussianMixture(2, random_state=0).fit(rows_of(0)).parameters)
    ray.shutdown()
    return model


if __name__ == "__main__":
    print(main().means_)
