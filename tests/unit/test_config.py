"""Settings: read once, each refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iris_service import config
from iris_service.config import DriftSettings, InlineSettings, RedisSettings, Settings, without_password
from iris_service.errors import SettingsError
from iris_service.jobs.client import connect, connect_async


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert Settings.from_env({}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IRIS_PORT", "70000"),
        ("IRIS_PORT", "eighty"),
        ("IRIS_PORT", "tcp://10.0.0.1:8000"),
        ("IRIS_REDIS_URL", "http://nowhere"),
        ("IRIS_REDIS_CA_FILE", "nowhere/ca.crt"),
        ("IRIS_MODEL_FORMAT", "guess"),
        ("IRIS_ALLOW_PICKLE", "perhaps"),
        ("IRIS_BATCH_SIZE", "0"),
        ("IRIS_BATCH_SIZE", "2049"),
        ("IRIS_MEMORY_LIMIT_RATIO", "nan"),
        ("IRIS_LOG_LEVEL", "LOUD"),
        ("IRIS_DRIFT_WINDOW_ROWS", "999"),
        ("IRIS_DRIFT_WINDOW_ROWS", "10000001"),
        ("IRIS_DRIFT_WINDOW_SECONDS", "59.9"),
        ("IRIS_DRIFT_WINDOW_SECONDS", "2592001"),
        ("IRIS_DRIFT_MIN_ROWS", "99"),
        ("IRIS_DRIFT_MIN_ROWS", "50001"),
        ("IRIS_MAX_BODIES_BYTES", "1048575"),
        ("IRIS_MAX_JSON_DEPTH", "3"),
        ("IRIS_RECEIVE_SECONDS", "inf"),
        ("IRIS_KEEP_ALIVE_SECONDS", "1.5"),
        ("IRIS_DRAIN_SECONDS", "-1"),
        ("IRIS_DRAIN_SECONDS", "601"),
        ("IRIS_MAX_ROWZ", "5"),
        ("IRIS_SYNC", "in-line"),
        ("IRIS_INLINE_ROWS", "0"),
        ("IRIS_INLINE_ROWS", "1001"),
        ("IRIS_INLINE_VERSIONS", "0"),
        ("IRIS_INLINE_VERSIONS", "501"),
        ("IRIS_INLINE_BYTES", "0"),
        ("IRIS_INLINE_BYTES", "1099511627777"),
    ],
)
def test_a_bad_setting_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refusal:
        Settings.from_env({name: value})
    assert refusal.value.field == name
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("rows", "minimum"), [(1000, 100), (1000, 500), (1_000_000, 500_000), (10_000_000, 500_000)])
def test_the_drift_window_and_its_minimum_are_accepted_at_their_bounds(rows: int, minimum: int) -> None:
    env = {"IRIS_DRIFT_WINDOW_ROWS": str(rows), "IRIS_DRIFT_MIN_ROWS": str(minimum)}
    assert Settings.from_env(env).drift == DriftSettings(window_rows=rows, minimum_rows=minimum)


def test_a_minimum_of_more_than_half_the_drift_window_is_refused() -> None:
    with pytest.raises(SettingsError, match="IRIS_DRIFT_MIN_ROWS must be at most half"):
        Settings.from_env({"IRIS_DRIFT_WINDOW_ROWS": "1000", "IRIS_DRIFT_MIN_ROWS": "501"})


@pytest.mark.parametrize(("value", "read"), [("1", 1), ("2048", 2048)])
def test_a_limit_is_accepted_at_its_bounds(value: str, read: int) -> None:
    assert Settings.from_env({"IRIS_BATCH_SIZE": value}).worker.batch_size == read


@pytest.mark.parametrize(("rows", "versions", "size"), [(1, 1, 1), (1000, 500, 1_099_511_627_776)])
def test_the_limits_of_answering_inline_are_accepted_at_their_bounds(rows: int, versions: int, size: int) -> None:
    env = {"IRIS_SYNC": "inline", "IRIS_INLINE_ROWS": str(rows), "IRIS_INLINE_VERSIONS": str(versions)}
    found = Settings.from_env({**env, "IRIS_INLINE_BYTES": str(size)}).inline
    assert found == InlineSettings("inline", rows, versions, size)
    assert found.is_on
    assert not Settings.from_env({}).inline.is_on


def test_a_stopping_api_may_serve_on_for_ten_minutes_at_most() -> None:
    assert Settings.from_env({"IRIS_DRAIN_SECONDS": "600"}).api.drain_seconds == 600


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@nowhere",
        "redis://:hunt/er2@nowhere:6379",
        "redis://:hunter2@nowhere:hunt",
        "redis://[:hunt@::1",
    ],
)
def test_a_refused_url_does_not_repeat_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="IRIS_REDIS_URL") as refusal:
        Settings.from_env({"IRIS_REDIS_URL": url})
    assert "hunt" not in str(refusal.value)


def test_a_key_that_cannot_be_a_header_is_refused_and_no_key_is_repeated() -> None:
    with pytest.raises(SettingsError, match="IRIS_API_KEY") as refusal:
        Settings.from_env({"IRIS_API_KEY": "hunter2\r\nX: y"})
    assert "hunter2" not in str(refusal.value)
    assert "hunter2" not in repr(Settings.from_env({"IRIS_API_KEY": "hunter2"}))


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"IRIS_AUTH": "password"}, "IRIS_AUTH"),
        ({"IRIS_AUTH": "api-key"}, "IRIS_API_KEYS_FILE"),
        ({"IRIS_API_KEYS_FILE": "/keys"}, "IRIS_API_KEYS_FILE"),
        ({"IRIS_AUTH": "tokenreview"}, "KUBERNETES_SERVICE_HOST"),
        ({"IRIS_TOKEN_CACHE_SECONDS": "61"}, "IRIS_TOKEN_CACHE_SECONDS"),
        ({"IRIS_CALLER_IN_FLIGHT": "0"}, "IRIS_CALLER_IN_FLIGHT"),
        ({"IRIS_CALLER_RATE": "-1"}, "IRIS_CALLER_RATE"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "x"}, "KUBERNETES_SERVICE_PORT"),
    ],
)
def test_a_check_of_callers_that_cannot_be_made_is_refused(env: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env(env)


@pytest.mark.parametrize(("host", "address"), [("10.0.0.1", "10.0.0.1:6443"), ("fd00::1", "[fd00::1]:6443"), ("", "")])
def test_the_api_server_is_the_one_kubernetes_tells_every_pod(host: str, address: str) -> None:
    env = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"}
    assert Settings.from_env(env).access.api_server == address


@pytest.mark.parametrize("url", ["redis://:hunter2@h/0?nonsense=1", "redis://:hunter2@h/0?socket_timeout=soon"])
def test_an_option_redis_does_not_know_is_refused_before_anything_connects(url: str) -> None:
    for open_client in (connect, connect_async):
        with pytest.raises(SettingsError, match="IRIS_REDIS_URL") as refusal:
            open_client(RedisSettings(url=url))
        assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("rediss://iris-api:se@cret@host/1", "rediss://iris-api:***@host/1"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        ("sentinel://u:secret@a:1,b:2/iris/0?sentinel_password=other", "sentinel://u:***@a:1,b:2/iris/0"),
        ("sentinel://a:1,b:2/iris/0?sentinel_password=other", "sentinel://a:1,b:2/iris/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_every_setting_is_documented_where_it_is_declared() -> None:
    source = Path(config.__file__).read_text()
    read = set(re.findall(r'read\.\w+\(\s*"(IRIS_[A-Z_]+)"', source))
    documented = set(re.findall(r'"""(IRIS_[A-Z_]+)[:.;]', source))
    assert read == documented
