"""Verifying and showing a version as `iris model verify` and `iris model show` do."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from iris_service.errors import ModelNotFound, ModelRejected
from iris_service.model.card import Card, card_from_json, card_to_json
from iris_service.model.report import print_card
from iris_service.model.verify import card_at, verify
from versions import COMMITTED, committed_card, publish


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(COMMITTED / "iris" / "1", tmp_path / "iris" / "1"))


def shown(card: Card) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_card(card, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_committed_version_passes_every_check(version: str) -> None:
    checks: list[str] = []
    card = verify(COMMITTED / "iris" / version, checks.append)
    assert card == committed_card(version)
    assert checks == [
        f"the card describes iris {version} and is consistent",
        f"onnx: {card.artifacts['onnx'].size} bytes with the digest of the card",
        "onnx: answers the 11 golden rows as the card says",
        f"skops: {card.artifacts['skops'].size} bytes with the digest of the card",
        "skops: answers the 11 golden rows as the card says",
        "there is no file that the card does not name",
    ]


def test_a_relative_path_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(COMMITTED / "iris" / "1")
    assert card_at(Path()) == committed_card()
    monkeypatch.chdir(COMMITTED)
    assert card_at(Path("iris/1")) == committed_card()


@pytest.mark.parametrize("name", ["card.json", "model.onnx", "model.skops"])
def test_a_missing_file_is_found(tmp_path: Path, name: str) -> None:
    folder = copied(tmp_path)
    (folder / name).unlink()
    with pytest.raises(ModelNotFound, match=rf"there is no iris/1/{name}|iris/1 has no {name}"):
        verify(folder, lambda check: None)


@pytest.mark.parametrize("name", ["model.onnx", "model.skops"])
def test_one_changed_bit_is_found(tmp_path: Path, name: str) -> None:
    file = copied(tmp_path) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelRejected, match=f"{name} has digest"):
        verify(file.parent, lambda check: None)


def test_a_file_beside_the_named_ones_is_found(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "model.pkl").touch()
    with pytest.raises(ModelRejected, match=r"model\.pkl is not named by the card"):
        verify(folder, lambda check: None)


def test_a_pickle_is_verified_without_being_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    checks: list[str] = []
    publish(tmp_path / "models", "pickle", pickle.dumps(Bomb()))
    verify(tmp_path / "models" / "iris" / "1", checks.append)
    assert "pickle: not loaded, because that would run its author's code" in checks
    assert not (tmp_path / "exploded").exists()


def test_a_shown_card_tells_what_it_takes_how_good_it_is_and_what_it_answers() -> None:
    text = shown(committed_card())
    for expected in (
        "iris 1",
        "RandomForestClassifier(n_estimators=100), seed 42",
        committed_card().artifacts["onnx"].digest,
        "accuracy 0.889, log loss 0.194 on 45 rows",
        "0.953 ± 0.032 in 20 folds",
        "0 to 30",
        "4.3 to 7.9",
        "the article's virginica",
    ):
        assert expected in text


def test_the_text_of_a_card_is_shown_as_it_is_and_never_as_markup() -> None:
    card = committed_card()
    recipe = msgspec.structs.replace(card.recipe, reason="[red]not red[/red] [link=x]")
    assert "[red]not red[/red] [link=x]" in shown(msgspec.structs.replace(card, recipe=recipe))


def test_showing_a_card_imports_no_model_library() -> None:
    script = (
        "import sys; from pathlib import Path; from rich.console import Console\n"
        "from iris_service.model.verify import card_at; from iris_service.model.report import print_card\n"
        "print_card(card_at(Path(sys.argv[1]) / 'iris' / '1'), Console())\n"
        "print({'numpy', 'pandas', 'sklearn', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(COMMITTED)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_the_json_of_a_card_is_the_card() -> None:
    assert card_from_json(card_to_json(committed_card())) == committed_card()


WITHOUT_SKOPS = """
import sys; from importlib.machinery import PathFinder; from pathlib import Path
class Hidden(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "skops" else super().find_spec(name, path, target)
sys.meta_path[:] = [Hidden if finder is PathFinder else finder for finder in sys.meta_path]
from iris_service.config import ModelSettings; from iris_service.errors import ModelRejected
from iris_service.model.runtime import load_model; from iris_service.model.verify import verify
root = Path(sys.argv[1])
verify(root / "iris" / "1", print)
try:
    load_model(ModelSettings(root, artifact_format="skops"))
except ModelRejected as refusal:
    print(refusal)
"""


def test_an_installation_for_serving_verifies_what_it_can_and_says_what_it_lacks() -> None:
    command = [sys.executable, "-c", WITHOUT_SKOPS, str(COMMITTED)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "onnx: answers the 11 golden rows as the card says" in lines
    assert "skops: not loaded, because skops is not installed here" in lines
    assert lines[-1] == "a skops artifact needs skops, which is not installed here"
