"""How much one caller may ask for, by a clock that the test turns."""

from __future__ import annotations

import pytest

from iris_service.api.access import network_of
from iris_service.api.quota import MOST_CALLERS, Quota
from iris_service.errors import TooManyRequests


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(quota: Quota, caller: str, tries: int) -> int:
    """Ask one after the other; return how often that was allowed."""
    allowed = 0
    for _ in range(tries):
        try:
            quota.enter(caller)
        except TooManyRequests:
            continue
        quota.leave(caller)
        allowed += 1
    return allowed


def test_requests_at_the_same_time_are_allowed_up_to_the_limit_of_each_caller() -> None:
    quota = Quota(0, 2)
    for caller in ("shop", "shop", "lab"):
        quota.enter(caller)
    with pytest.raises(TooManyRequests) as refusal:
        quota.enter("shop")
    assert refusal.value.retry_after_seconds == 1
    quota.enter("lab")
    quota.leave("shop")
    quota.enter("shop")


def test_without_a_rate_only_those_who_ask_right_now_are_remembered() -> None:
    quota = Quota(0, 10)
    for number in range(1000):
        assert taken(quota, f"caller {number}", 2) == 2
    assert len(quota) == 0


@pytest.mark.parametrize(("rate", "at_once"), [(10.0, 10), (1.0, 1), (0.25, 1), (2.5, 2)])
def test_a_second_of_requests_may_be_saved_up_and_no_more(rate: float, at_once: int) -> None:
    clock = Clock()
    quota = Quota(rate, 100, clock)
    assert taken(quota, "shop", 50) == at_once
    assert taken(quota, "lab", 50) == at_once
    clock.now += 1000
    assert taken(quota, "shop", 50) == at_once


def test_the_rate_is_kept_and_who_is_refused_is_told_when_to_come_back() -> None:
    clock = Clock()
    quota = Quota(0.25, 100, clock)
    quota.enter("shop")
    with pytest.raises(TooManyRequests) as refusal:
        quota.enter("shop")
    assert refusal.value.retry_after_seconds == 4
    clock.now = 3.9
    assert taken(quota, "shop", 5) == 0
    clock.now = 4.0
    assert taken(quota, "shop", 5) == 1
    clock.now = 400.0
    fast = Quota(10, 100, clock)
    assert taken(fast, "shop", 20) == 10
    clock.now += 0.5
    assert taken(fast, "shop", 20) == 5


def test_a_refused_request_costs_nothing() -> None:
    clock = Clock()
    quota = Quota(1.0, 1, clock)
    quota.enter("shop")
    for _ in range(10):
        clock.now += 1
        with pytest.raises(TooManyRequests):
            quota.enter("shop")  # one is in hand
    quota.leave("shop")
    assert taken(quota, "shop", 5) == 1


def test_callers_without_number_take_no_memory_without_end_and_no_place_of_one_at_work() -> None:
    clock = Clock()
    quota = Quota(1.0, 1, clock)
    quota.enter("at work")
    for number in range(2 * MOST_CALLERS):
        assert taken(quota, f"caller {number}", 1) == 1
    assert len(quota) == MOST_CALLERS
    with pytest.raises(TooManyRequests):
        quota.enter("at work")
    quota.leave("at work")


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
    ],
)
def test_an_address_of_ipv6_stands_for_its_network(address: str, other: str, same: bool) -> None:
    assert (network_of(address) == network_of(other)) == same
