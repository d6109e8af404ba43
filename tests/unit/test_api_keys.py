"""API keys and the file they come from."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from iris_service.api.api_keys import MOST_BYTES, MOST_KEYS, ApiKeys, new_key, parse_keys
from iris_service.errors import InvalidInput, SettingsError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


SHOP, LAB = new_key("shop"), new_key("lab")


def digest(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


def names(keys: ApiKeys, *secrets: str) -> list[str | None]:
    async def ask() -> list[str | None]:
        return [await keys.name_of(secret.encode()) for secret in secrets]

    return asyncio.run(ask())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n\n  {SHOP.line}  \n{LAB.line}\n")
    return path


def test_a_key_lets_in_its_caller_and_nothing_else_does(file: Path) -> None:
    keys = ApiKeys(file)
    assert names(keys, SHOP.key, LAB.key) == ["shop", "lab"]
    others = ["", "shop", SHOP.key[:-1], SHOP.key + "x", SHOP.key.lower(), SHOP.line, SHOP.line.rpartition(":")[2]]
    assert names(keys, *others) == [None] * len(others)


def test_new_keys_are_long_and_all_differ() -> None:
    made = {new_key("shop").key for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("iris_") and len(key) == 48 for key in made)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a:b", "ü", "a\n", "a/b", "@1.2.3.4"])
def test_what_is_no_name_gets_no_key(name: str) -> None:
    with pytest.raises(InvalidInput):
        new_key(name)


def test_a_caller_may_have_two_keys_while_one_takes_over(tmp_path: Path) -> None:
    later = new_key("shop")
    (tmp_path / "keys").write_text(f"{SHOP.line}\n{later.line}")
    assert names(ApiKeys(tmp_path / "keys"), SHOP.key, later.key) == ["shop", "shop"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("shop:hunter2", "line 1 is not name:sha256:"),
        (f"# first\nshop:md5:{digest(1)}", "line 2"),
        (f"shop:sha256:{digest(1)[:-1]}", "line 1"),
        (f"shop:sha256:{digest(1).upper()}", "line 1"),
        (f"a b:sha256:{digest(1)}", "line 1"),
        (f"{SHOP.line} # mine", "line 1"),
        (f"shop:sha256:{digest(1)}\nlab:sha256:{digest(1)}", "line 2 gives another name to a key"),
        ("\n".join(f"shop:sha256:{digest(number)}" for number in range(MOST_KEYS + 1)), "1001 keys"),
    ],
    ids=["a word", "another hash", "short", "upper case", "a bad name", "more on the line", "two names", "too many"],
)
def test_a_file_that_cannot_be_used_is_refused_by_line_and_not_repeated(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_keys(text)
    (tmp_path / "keys").write_text(text)
    with pytest.raises(SettingsError, match="IRIS_API_KEYS_FILE") as refusal:
        ApiKeys(tmp_path / "keys")
    assert "hunter2" not in str(refusal.value)
    assert digest(1)[:8] not in str(refusal.value)


def test_as_many_keys_as_allowed_are_read() -> None:
    text = "\n".join(f"shop:sha256:{digest(number)}" for number in range(MOST_KEYS))
    assert len(parse_keys(text)) == MOST_KEYS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"), (b"", "no key"), (b"# none\n", "no key"), (b"\xff", "UTF-8"),
        (b" " * (MOST_BYTES + 1), "more than"),
    ],
    ids=["gone", "empty", "comments", "not text", "large"],
)  # fmt: skip
def test_at_the_start_there_must_be_keys(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(SettingsError, match=reason):
        ApiKeys(tmp_path / "keys")


def test_a_changed_file_is_read_again_within_a_second_and_not_more_often(file: Path) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock)
    file.write_text(LAB.line)
    clock.now = 0.9
    assert names(keys, SHOP.key) == ["shop"]
    clock.now = 1.0
    assert names(keys, SHOP.key, LAB.key) == [None, "lab"]


@pytest.mark.parametrize("content", [b"nonsense", b"\xff", None])
def test_while_a_changed_file_cannot_be_used_the_former_keys_hold(file: Path, content: bytes | None) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    clock.now += 1
    assert names(keys, SHOP.key) == ["shop"]
    file.write_text(LAB.line)
    clock.now += 1
    assert names(keys, SHOP.key, LAB.key) == [None, "lab"]


def test_an_empty_file_locks_everybody_out(file: Path) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock)
    file.write_text("# nobody for now\n")
    clock.now += 1
    assert names(keys, SHOP.key) == [None]


def test_a_mounted_secret_is_followed_when_kubernetes_swaps_it(tmp_path: Path) -> None:
    """As the kubelet does it: a folder per version, and a link that is replaced in one step."""

    def publish(version: str, line: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys").write_text(line)
        (tmp_path / "next").symlink_to(version)
        (tmp_path / "next").replace(tmp_path / "..data")

    publish("..1", SHOP.line)
    (tmp_path / "keys").symlink_to("..data/keys")
    clock = Clock()
    keys = ApiKeys(tmp_path / "keys", clock)
    publish("..2", LAB.line)
    clock.now += 1
    assert names(keys, SHOP.key, LAB.key) == [None, "lab"]


def test_the_command_prints_a_key_to_give_away_and_a_line_to_keep(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "iris_service.cli", "key", "shop"], capture_output=True, text=True, check=True
    )
    (tmp_path / "keys").write_text(made.stdout)
    key = made.stderr.splitlines()[1].strip()
    assert names(ApiKeys(tmp_path / "keys"), key) == ["shop"]
