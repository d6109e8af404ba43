"""What happens after a child's death, as a table."""

from __future__ import annotations

import os
import signal

import pytest

from iris_service.supervisor.policy import GiveUp, Restart, after_death, cause_of_death


@pytest.mark.parametrize(
    ("exit_code", "lived_seconds", "last_delay_seconds", "delay_seconds"),
    [
        (1, 0.1, 0.0, 0.2),
        (-signal.SIGKILL, 0.1, 0.2, 0.4),
        (0, 0.1, 0.4, 0.8),
        (1, 29.9, 0.8, 1.6),
        (1, 0.1, 6.4, 10.0),
        (1, 0.1, 10.0, 10.0),
        (1, 30.0, 10.0, 0.2),
        (0, 3600.0, 0.0, 0.2),
    ],
)
def test_a_child_is_restarted_ever_later_until_it_has_lived_for_a_while(
    exit_code: int, lived_seconds: float, last_delay_seconds: float, delay_seconds: float
) -> None:
    assert after_death(exit_code, lived_seconds, last_delay_seconds) == Restart(pytest.approx(delay_seconds))


@pytest.mark.parametrize("exit_code", [os.EX_CONFIG, os.EX_DATAERR])
@pytest.mark.parametrize("lived_seconds", [0.1, 3600.0])
def test_bad_settings_and_a_rejected_model_are_not_tried_again(exit_code: int, lived_seconds: float) -> None:
    verdict = after_death(exit_code, lived_seconds, 0.0)
    assert isinstance(verdict, GiveUp)
    assert verdict.exit_code == exit_code


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(3, "exit code 3"), (0, "exit code 0"), (-signal.SIGKILL, "SIGKILL"), (-40, "signal 40")],
)
def test_a_cause_of_death_is_said_in_words(exit_code: int, words: str) -> None:
    assert cause_of_death(exit_code) == words
