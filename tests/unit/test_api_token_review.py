"""What is remembered of ServiceAccount tokens, by a clock that the test turns. The API server itself: tests/cluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from iris_service.api import token_review
from iris_service.api.token_review import BAD_SECONDS, MOST_TOKENS, MOST_WAITING, TokenReview
from iris_service.errors import AuthenticationUnavailable


class Cluster:
    """Knows tokens that begin with `good`, until it is taken away."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.away = False
        self.now = 0.0
        self.open = threading.Event()
        self.open.set()

    def ask(self, secret: bytes) -> str | None:
        self.asked.append(secret)
        self.open.wait(10)
        if self.away:
            raise ConnectionRefusedError("nobody listens")
        return secret.decode() if secret.startswith(b"good") else None

    def clock(self) -> float:
        return self.now


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def run(cluster: Cluster, story: Callable[[TokenReview], Awaitable[None]]) -> None:
    async def opened() -> None:
        review = TokenReview(60.0, cluster.ask, cluster.clock)
        try:
            await story(review)
        finally:
            cluster.open.set()
            await review.close()

    asyncio.run(opened())


def test_a_good_token_is_asked_about_once_a_minute(cluster: Cluster) -> None:
    async def story(review: TokenReview) -> None:
        for now, asked in ((0, 1), (59.9, 1), (60, 2)):
            cluster.now = now
            assert await review.name_of(b"good shop") == "good shop"
            assert len(cluster.asked) == asked

    run(cluster, story)


def test_a_bad_token_is_soon_asked_about_again(cluster: Cluster) -> None:
    async def story(review: TokenReview) -> None:
        for now, asked in ((0, 1), (BAD_SECONDS - 0.1, 1), (BAD_SECONDS, 2)):
            cluster.now = now
            assert await review.name_of(b"bad") is None
            assert len(cluster.asked) == asked

    run(cluster, story)


def test_a_token_that_many_send_at_once_is_asked_about_once_and_survives_who_hangs_up(cluster: Cluster) -> None:
    async def story(review: TokenReview) -> None:
        cluster.open.clear()
        first, *others = (asyncio.create_task(review.name_of(b"good shop")) for _ in range(20))
        await asyncio.sleep(0.05)
        first.cancel()
        cluster.open.set()
        assert await asyncio.gather(*others) == ["good shop"] * 19
        assert len(cluster.asked) == 1

    run(cluster, story)


def test_while_nobody_can_be_asked_known_tokens_hold_and_others_come_back_later(cluster: Cluster) -> None:
    async def story(review: TokenReview) -> None:
        await review.name_of(b"good shop")
        cluster.away = True
        assert await review.name_of(b"good shop") == "good shop"
        for token in (b"good lab", b"bad"):
            with pytest.raises(AuthenticationUnavailable) as refusal:
                await review.name_of(token)
            assert refusal.value.retry_after_seconds
        cluster.away = False
        assert await review.name_of(b"good lab") == "good lab", "a failure is not remembered"

    run(cluster, story)


def test_a_cluster_that_does_not_answer_is_given_up_in_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_review, "REVIEW_SECONDS", 0.1)

    async def story(review: TokenReview) -> None:
        cluster.open.clear()
        with pytest.raises(AuthenticationUnavailable):
            await asyncio.wait_for(review.name_of(b"good shop"), 5)

    run(cluster, story)


def test_tokens_made_up_by_the_thousand_neither_pile_up_nor_push_out_who_is_known(cluster: Cluster) -> None:
    async def story(review: TokenReview) -> None:
        await review.name_of(b"good shop")
        cluster.open.clear()
        made_up = [asyncio.create_task(review.name_of(b"%d" % number)) for number in range(MOST_WAITING + 100)]
        await asyncio.sleep(0.05)
        assert await review.name_of(b"good shop") == "good shop"
        cluster.open.set()
        ends = await asyncio.gather(*made_up, return_exceptions=True)
        assert [isinstance(end, AuthenticationUnavailable) for end in ends] == [False] * MOST_WAITING + [True] * 100

    run(cluster, story)


def test_no_more_tokens_are_remembered_than_fit(cluster: Cluster) -> None:
    async def story(review: TokenReview) -> None:
        for number in range(MOST_TOKENS + 5):
            review._remember(b"%d" % number, None)
        assert len(review._known) == MOST_TOKENS
        assert b"4" not in review._known

    run(cluster, story)
