"""Settings: read once, each refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iris_service import config
from iris_service.config import Settings, without_password
from iris_service.errors import SettingsError


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert Settings.from_env({}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IRIS_PORT", "70000"),
        ("IRIS_PORT", "eighty"),
        ("IRIS_PORT", "tcp://10.0.0.1:8000"),
        ("IRIS_REDIS_URL", "http://nowhere"),
        ("IRIS_MODEL_FORMAT", "guess"),
        ("IRIS_ALLOW_PICKLE", "perhaps"),
        ("IRIS_BATCH_SIZE", "0"),
        ("IRIS_BATCH_SIZE", "2049"),
        ("IRIS_MEMORY_LIMIT_RATIO", "nan"),
        ("IRIS_LOG_LEVEL", "LOUD"),
        ("IRIS_MAX_ROWZ", "5"),
    ],
)
def test_a_bad_setting_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refusal:
        Settings.from_env({name: value})
    assert refusal.value.field == name
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("value", "read"), [("1", 1), ("2048", 2048)])
def test_a_limit_is_accepted_at_its_bounds(value: str, read: int) -> None:
    assert Settings.from_env({"IRIS_BATCH_SIZE": value}).worker.batch_size == read


def test_a_refused_url_does_not_repeat_its_password() -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({"IRIS_REDIS_URL": "http://:hunter2@nowhere"})
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("rediss://iris-api:se@cret@host/1", "rediss://iris-api:***@host/1"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_every_setting_is_documented_where_it_is_declared() -> None:
    source = Path(config.__file__).read_text()
    read = set(re.findall(r'reader\.\w+\(\s*"(IRIS_[A-Z_]+)"', source))
    documented = set(re.findall(r'"""(IRIS_[A-Z_]+)[:.;]', source))
    assert read == documented
