"""For data that lie on several machines: trained on where they are, by two worker processes here.

Parameters of the workers are averaged, or their gradients added up.
"""

import dask.array as da
from distributed import Client, LocalCluster

import fastmlp.dask
from fastmlp.datasets import load_digits


def main() -> None:
    (x, y), (x_test, y_test) = load_digits()
    partitions = [da.from_array(array, chunks=(350, *array.shape[1:])).persist() for array in (x, y)]
    spec = [{"n": 64, "act": None, "scale": 1 / 16}, {"n": 32, "act": "relu"}, {"n": 10, "act": "softmax"}]

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        for sync, options in {
            "average": {"lr": 0.05, "epochs": 10},
            "gradient": {"optimizer": "lbfgs", "epochs": 40},
        }.items():
            model, history = fastmlp.dask.train(*partitions, spec, sync=sync, client=client, seed=0, **options)
            accuracy = model.evaluate(x_test, y_test)["accuracy"]
            print(f"{sync}: loss {history['loss'][-1]:.3f} after {history.epochs} epochs, test accuracy {accuracy:.3f}")
            assert accuracy > 0.9

        whole = fastmlp.dask.evaluate(model, *partitions)
        print("all partitions:", {name: round(value, 3) for name, value in whole.items()})


if __name__ == "__main__":  # worker processes import this file
    main()
