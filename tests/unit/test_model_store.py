"""The repository: what is published, what is listed, and every file that is not what its card promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from iris_service.errors import ModelNotFound, ModelRejected, VersionExists
from iris_service.model.card import MAX_ARTIFACT_BYTES, MAX_CARD_BYTES, Artifact, Card, card_to_json
from iris_service.model.store import ModelRepository, digest_of
from versions import COMMITTED, committed_card, publish

CONTENT = b"not parsed by the repository"


def published(root: Path, version: str = "1") -> tuple[ModelRepository, Card]:
    publish(root, "onnx", CONTENT, version=version)
    repository = ModelRepository(root)
    return repository, repository.card("iris", version)


def test_what_was_published_is_read_back(tmp_path: Path) -> None:
    repository, card = published(tmp_path)
    assert repository.artifact_bytes(card, "onnx") == CONTENT
    assert repository.versions("iris") == ["1"]


def test_another_user_may_read_a_published_version(tmp_path: Path) -> None:
    published(tmp_path)
    assert (tmp_path / "iris" / "1").stat().st_mode & 0o055 == 0o055
    assert (tmp_path / "iris" / "1" / "card.json").stat().st_mode & 0o044 == 0o044


def test_versions_are_listed_as_people_count(tmp_path: Path) -> None:
    for version in ("10", "2", "1.10", "1.9", "beta"):
        published(tmp_path, version)
    assert ModelRepository(tmp_path).versions("iris") == ["1.9", "1.10", "2", "10", "beta"]


def test_folders_that_are_no_versions_are_not_listed(tmp_path: Path) -> None:
    published(tmp_path)
    for name in (".draft-x", "empty", "bad name"):
        (tmp_path / "iris" / name).mkdir()
    (tmp_path / "iris" / "bad name" / "card.json").touch()
    (tmp_path / "iris" / "link").symlink_to("1")
    assert ModelRepository(tmp_path).versions("iris") == ["1"]


def test_a_model_or_version_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    repository, _ = published(tmp_path)
    for ask in (
        lambda: repository.versions("rose"),
        lambda: repository.card("rose", "1"),
        lambda: repository.card("iris", "2"),
        lambda: ModelRepository(tmp_path / "nowhere").card("iris", "1"),
    ):
        with pytest.raises(ModelNotFound):
            ask()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../iris", "iris/1", "/etc", "Iris", "iris\n", "-iris", "i" * 64, "ïris"]
)
def test_a_name_that_could_leave_the_repository_is_refused(tmp_path: Path, name: str) -> None:
    repository, _ = published(tmp_path)
    with pytest.raises(ModelRejected, match="is not a model name"):
        repository.card(name, "1")
    with pytest.raises(ModelRejected, match="is not a model name"):
        repository.versions(name)


@pytest.mark.parametrize("version", ["", "..", "1/../1", "1\n", ".draft-x", "1" * 64, "1\0"])
def test_a_version_that_could_leave_the_repository_is_refused(tmp_path: Path, version: str) -> None:
    repository, _ = published(tmp_path)
    with pytest.raises(ModelRejected, match="is not a version name"):
        repository.card("iris", version)


def test_the_longest_names_are_63_characters(tmp_path: Path) -> None:
    publish(tmp_path, "onnx", CONTENT, model="m" * 63, version="V" * 63)
    assert ModelRepository(tmp_path).versions("m" * 63) == ["V" * 63]


def test_a_card_in_the_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    repository, _ = published(tmp_path)
    (tmp_path / "iris" / "1").rename(tmp_path / "iris" / "2")
    with pytest.raises(ModelRejected, match="the card in iris/2 describes iris 1"):
        repository.card("iris", "2")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(CONTENT[:-1]), "has 27 bytes, its card says 28"),
        (lambda file: file.write_bytes(CONTENT + b"!"), "has 29 bytes, its card says 28"),
        (lambda file: file.write_bytes(CONTENT[:-1] + b"!"), "has digest sha256:.*, its card says"),
        (lambda file: file.write_bytes(b""), "has 0 bytes"),
        (lambda file: file.unlink(), "there is no iris/1/model.onnx"),
        (lambda file: (file.unlink(), file.mkdir()), "not a regular file"),
        (
            lambda file: (
                subprocess.run(["mkfifo", file.with_name("pipe")], check=True) and file.with_name("pipe").rename(file)
            ),
            "not a regular file",
        ),
        (lambda file: (file.rename(file.with_name("real")), file.symlink_to("real")), "links are not followed"),
    ],
    ids=["truncated", "longer", "altered", "empty", "missing", "folder", "pipe", "link"],
)
def test_an_artifact_that_is_not_the_one_on_the_card_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    repository, card = published(tmp_path)
    damage(tmp_path / "iris" / "1" / "model.onnx")
    with pytest.raises(ModelRejected, match=reason):
        repository.artifact_bytes(card, "onnx")


@pytest.mark.parametrize("linked", ["iris", "iris/1", "iris/1/card.json"])
def test_no_link_below_the_root_is_followed(tmp_path: Path, linked: str) -> None:
    repository, _ = published(tmp_path / "models")
    path = tmp_path / "models" / linked
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(ModelRejected, match="links are not followed"):
        repository.card("iris", "1")


def test_the_root_itself_may_be_a_link_as_mounted_volumes_are(tmp_path: Path) -> None:
    published(tmp_path / "volume")
    (tmp_path / "models").symlink_to("volume")
    assert ModelRepository(tmp_path / "models").card("iris", "1").version == "1"


def test_a_card_file_of_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    repository, card = published(tmp_path)
    file = tmp_path / "iris" / "1" / "card.json"
    file.write_bytes(card_to_json(card).ljust(MAX_CARD_BYTES))
    assert repository.card("iris", "1") == card
    file.write_bytes(card_to_json(card).ljust(MAX_CARD_BYTES + 1))
    with pytest.raises(ModelRejected, match="larger than"):
        repository.card("iris", "1")


def test_an_artifact_of_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    largest = bytes(MAX_ARTIFACT_BYTES)
    publish(tmp_path, "onnx", largest)
    repository = ModelRepository(tmp_path)
    card = repository.card("iris", "1")
    assert len(repository.artifact_bytes(card, "onnx")) == MAX_ARTIFACT_BYTES
    os.truncate(tmp_path / "iris" / "1" / "model.onnx", MAX_ARTIFACT_BYTES + 1)
    with pytest.raises(ModelRejected, match=f"larger than {MAX_ARTIFACT_BYTES} bytes"):
        repository.artifact_bytes(card, "onnx")


def test_a_published_version_never_changes(tmp_path: Path) -> None:
    repository, card = published(tmp_path)
    with pytest.raises(VersionExists, match="iris 1 is already published and never changes"):
        publish(tmp_path, "onnx", b"other")
    assert repository.card("iris", "1") == card
    assert repository.artifact_bytes(card, "onnx") == CONTENT


def test_of_publishers_at_the_same_time_one_wins_and_leaves_a_whole_version(tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        try:
            publish(tmp_path, "onnx", b"x" * (number + 1))
        except VersionExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    repository = ModelRepository(tmp_path)
    repository.artifact_bytes(repository.card("iris", "1"), "onnx")
    assert [path.name for path in (tmp_path / "iris").iterdir()] == ["1"]


@pytest.mark.parametrize("artifacts", [{}, {"model.onnx": b"other"}, {"model.onnx": CONTENT, "more": b""}])
def test_artifacts_that_are_not_those_of_the_card_are_not_published(
    tmp_path: Path, artifacts: dict[str, bytes]
) -> None:
    described = {"onnx": Artifact("model.onnx", len(CONTENT), digest_of(CONTENT))}
    card = msgspec.structs.replace(committed_card(), artifacts=described)
    with pytest.raises(ModelRejected, match="not those of the card"):
        ModelRepository(tmp_path).publish(card, artifacts)
    assert not (tmp_path / "iris").exists()


def test_a_card_that_could_not_be_read_back_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="matching regex"):
        publish(tmp_path, "onnx", CONTENT, version="../../escape")
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "iris").touch()
    with pytest.raises(ModelRejected, match="iris 1 cannot be written"):
        publish(tmp_path, "onnx", CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]


def test_reading_cards_and_artifacts_imports_no_model_library() -> None:
    script = (
        "import sys; from pathlib import Path; from iris_service.model.store import ModelRepository\n"
        "repository = ModelRepository(Path(sys.argv[1])); card = repository.card('iris', '1')\n"
        "repository.artifact_bytes(card, 'onnx')\n"
        "print({'numpy', 'pandas', 'sklearn', 'onnxruntime', 'onnx', 'skops', 'joblib', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(COMMITTED)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
