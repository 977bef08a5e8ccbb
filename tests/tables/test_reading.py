"""Tables out of files of all kinds, dialects and encodings, and out of frames: each gives the same columns."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets as sklearn_datasets

import fastmlp
from fastmlp import tables
from fastmlp.tables import Reading


@pytest.fixture(scope="module")
def wine():
    """A table with umlauts in names and classes."""
    bunch = sklearn_datasets.load_wine(as_frame=True)
    frame = bunch.frame.rename(columns={"ash": "Asche, gelöst"})
    return frame.assign(target=np.array(["rosé", "müller", "crémant"])[bunch.target])


def same(table, frame):
    """Whether a table has a frame's columns."""
    assert list(table) == list(frame.columns)
    for name in frame:
        if pd.api.types.is_numeric_dtype(frame[name]):
            np.testing.assert_allclose(table[name].numbers, frame[name].to_numpy(float), rtol=1e-12)
        else:
            assert table[name].as_written().tolist() == frame[name].tolist()


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


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
    commas = models[4].metadata["table"].pop("decimal")
    assert commas == "," and all(model.metadata["table"].pop("decimal", ".") == "." for model in models)
    assert all("1,5 is 1.5" in column["taken"] for column in models[4].metadata["report"]["columns"][:4])
    for model in models:
        model.metadata["report"]["columns"] = None
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


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ":", "^", "~"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separators_and_encodings(wine, separator, encoding, tmp_path):
    (tmp_path / "t.txt").write_bytes(wine.to_csv(index=False, sep=separator).encode(encoding))
    if encoding == "cp1252":
        with pytest.warns(UserWarning, match="is not in UTF-8 and was read as cp1252"):
            same(tables.read(tmp_path / "t.txt"), wine)
    same(tables.read(tmp_path / "t.txt", Reading(encoding=encoding, separator=separator)), wine)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", "Алкоголь Яблочная Щёлочность Магний Фенолы Оттенок Пролин Красное Белое Розовое"),
        ("cp1253", "Αλκοόλη Μηλικό Αλκαλικότητα Μαγνήσιο Φαινόλες Απόχρωση Προλίνη Κόκκινο Λευκό Ροζέ"),
        (
            "cp932",
            "アルコール リンゴ酸の量 灰分のアルカリ度 マグネシウム 総フェノール 色相 プロリン 赤ワイン 白ワイン 桃色",
        ),
        (
            "gb18030",
            "酒精的含量 苹果酸的含量 灰分的碱度 镁的含量 总酚的含量 颜色的色调 "
            "脯氨酸的含量 红葡萄酒 白葡萄酒 桃红葡萄酒",
        ),
    ],
)
def test_letters_of_other_scripts_are_found_out(wine, encoding, words, tmp_path):
    *names, red, white, rose = words.split()
    kinds = {"rosé": rose, "müller": white, "crémant": red}
    frame = wine.iloc[:, [0, 1, 3, 4, 5, 10, 12, 13]].set_axis([*names, "target"], axis=1)
    frame["target"] = frame["target"].map(kinds)
    (tmp_path / "t.csv").write_bytes(frame.to_csv(index=False).encode(encoding))
    with pytest.warns(UserWarning, match="is not in UTF-8"):
        same(tables.read(tmp_path / "t.csv"), frame)


def dialects(frame):
    """The same table as programs write it."""
    text = frame.to_csv(index=False)
    plain = frame.rename(columns=lambda name: name.replace(" ", "_").replace(",", ""))
    rows = plain.to_numpy()
    yield "blanks", plain.to_string(index=False), plain
    yield "savetxt", "# " + " ".join(plain) + "\n" + "\n".join(" ".join(map(str, row)) for row in rows), plain
    yield "excel", "sep=;\r\n" + frame.to_csv(index=False, sep=";"), frame
    yield "title", "A report,,,\nmade 2024,,,\n\n" + text, frame
    yield "trailing", "\n".join(f"{line}," for line in text.splitlines()), frame
    yield "empty rows", text + "\n\n" + "," * (len(frame.columns) - 1) + "\n", frame
    yield "blanks in names", frame.rename(columns=lambda name: f"  {name} ").to_csv(index=False), frame
    yield "quoted", frame.to_csv(index=False, quoting=1), frame
    named = "\n".join(
        [" ".join(f'"{name}"' for name in plain)]
        + [f'"{i + 1}" {" ".join(map(str, row))}' for i, row in enumerate(rows)]
    )
    yield "R", named, plain.assign(**{"Unnamed: 0": range(1, len(frame) + 1)})[["Unnamed: 0", *plain]]
    yield "index", frame.to_csv(), frame.assign(**{"Unnamed: 0": range(len(frame))})[["Unnamed: 0", *frame]]
    for orient in ("records", "columns", "split", "index"):
        yield f"{orient}.json", frame.to_json(orient=orient), frame
    yield "lines.json", frame.to_json(orient="records", lines=True), frame
    yield "named.json", json.dumps({"rows": json.loads(frame.to_json(orient="records"))}), frame
    for name, pack in (("bz2", bz2.compress), ("xz", lzma.compress), ("gz", gzip.compress)):
        yield name, pack(text.encode()), frame
    yield "zip", zipped(wine_csv=text), frame
    yield "zip with words", zipped(wine_csv=text, readme_md="read me"), frame
    yield "gz in zip", zipped(wine_csv_gz=gzip.compress(text.encode())), frame


@pytest.mark.filterwarnings("ignore:the (table|archive) has:UserWarning")
def test_what_programs_write(wine, tmp_path):
    count = 0
    for name, text, frame in dialects(wine):
        path = tmp_path / ("t.json" if name.endswith("json") else "t.data")  # its content says what it is
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        same(tables.read(path), frame)
        count += 1
    assert count == 22


def test_excel(wine, tmp_path):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        wine.to_excel(book, sheet_name="Wein", startrow=2, index=False)
        wine.head(9).assign(day=pd.Timestamp("2024-03-05")).to_excel(book, sheet_name="Tage", index=False)
    with pytest.warns(UserWarning, match=r"has several sheets; 'Wein' is read, not 'Tage'"):
        same(tables.read(tmp_path / "t.xlsx"), wine)
    other = tables.read(tmp_path / "t.xlsx", Reading(sheet="Tage"))
    assert other["day"].days("moment").tolist() == 9 * [(pd.Timestamp("2024-03-05") - pd.Timestamp(0)).days]
    with pytest.raises(ValueError, match=r"has no sheet 'x'; it has 'Wein', 'Tage'"):
        tables.read(tmp_path / "t.xlsx", Reading(sheet="x"))


def test_without_a_header(wine, tmp_path):
    wine.to_csv(tmp_path / "t.csv", index=False, header=False)
    frame = wine.set_axis([str(i + 1) for i in range(len(wine.columns))], axis=1)
    same(tables.read(tmp_path / "t.csv", Reading(header=False)), frame)
    with pytest.warns(
        UserWarning, match="the first line is taken as the columns' names, though it has the number 14.23"
    ):
        tables.read(tmp_path / "t.csv")


def test_the_index_of_one_column_is_no_title(tmp_path):
    pd.Series([5, 7, 9], name="y").to_csv(tmp_path / "t.csv")
    table = tables.read(tmp_path / "t.csv")
    assert list(table) == ["Unnamed: 0", "y"] and table["y"].numbers.tolist() == [5, 7, 9]
    (tmp_path / "t.csv").write_text("A title,\nx,y\n1,2\n3,4\n")
    with pytest.warns(UserWarning, match="has 1 line above the columns' names"):
        assert list(tables.read(tmp_path / "t.csv")) == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel workbook"),
        (b"SQLite format 3\0", "SQLite"),
        (b"%PDF-1.4", "a PDF"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"$FL2@(#)", "SPSS"),
        (b"<stata_dta>", "Stata"),
        (b"RDX3\n", "an R file"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\x80\x04K\x01.", "a pickle"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cell"),
        (zipped(a_csv="x\n1", b_csv="x\n1"), r"has 2 files in it \('a.csv', 'b.csv'\): unpack the one"),
        (b"a;b\n1;2\n", "must be one character, tab or blank, got 'ab'"),
        (b'{"a": 5}', "is JSON, but no table"),
        (b'[{"a": [1]}, 5]', "is JSON, but no table"),
        (b'{"a": [1, 2], "b": [1]}', "different lengths"),
        (b"[" * 100_000, "nested too deeply|is no JSON"),
        (b"a,a\n1,2\n", "two columns are named 'a': rename one"),
    ],
)
def test_what_is_no_table_is_named(content, said, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    reading = Reading(separator="ab") if b"a;b" in content else None
    with pytest.raises(ValueError, match=said) as refusal:
        tables.read(path, reading)
    assert str(refusal.value).startswith(f"{path}: ")


FRAMES = {
    "pandas": lambda frame: frame,
    "nullable": lambda frame: frame.convert_dtypes(),
    "arrow's types": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "arrow": lambda frame: pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False),
    "polars": lambda frame: pytest.importorskip("polars").from_pandas(frame),
    "dict": lambda frame: {name: frame[name].tolist() for name in frame},
    "arrays": lambda frame: {name: frame[name].to_numpy() for name in frame},
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind):
    """Each kind of column, with missing values, out of each kind of frame."""
    frame = pd.DataFrame(
        {
            "number": [1.5, None, 3.0, 4.25],
            "whole": [1, 2, 3, 4],
            "text": ["a", None, "b", "a"],
            "yes": [True, False, True, True],
            "when": pd.to_datetime(["2020-01-01", "2020-01-02", None, "1960-05-05"]),
        }
    )
    if kind != "dict":  # whose lists have no types of their own
        frame["kind"] = pd.Categorical(["x", "y", "x", None])
        frame["small"] = frame["number"].astype("float32")
    table = tables.table_of(FRAMES[kind](frame))
    np.testing.assert_array_equal(table["number"].numbers, [1.5, np.nan, 3, 4.25])
    np.testing.assert_array_equal(table["whole"].numbers, [1, 2, 3, 4])
    np.testing.assert_array_equal(table["yes"].numbers, [1, 0, 1, 1])
    assert [table["text"].text(row) for row in range(4)] == ["a", None, "b", "a"]
    np.testing.assert_array_equal(table["when"].days("moment"), [18262, 18263, np.nan, -3528])
    if kind != "dict":
        assert table["kind"].distinct == ["x", "y"] and table["kind"].codes.tolist() == [0, 1, 0, -1]
        np.testing.assert_array_equal(table["small"].numbers, [1.5, np.nan, 3, 4.25])


def test_columns_of_mixed_objects_and_bad_frames():
    table = tables.table_of(pd.DataFrame({"a": [1, "?", 2.5, None], "b": [True, None, False, True]}))
    np.testing.assert_array_equal(table["a"].numbers, [1, np.nan, 2.5, np.nan])
    np.testing.assert_array_equal(table["b"].numbers, [1, np.nan, 0, 1])
    with pytest.raises(TypeError, match="a table must be a frame"):
        tables.table_of([1, 2])
    with pytest.raises(ValueError, match="two columns of one name"):
        tables.table_of(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    table = tables.table_of(pd.DataFrame({"a": [[1], None], "b": [1, 2], "y": ["p", "q"]}))
    assert table["a"].numbers is None and table["a"].present.tolist() == [True, False]
    with pytest.raises(ValueError, match="column 'a' has values of type list, neither numbers nor text"):
        _ = table["a"].distinct
    with pytest.raises(tables.RefusedColumns, match="column 'a': values of type list") as refusal:
        tables.Schema.of(table, "y")
    assert refusal.value.cures == [("ignore", "a")]
    assert tables.Schema.of(table, "y", ignore=["a"]).inputs == ["b"]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
    assert tables.read("-")["b"].numbers.tolist() == [2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n")))
    with pytest.raises(ValueError, match="standard input: has no rows"):
        tables.read("-")


def test_a_last_row_that_is_a_sum_is_questioned(tmp_path):
    lines = ["state,a", *(f"s{i % 7},{i}" for i in range(30))]
    (tmp_path / "t.csv").write_text("\n".join([*lines, "Total,435"]))
    with pytest.warns(UserWarning, match="the last row is called 'Total' in column 'state'"):
        tables.read(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("\n".join([*lines, "total,3", "total,4"]))  # a category
    tables.read(tmp_path / "t.csv")
