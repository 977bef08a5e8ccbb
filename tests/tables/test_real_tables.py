"""Real tables, exported with the warts that real exports have, from the command line: as a user would run it."""

from __future__ import annotations

import io
import re
import shlex

import numpy as np
import pandas as pd
import pytest

from fastmlp import tables

datasets = pytest.importorskip("statsmodels.api", reason="has the tables").datasets


def money(values, sign="$", mark="."):
    """1234.5 as "$1,234.50", or in the countries of the decimal comma "1.234,50 €"."""
    texts = [f"{value:,.2f}" for value in values]
    if mark == ",":
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    return [f"{sign}{text}" if mark == "." else f"{text} {sign}" for text in texts]


@pytest.fixture(scope="module")
def fair():
    """6,366 answers of 1974: affairs or not."""
    frame = datasets.fair.load_pandas().data
    return frame.assign(affairs=np.where(frame["affairs"] > 0, "yes", "no"))


@pytest.fixture(scope="module")
def firms():
    """Grunfeld's 11 firms over 20 years: investments in millions of dollars."""
    return datasets.grunfeld.load_pandas().data


def column(report, name):
    """The line of a column in a report of training."""
    return re.search(rf"^{re.escape(name)} +(.*?) *$", report, re.MULTILINE)[1]


def printed(report, name):
    """The network's number, and the linear model's, in a row of a report."""
    return [float(number) for number in re.search(rf"^{name}\s+(-?[\d.]+)\s+(-?[\d.]+)", report, re.MULTILINE).groups()]


def test_the_row_numbers_of_sorted_rows_give_nothing_away(fair, tmp_path, command):
    fair.sort_values("affairs").reset_index(drop=True).to_csv(tmp_path / "fair.csv")
    code, report, said = command("train", tmp_path / "fair.csv", "-t", "affairs", "--epochs", 20)
    assert (code, said) == (0, "") and column(report, "Unnamed: 0") == "left out: row numbers"
    network, linear = printed(report, "accuracy")
    assert 0.67 < network < 0.8 and abs(network - linear) < 0.03  # with the row numbers: 0.99
    assert "\nA linear model " in report


@pytest.mark.parametrize("way", ["american", "german", "excel"])
def test_money_is_a_number_as_input_and_as_target(firms, way, tmp_path, command):
    frame = firms.assign(invest=firms["invest"] * 1e6).round(2)
    reading = {"american": {}, "german": {"sep": ";", "decimal": ","}, "excel": {"sep": "\t"}}[way]
    mark, sign = (",", "€") if way == "german" else (".", "$")
    texts = frame.assign(invest=money(frame["invest"], sign, mark), value=money(frame["value"], sign, mark))
    path, out = tmp_path / "firms.csv", tmp_path / "m.safetensors"
    path.write_text(texts.to_csv(index=False, **reading), encoding="utf-16" if way == "excel" else "utf-8")
    code, report, said = command("train", path, "-t", "invest", "-o", out)
    assert (code, said) == (0, "")
    assert column(report, "invest").startswith("the target, a number") and sign in column(report, "invest")
    assert column(report, "value").startswith(
        f"a number, in {sign}, {'1,5 is 1.5' if mark == ',' else '1,000 is 1000'}"
    )
    assert printed(report, "r²")[0] > 0.85
    frame.to_csv(tmp_path / "plain.csv", index=False)
    assert command("train", tmp_path / "plain.csv", "-t", "invest", "-o", tmp_path / "plain")[0] == 0
    predictions = [tables.load(file).predict(path) for file in (out, tmp_path / "plain")]
    np.testing.assert_array_equal(*predictions)


def test_marks_of_missing_values_are_named_and_the_command_goes_on(firms, tmp_path, command):
    frame = firms.astype({"value": object, "capital": object})
    frame.loc[::4, "value"], frame.loc[1::3, "capital"] = ".", "unknown"
    frame["year"] = [f"01.01.{year:.0f}" for year in frame["year"]]
    frame["note"] = [f"see page {i} of {firm}" for i, firm in enumerate(frame["firm"])]
    frame.to_csv(tmp_path / "firms.csv", index=False)
    code, _, said = command("train", tmp_path / "firms.csv", "-t", "invest", "--epochs", 5)
    assert code == 2
    for part in (
        "'value': numbers, but '.' in row 1",
        "'capital': numbers, but 'unknown' in row 2",
        "'note': free text",
    ):
        assert part in said
    ready = shlex.split(said.partition("this goes on: ")[2].strip())
    assert ready[0] == "fastmlp"
    code, report, said = command(*ready[1:])
    assert (code, said) == (0, "")
    assert "55" in column(report, "value") and "left out: as you asked" in column(report, "note")
    assert "1935-01-01 … 1954-01-01" in column(report, "year")


def test_minus_999_is_questioned(firms, tmp_path, command):
    frame = firms.copy()
    frame.loc[::10, "capital"] = -999
    frame.to_csv(tmp_path / "firms.csv", index=False)
    start = ("train", tmp_path / "firms.csv", "-t", "invest", "--epochs", 5)
    code, _, said = command(*start)
    assert code == 0 and re.search(r"'capital' has -999 in \d+ of 176 rows, unlike the others, 0.8 to", said)
    code, report, said = command(*start, "--missing=-999")
    assert (code, said) == (0, "") and "22" in column(report, "capital")


def test_ids_in_order_are_left_out_and_years_can_be_taken(tmp_path, command):
    frame = datasets.longley.load_pandas().data
    frame.to_csv(tmp_path / "longley.csv", index_label="obs")
    start = ("train", tmp_path / "longley.csv", "-t", "TOTEMP")
    code, report, _ = command(*start)
    assert code == 0 and column(report, "obs") == column(report, "YEAR") == "left out: row numbers"
    assert column(report, "POP").startswith("a number")  # in order, too, but by leaps
    code, report, _ = command(*start, "--number", "YEAR")
    assert code == 0 and column(report, "YEAR").startswith("a number")


def test_prices_with_a_word_among_them_are_no_classes(firms, tmp_path, command):
    texts = [*money(firms["invest"][:-3]), "sold", "sold", "sold"]
    firms.assign(invest=texts).to_csv(tmp_path / "firms.csv", index=False)
    code, _, said = command("train", tmp_path / "firms.csv", "-t", "invest")
    assert code == 2 and "cannot learn to predict column 'invest': numbers, but 'sold' in row 218" in said
    assert said.endswith("--missing sold\n")


def test_a_rare_class_is_mentioned(fair, tmp_path, command):
    frame = fair.head(3000)
    rare = (frame["religious"] == 1) & (frame["rate_marriage"] <= 2) & (np.arange(len(frame)) % 3 > 0)
    frame.assign(often=np.where(rare ^ (np.arange(len(frame)) % 50 == 0), "yes", "no")).to_csv(tmp_path / "t.csv")
    start = ("train", tmp_path / "t.csv", "-t", "often", "--epochs", 30)
    code, report, _ = command(*start)
    found = re.search(
        r"^'yes' is found in (\d+) of its (\d+) rows only; --balanced or --threshold", report, re.MULTILINE
    )
    assert code == 0 and int(found[1]) < int(found[2]) / 2
    code, report, _ = command(*start, "--threshold", 0.05, "-o", tmp_path / "m")
    again = re.search(r"^yes +(\d+) +[\d.–]+ +([\d.]+)$", report, re.MULTILINE)
    assert code == 0 and float(again[2]) * int(again[1]) > int(found[1])
    code, out, _ = command("predict", tmp_path / "m", tmp_path / "t.csv", "--probabilities")
    said = pd.read_csv(io.StringIO(out))
    assert code == 0 and ((said["often"] == "yes") == (said["P(yes)"] >= 0.05)).all()
    code, out, _ = command("predict", tmp_path / "m", tmp_path / "t.csv", "--threshold", 0.5)
    assert (pd.read_csv(io.StringIO(out))["often"] == np.where(said["P(yes)"] >= 0.5, "yes", "no")).all()


def test_what_a_linear_model_can_do_is_said(tmp_path, command):
    frame = datasets.macrodata.load_pandas().data  # realgdp is all but the sum of others
    frame.drop(columns=["year", "quarter"]).to_csv(tmp_path / "macro.csv", index=False)
    code, report, _ = command("train", tmp_path / "macro.csv", "-t", "realgdp")
    network, linear = printed(report, "r²")
    assert code == 0 and linear > network and "\nA linear model does better here: " in report
    code, report, _ = command("train", tmp_path / "macro.csv", "-t", "realgdp", "--hidden", "", "--l2", 0)
    assert code == 0 and printed(report, "r²")[0] > network


def test_counts_with_poisson_and_weights(tmp_path, command):
    frame = datasets.randhie.load_pandas().data.head(2000).assign(times=lambda rows: 1 + np.arange(len(rows)) % 3)
    frame.to_csv(tmp_path / "visits.csv", index=False)
    options = ("--loss", "poisson", "--weight", "times", "-o", tmp_path / "m")
    code, report, _ = command("train", tmp_path / "visits.csv", "-t", "mdvis", "--task", "regression", *options)
    assert code == 0 and column(report, "times").startswith("the weight") and printed(report, "r²")[0] > 0.05
    said = tables.load(tmp_path / "m").predict(frame)
    assert said.min() > 0 and said.mean() == pytest.approx(np.average(frame["mdvis"], weights=frame["times"]), rel=0.15)
