"""Tables out of CSV in all its dialects, Parquet and NumPy's files: each gives the same numbers."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import tables


def test_formats_of_tables(csv_folder, tmp_path, command):
    """Equal numbers make equal models, whatever file they come from."""
    frame = pd.read_csv(csv_folder / "iris.csv")
    frame.columns = ["a", "b", "c", "d", "kind"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "t.csv").read_bytes().replace(b"\n", b"\r\n"))
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.astype({"kind": "category"}).to_parquet(tmp_path / "category.parquet")
    np.savez(tmp_path / "t.npz", **{name: frame[name].to_numpy(str if name == "kind" else float) for name in frame})
    models = []
    for file in ("t.csv", "t.csv.gz", "bom.csv", "t.tsv", "comma.csv", "t.parquet", "category.parquet", "t.npz"):
        code, _, said = command("train", tmp_path / file, "-t", "kind", "-o", tmp_path / "m", "--epochs", 3)
        assert (code, said) == (0, ""), file
        models.append(fastmlp.load(tmp_path / "m"))
    assert all(model == models[0] and model.metadata == models[0].metadata for model in models)

    np.save(tmp_path / "t.npy", frame.iloc[:, :4].to_numpy())
    assert command("train", tmp_path / "t.npy", "-t", "3", "-o", tmp_path / "m")[0] == 0
    out = tmp_path / "out.parquet"
    assert command("predict", tmp_path / "m", tmp_path / "t.npy", "--out", out)[0] == 0
    assert pd.read_parquet(out)["3"].to_numpy() == pytest.approx(
        fastmlp.load(tmp_path / "m").predict(frame.iloc[:, :3].to_numpy())[:, 0], rel=1e-6
    )
    np.savez(tmp_path / "matrix.npz", x=frame.iloc[:, :4].to_numpy().reshape(-1, 2, 2), y=np.arange(150) % 2)
    assert tables.read(tmp_path / "matrix.npz").keys() == {"x[0]", "x[1]", "x[2]", "x[3]", "y"}
