"""Networks on a Dask cluster: many of them, or one on data of many machines; predictions and evaluation by chunks."""

from ..base.extras import require

for _module in ("dask.array", "dask.dataframe", "distributed"):
    require(_module, "dask", "fastmlp.dask")

from .asking import evaluate, predict  # noqa: E402
from .networks import train_many  # noqa: E402
from .training import train  # noqa: E402

__all__ = ["evaluate", "predict", "train", "train_many"]
