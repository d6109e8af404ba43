"""docs/security.md says who may do what, so it is held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iris_service import cli
from iris_service.api import access, api_keys, token_review
from iris_service.config import AccessSettings, Settings
from iris_service.errors import SettingsError
from iris_service.jobs.job_id import belongs_to, new_id

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "security.md").read_text()


def test_what_is_open_to_everybody_is_documented_and_nothing_else_is() -> None:
    sentence = re.search(r"Open to everybody are (.*?);", DOCS, re.DOTALL)
    assert sentence is not None
    documented = set(re.findall(r"`(/[^`]*)`", sentence[1]))
    health = {path for path in access.FREE if path.startswith("/v2/health/")}
    assert documented == (access.FREE - health) | access.OPEN | {access.OPEN_FOLDER + "…", "/v2/health/…"}


def test_a_key_is_made_as_the_example_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["key", "shop"]) == 0
    said = capsys.readouterr()
    sentence, key = said.err.splitlines()
    example = re.search(r"\$ iris key shop >> api-keys\n(.*)\n(.*)\n\$ cat api-keys\n(.*)\n", DOCS)
    assert example is not None
    assert (sentence, len(key), len(said.out)) == (example[1], len(example[2]), len(example[3]) + 1)


def test_the_ways_to_ask_are_those_there_are() -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({"IRIS_AUTH": "?"})
    modes = re.findall(r"^\*\*`([a-z-]+)`\*\*", DOCS, re.MULTILINE)
    assert f"must be one of {', '.join(modes)}, not" in str(refusal.value)


def test_its_numbers_are_those_of_the_code() -> None:
    defaults = AccessSettings()
    for words in (
        f"Up to {api_keys.MOST_KEYS} lines",
        f"known for {defaults.token_cache_seconds:g} s",
        f"a bad one for {token_review.BAD_SECONDS:g} s",
        f"of {token_review.MOST_TOKENS:,} tokens",
        f"At most {token_review.MOST_WAITING} tokens",
        f"`IRIS_TOKEN_AUDIENCE` (`{defaults.audience}`)",
        f"one caller may have {defaults.caller_in_flight} requests in hand",
    ):
        assert words in " ".join(DOCS.split()), words


def test_what_is_not_promised_is_no_less_than_what_is_done() -> None:
    """Who has an id has its job only where nobody has a name."""
    policy = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert "With `IRIS_AUTH=none`, the default, whoever has a job id can read its answer" in policy
    assert AccessSettings().mode == "none"
    assert belongs_to(new_id(None), None)
    assert not belongs_to(new_id("shop"), "another")


def test_the_tests_it_names_exist() -> None:
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"`(test_\w+\.py)`", DOCS)) <= tests
    assert all((ROOT / "service" / "iris_service" / path).exists() for path in re.findall(r"`(jobs/[\w.]+)`", DOCS))
