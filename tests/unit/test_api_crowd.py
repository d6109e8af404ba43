"""Who may stay connected, as a table of comings and goings."""

from __future__ import annotations

import pytest

from iris_service.api.crowd import Crowd


class Caller:
    """A connection that remembers whether it was sent away."""

    def __init__(self) -> None:
        self.sent_away = False

    def make_room(self) -> None:
        self.sent_away = True


def callers(crowd: Crowd, count: int) -> list[Caller]:
    made = [Caller() for _ in range(count)]
    assert all(crowd.join(caller) for caller in made)
    return made


def test_the_limit_is_reached_without_sending_anybody_away() -> None:
    assert not any(caller.sent_away for caller in callers(Crowd(3, 0), 3))


def test_one_more_takes_the_place_of_the_one_that_has_done_nothing_for_longest() -> None:
    crowd = Crowd(3, 0)
    first, second, third = callers(crowd, 3)
    crowd.is_served(first)
    crowd.is_done(first)
    fourth, fifth = callers(crowd, 2)
    assert [caller.sent_away for caller in (first, second, third, fourth, fifth)] == [False, True, True, False, False]


def test_who_is_being_answered_is_not_sent_away() -> None:
    crowd = Crowd(2, 0)
    answered, also = callers(crowd, 2)
    crowd.is_served(answered)
    crowd.is_served(also)
    assert not crowd.join(Caller())
    crowd.is_done(also)
    assert crowd.join(Caller())
    assert (answered.sent_away, also.sent_away) == (False, True)


def test_who_leaves_makes_room_and_comes_back_in_no_other_way() -> None:
    crowd = Crowd(2, 0)
    leaves, stays = callers(crowd, 2)
    crowd.is_served(leaves)
    crowd.leave(leaves)
    crowd.leave(leaves)
    crowd.is_done(leaves)  # its answer was on its way when it left
    newcomer = Caller()
    assert crowd.join(newcomer)
    crowd.is_served(newcomer)
    crowd.is_served(stays)
    assert not crowd.join(Caller()), "nobody idle is left, and no ghost"


@pytest.mark.parametrize(("more", "fits"), [(40, True), (41, False)])
def test_bodies_fit_up_to_the_limit(more: int, fits: bool) -> None:
    crowd = Crowd(1, 100)
    assert crowd.hold(60)
    assert crowd.hold(more) == fits
    crowd.release(60)
    assert crowd.hold(60)
