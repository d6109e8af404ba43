"""The command line as a person meets it, without starting anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from iris_service import cli
from versions import COMMITTED

HEAVY = ("numpy", "onnxruntime", "pandas", "redis", "rich", "rq", "sklearn", "starlette", "structlog", "uvicorn")


@pytest.fixture(autouse=True)
def _committed_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IRIS_MODELS", str(COMMITTED))
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {command.name} " in text and command.summary in text for command in cli.COMMANDS)
    assert "iris predict 5.1 3.5 1.4 0.2" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", [command.name for command in cli.COMMANDS])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([*name.split(), "--help"])
    assert capsys.readouterr().out.startswith(f"usage: iris {name} ")


def test_without_a_command_the_help_is_shown_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: iris COMMAND" in capsys.readouterr().err


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("iris 0.")


def test_help_loads_no_library() -> None:
    code = (
        "import sys; from iris_service import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_one_flower_is_classified_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "5.1", "3.5", "1.4", "0.2"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["setosa", "1.000"]


def test_json_is_the_result_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "6.7", "3.0", "5.2", "2.3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert [answer["class"] for answer in result] == ["setosa", "versicolor", "virginica"]
    assert max(result, key=lambda answer: answer["probability"])["class"] == "virginica"
    assert all(len(answer["probability"]) == len("0.000") for answer in result)


def test_a_script_can_check_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    flower = ["predict", "5.1", "3.5", "1.4", "0.2"]
    assert cli.main([*flower, "--expect", "setosa"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main([*flower, "--expect", "virginica"]) == 1
    assert capsys.readouterr().err == "iris predict: setosa is the likeliest, not virginica\n"


def test_a_class_that_there_is_not_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "5.1", "3.5", "1.4", "0.2", "--expect", "nonsense"]) == 1
    captured = capsys.readouterr()
    sentence = "--expect: there is no class nonsense, there are setosa, versicolor, virginica"
    assert (captured.out, captured.err) == ("", f"iris predict: {sentence}\n")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["5.1", "3.5", "1.4"], "a row must have 4 numbers"),
        (["5.1", "3.5", "1.4", "0.2", "1"], "a row must have 4 numbers"),
        (["5.1", "3.5", "1.4", "99"], "petal_width must be a number from"),
        (["5.1", "3.5", "1.4", "-1"], "petal_width must be a number from"),
    ],
)
def test_a_flower_that_is_none_is_refused_in_one_line(
    values: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", *values]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("iris predict: ")
    assert words in line


@pytest.mark.parametrize("value", ["tall", "nan", "inf", "1e999", "", "1_0", "\uff15", "5,1"])
def test_what_is_no_number_is_wrong_usage(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["predict", "5.1", "3.5", "1.4", value])
    assert "must be a decimal number" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["-1", "two", "1.5", "65"])
def test_a_number_of_workers_that_is_none_is_wrong_usage(workers: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["up", "--workers", workers])


@pytest.mark.parametrize("command", ["up", "api", "worker", "recovery", "predict 1 1 1 1"])
def test_a_setting_that_cannot_be_used_is_named_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IRIS_QUEUE_LIMIT", "many")
    assert cli.main(command.split()) == 78
    [line] = capsys.readouterr().err.splitlines()
    assert "IRIS_QUEUE_LIMIT must be a whole number, not 'many'" in line


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("99999", "--port must be from 0 to 65535, not 99999"), ("8.5", "--port must be a whole number, not '8.5'")],
)
def test_a_port_option_is_checked_like_its_setting_and_named_as_it_was_typed(
    capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    assert cli.main(["up", "--port", text]) == 78
    assert capsys.readouterr().err == f"iris up: {sentence}\n"


@pytest.mark.parametrize("command", ["up", "predict 1 1 1 1"])
def test_models_that_are_not_there_are_named_with_the_place_and_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.delenv("IRIS_MODELS")
    assert cli.main(command.split()) == 65
    assert f"there is no folder {tmp_path}/models (IRIS_MODELS)\n" in capsys.readouterr().err


def test_an_unknown_model_version_stops_up_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up", "--version", "77", "--data", str(tmp_path / "data")]) == 65
    sentence = f"there is no version 77 of iris in {COMMITTED} (IRIS_MODELS), there is 1, 2"
    assert capsys.readouterr().err == f"iris up: {sentence}\n"
    assert not (tmp_path / "data").exists()


def test_a_published_version_is_verified_check_by_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["model", "verify", str(COMMITTED / "iris" / "1")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "iris 1 is as published"
    assert all(line.startswith("ok  ") for line in lines[:-1])


def test_a_version_that_was_tampered_with_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "iris" / "1"
    folder.mkdir(parents=True)
    for file in (COMMITTED / "iris" / "1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx").write_bytes(data)
    assert cli.main(["model", "verify", str(folder)]) == 65
    assert "digest" in capsys.readouterr().err


def test_a_card_is_shown_as_tables_or_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    path = COMMITTED / "iris" / "2"
    assert cli.main(["model", "show", str(path)]) == 0
    assert "iris 2" in capsys.readouterr().out
    assert cli.main(["model", "show", str(path), "--json"]) == 0
    assert capsys.readouterr().out.encode() == (path / "card.json").read_bytes()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "", "http://[::1", "http://x:port", "http:/x"])
def test_a_url_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "1", "1", "1", "1", "--url", url]) == 1
    assert "--url must be http:// or https:// and a host" in capsys.readouterr().err


def test_a_missing_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    for name in [name for name in sys.modules if name.startswith(("iris_service.api", "starlette."))]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["api"]) == 1
    assert "in a clone, pip install -e '.[api]'" in capsys.readouterr().err
