"""`iris predict --csv` as a person meets it, with the model on this machine."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iris_service import cli
from iris_service.config import ModelSettings
from iris_service.errors import InvalidInput
from iris_service.model.irises import SPECIES, features_of, fisher_irises
from iris_service.model.runtime import load_model
from iris_service.tables import read_table
from versions import COMMITTED

HEADER = "sepal_length,sepal_width,petal_length,petal_width\n"
ANSWERS = ["label", "probability_setosa", "probability_versicolor", "probability_virginica"]


@pytest.fixture(autouse=True)
def _committed_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IRIS_MODELS", str(COMMITTED))
    monkeypatch.chdir(tmp_path)


def written(text: str | bytes) -> str:
    path = Path("in.csv")
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_all_irises_of_a_file_are_classified_beside_what_the_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    frame = fisher_irises()
    frame.to_csv("in.csv", index=False)
    assert cli.main(["predict", "--csv", "in.csv"]) == 0
    captured = capsys.readouterr()
    found = table(captured.out)
    assert captured.err == "", "no progress bar in a file or pipe"
    assert list(found[0]) == [*frame.columns, *ANSWERS]
    assert [row[SPECIES] for row in found] == frame[SPECIES].tolist()
    assert [row["label"] for row in found] == frame[SPECIES].tolist()
    model = load_model(ModelSettings(repository=COMMITTED))
    shares = model.predict([tuple(map(float, row)) for row in features_of(frame).to_numpy()])
    assert [tuple(float(row[name]) for name in ANSWERS[1:]) for row in found] == shares


def test_the_order_is_kept_over_many_pieces(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_MAX_ROWS", "7")
    rows = "".join(f"{1 + at / 100},3,1.4,0.2\n" for at in range(50))
    assert cli.main(["predict", "--csv", written(HEADER + rows)]) == 0
    assert [float(row["sepal_length"]) for row in table(capsys.readouterr().out)] == [1 + at / 100 for at in range(50)]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "5.1,3.5,1.4,0.2\n",
        (HEADER + "5.1,3.5,1.4,0.2\n").replace("\n", "\r\n"),
        'petal_width,petal_length, sepal_width ,"sepal_length"\n\n"0.2", 1.4,3.5,51e-1\n\n',
    ],
)
def test_the_usual_ways_to_write_a_file_are_understood(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "--csv", written(text)]) == 0
    [row] = table(capsys.readouterr().out)
    assert row["label"] == "setosa"


def test_what_is_no_feature_goes_through_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "note,,sepal_length,sepal_width,petal_length,petal_width\n" + '"a ""b"",\nc",NA,5.1,3.5,1.40,0.2\n'
    assert cli.main(["predict", "--csv", written(text)]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header[:2] == ["note", ""]
    assert row[:6] == ['a "b",\nc', "NA", "5.1", "3.5", "1.40", "0.2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + "1,1,1,1\n1,1,x,1\n", "in.csv, line 3: petal_length must be a decimal number"),
        (HEADER + "\n1,1,1,1\n\n\n1,1,1,99\n", "in.csv, line 6: petal_width must be a number from 0 to 30 cm"),
        (HEADER + "1,1,1,nan\n", "in.csv, line 2: petal_width"),
        (HEADER + "1,1,1\n", "in.csv, line 2: petal_width must be a decimal number"),
        ("note," + HEADER + '"a\nb",1,1,1,1\n"c\nd",1,1,1,\n', "in.csv, line 4: petal_width"),
        (HEADER + "1,1,1,1\n1,1,1,1,1\n", "in.csv is not CSV: line 3 has 5 values, the first has 4\n"),
        (HEADER, "no line below the first"),
        ("", "in.csv is empty\n"),
        (
            HEADER.replace(",", ";") + "1;1;1;1\n",
            "which must name the columns: it is parted by semicolons, not commas\n",
        ),
        (HEADER.replace(",", ";") + "1,0;1;1;1\n", "in.csv is not CSV: it is parted by semicolons, not commas\n"),
        (HEADER.replace(",", "\t") + "1\t1\t1\t1\n", "it is parted by tabs, not commas\n"),
        (b"\xff\xfe\n", "in.csv is not CSV: it is not UTF-8"),
        (HEADER + '"1,1,1,1\n', "in.csv is not CSV: a quotation mark is never closed\n"),
        ("sepal_length,sepal_width,petal_length\n1,1,1\n", "petal_width is missing in the first line"),
        ("petal_width," + HEADER + "1,1,1,1,1\n", "petal_width is named more than once"),
        ("label," + HEADER + "x,1,1,1,1\n", "has a column label already"),
    ],
)
def test_a_file_that_cannot_be_classified_is_named_by_line_and_column_and_gives_nothing(
    text: str | bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", "--csv", written(text)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("iris predict: ")
    assert words in line + "\n"


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "--csv", "nope.csv"]) == 1
    assert "cannot read nope.csv: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["5.1", "3.5", "1.4", "0.2", "--csv", "in.csv"]])
def test_flowers_come_as_values_or_as_a_file(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["predict", *arguments])


def test_json_and_csv_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "--csv", written(HEADER + "1,1,1,1\n"), "--json"]) == 1
    assert "--json" in capsys.readouterr().err


def test_a_file_is_not_compared_with_one_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "--csv", written(HEADER + "1,1,1,1\n"), "--expect", "setosa"]) == 1
    assert "--expect is for one flower" in capsys.readouterr().err


def run(sent: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("iris")), "predict", "--csv", "-"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(command, input=sent, text=True, timeout=60, **streams)


def test_a_file_may_come_through_a_pipe() -> None:
    done = run(HEADER + "5.1,3.5,1.4,0.2\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert table(done.stdout)[0]["label"] == "setosa"


def test_on_a_terminal_the_progress_is_drawn_beside_the_answer() -> None:
    ours, theirs = os.openpty()
    try:
        done = run(HEADER + "5.1,3.5,1.4,0.2\n" * 3, stderr=theirs)
        drawn = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert len(table(done.stdout)) == 3
    assert "standard input" in drawn
    assert "3/3" in drawn


def test_an_answer_that_cannot_be_written_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = run(HEADER + "5.1,3.5,1.4,0.2\n", stdout=full)
    assert done.returncode == 1
    assert "the output is not complete" in done.stderr


def test_a_line_is_found_again_among_empty_and_broken_ones() -> None:
    found = read_table(Path(written('a,b\n\n1,"x\ny"\n\n2,z\n')))
    assert found.rows == [["1", "x\ny"], ["2", "z"]]
    assert [found.line(row) for row in (0, 1)] == [3, 6]


def test_no_file_makes_the_reader_fail_in_another_way() -> None:
    for damage in (b'"', b"\x00", b"\r", b",,,,,,\n", b"\xff", b"\n" * 9, b'"" ""'):
        for at in (0, 5, len(HEADER), len(HEADER) + 4):
            text = (HEADER + "1,1,1,1\n2,2,2,2\n").encode()
            try:
                assert read_table(Path(written(text[:at] + damage + text[at:]))).rows
            except InvalidInput:
                pass
