"""Routes: who takes the next job."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_service.jobs.keys import Target
from iris_service.jobs.route import Route

ONE, TWO = Target("iris", "1"), Target("iris", "2")


def test_shares_are_kept_and_versions_without_any_are_left_out() -> None:
    route = Route.from_json(b'{"1": 90, "2": 10, "3": 0}', "iris")
    drawn = Counter(route.pick(number / 1000) for number in range(1000))
    assert drawn == {ONE: 900, TWO: 100}
    assert route.targets == (ONE, TWO)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"1": 0}', b'{"1": 101}', b'{"1": -1}', b'{"1": "all"}', b"\xff"]
)
def test_a_route_that_cannot_be_followed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  msgspec's errors are ValueErrors with their own sentences
        Route.from_json(data, "iris")


@given(st.floats(0, 1, exclude_max=True), st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_every_draw_finds_a_version(chance: float, weights: list[int]) -> None:
    route = Route(tuple((Target("iris", str(number)), weight) for number, weight in enumerate(weights)))
    assert route.pick(chance) in route.targets
