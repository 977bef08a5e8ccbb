"""For tables larger than memory: trained on and evaluated from Parquet files, of which a worker holds a few at a time.

``python larger_than_memory.py --gigabytes 6 --memory 1GB`` is the large one.
"""

import argparse
import tempfile
import time
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

import fastmlp.dask

COLUMNS = [f"x{i}" for i in range(64)]
ROWS = 125_000  # of a part, 32 MB


def write(folder: Path, gigabytes: float) -> int:
    """The table, part by part: noise, in units of all sizes, and whether two columns together are above their mean."""
    rng = np.random.default_rng(0)
    units, n_parts = np.logspace(-3, 3, 64, dtype=np.float32), max(2, round(gigabytes * 1e9 / (ROWS * 65 * 4)))
    for number in range(n_parts):
        x = rng.standard_normal((ROWS, 64), np.float32)
        y = (x[:, 0] + x[:, 1] > 0).astype(np.int32)
        pd.DataFrame(x * units, columns=COLUMNS).assign(y=y).to_parquet(
            folder / f"{number:04}.parquet", compression=None, use_dictionary=False
        )
    return n_parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=0.3)
    parser.add_argument("--memory", default="600MB", help="of a worker")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    spec = [{"n": 64, "act": None}, {"n": 16, "act": "relu"}, {"n": 2, "act": "softmax"}]

    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        n_parts = write(Path(folder), asked.gigabytes)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"{n_parts} parts of {ROWS:,} rows, {size / 1e9:.2f} GB, written in {time.perf_counter() - begin:.0f} s")

        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, memory_limit=asked.memory, dashboard_address=":0"
            ) as cluster,
            Client(cluster) as client,
        ):
            workers = set(client.nthreads())
            table = dd.from_map(pd.read_parquet, sorted(Path(folder).iterdir()))
            options = {"sync": "average", "epochs": asked.rounds, "lr": 0.01, "standardize": True, "seed": 0}
            begin = time.perf_counter()
            model, _ = fastmlp.dask.train(table[COLUMNS], table["y"], spec, client=client, **options)
            print(f"{asked.rounds} rounds by workers of {asked.memory}: {time.perf_counter() - begin:.1f} s")
            begin = time.perf_counter()
            values = fastmlp.dask.evaluate(model, table[COLUMNS], table["y"])
            print(f"accuracy {values['accuracy']:.3f}, evaluated in {time.perf_counter() - begin:.1f} s")
            assert values["accuracy"] > 0.97
            assert set(client.nthreads()) == workers, "no worker had to be started anew"


if __name__ == "__main__":  # worker processes import this file
    main()
