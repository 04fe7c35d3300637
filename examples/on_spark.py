"""A fit over a Spark data frame. Needs Java, and: pip install pyspark pyarrow pandas

fusedgmm must be installed on the workers. python examples/on_spark.py
"""

import pickle
from operator import add

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession

from fusedgmm import GaussianMixture, SufficientStatistics, accumulate, em
from on_processes import rows_of


def fit(frame, start):
    def step(parameters):
        def accumulate_batches(batches):
            total = SufficientStatistics.zero(parameters)  # a partition may be empty
            for batch in batches:
                X = np.column_stack([column.to_numpy() for column in batch.columns])
                total += accumulate(X, parameters, n_threads=1)
            yield pa.RecordBatch.from_pydict({"statistics": [pickle.dumps(total)]})

        parts = frame.mapInArrow(accumulate_batches, "statistics binary").rdd
        return parts.map(lambda row: pickle.loads(row.statistics)).treeReduce(add)

    return em(step, start)


def main(n_parts=3):
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    rows = np.concatenate([rows_of(part) for part in range(n_parts)])
    frame = spark.createDataFrame(pd.DataFrame(rows, columns=["a", "b", "c"])).cache()
    model = fit(frame, GaussianMixture(2, random_state=0).fit(rows_of(0)).parameters)
    spark.stop()
    return model


if __name__ == "__main__":
    print(main().means_)
