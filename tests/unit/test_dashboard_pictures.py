"""The pictures of the dashboards: what is drawn is what was measured, and the committed ones show today's panels."""

from __future__ import annotations

import math
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "monitoring"))  # its modules are scripts, not a package

import picture
import write
from curves import curves, stacked
from drawing import Box, Line, Span, colour, legend
from panels import Dashboard, Panel, Query, Section, Unit
from scale import ticks, written

ROOT = Path(__file__).parents[2]
SPAN = Span(1000.0, 1120.0, 1.0)
BOX = Box(0, 0, 300, 150)
UP_AND_GONE = [(1000.0, 1.0), (1001.0, 2.0), (1002.0, math.nan), (1010.0, 4.0), (1011.0, 4.0)]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "seconds", "0 s"),
        (0.00042, "seconds", "0.42 ms"),
        (0.25, "seconds", "250 ms"),
        (12.3, "seconds", "12 s"),
        (600.0, "seconds", "10 min"),
        (0.051, "ratio", "5.1 %"),
        (50.0, "percent", "50 %"),
        (0.0, "bytes", "0 B"),
        (64_000_000.0, "bytes", "64 MB"),
        (1.0, "yes/no", "yes"),
        (0.0, "yes/no", "no"),
        (1234.0, "count", "1,234"),
        (2.5, "/s", "2.5/s"),
        (28.4, "jobs/s", "28 jobs/s"),
        (math.nan, "seconds", "–"),
    ],
)
def test_a_value_is_written_as_people_read_it(value: float, unit: Unit, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize(
    ("lowest", "highest", "marks"),
    [
        (0.0, 0.0, [0, 1]),
        (0.0, math.nan, [0, 1]),
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]),
        (0.0, 28.0, [0, 10, 20, 30]),
        (0.0, 0.3, [0, 0.1, 0.2, 0.3]),
        (0.0, 1000.0, [0, 250, 500, 750, 1000]),
        (-0.3, 0.6, [-0.5, -0.25, 0, 0.25, 0.5, 0.75]),
        (-4.0, 0.0, [-4, -3, -2, -1, 0]),
    ],
)
def test_an_axis_has_a_few_round_marks_that_reach_as_far_as_the_values(
    lowest: float, highest: float, marks: list[float]
) -> None:
    assert ticks(highest, lowest) == pytest.approx(marks)


def panel(kind: str, **changes: object) -> Panel:
    return Panel("Is it drawn?", "It is.", (Query("up"),), kind=kind, width=24, **changes)  # type: ignore[arg-type]


def drawn(one: Panel, lines: Sequence[Line]) -> list[ET.Element]:
    dashboard = Dashboard("d", "D", "A dashboard.", (), (Section("S", (one,)),))
    return list(ET.fromstring(picture.draw(dashboard, {one.title: lines}, SPAN)).iter())


def words(found: Sequence[ET.Element]) -> list[str]:
    return [element.text or "" for element in found if element.tag.endswith("text")]


def test_a_line_breaks_where_nothing_was_measured() -> None:
    parts = curves(panel("lines"), [Line("a", {}, UP_AND_GONE)], SPAN, BOX)
    lines = [part for part in parts if part.startswith("<polyline")]
    assert len(lines) == 2
    assert "nan" not in "".join(parts)


def test_areas_lie_on_each_other() -> None:
    first, second = stacked([Line("a", {}, [(1.0, 2.0), (2.0, 3.0)]), Line("b", {}, [(1.0, 5.0), (2.0, math.nan)])])
    assert [value for _, value in first.points] == [2, 3]
    assert list(first.below) == [0, 0]
    assert [value for _, value in second.points] == [7, 3]
    assert list(second.below) == [2, 3]


def test_a_figure_says_its_value_and_how_good_it_is() -> None:
    one = panel("figure", unit="ratio", levels={0: "bad", 0.95: "watch", 0.99: "good"})
    for value, level in ((0.5, "bad"), (0.96, "watch"), (1.0, "good")):
        (figure,) = [e for e in drawn(one, [Line("", {}, [(1.0, value)])]) if e.get("class", "").startswith("b")]
        assert (figure.text, figure.get("class")) == (written(value, "ratio"), f"b {level}")


def test_a_table_shows_its_columns_and_says_when_there_is_more() -> None:
    one = panel("table", columns=("model", "Value"))
    lines = [Line("", {"model": f"m{number}", "other": "x"}, [(1.0, 3.0)]) for number in range(7)]
    found = words(drawn(one, lines))
    assert found[2:] == ["model", *(f"m{number}" for number in range(6)), "how many", *["3"] * 6, "and more"]


def test_a_state_is_filled_while_it_lasts() -> None:
    points = [(1000.0 + at, 1.0) for at in (0, 1, 2, 60, 61)]
    found = drawn(panel("states"), [Line("iris Idle", {}, points), Line("never", {}, [(1000.0, 0.0)])])
    filled = [element for element in found if element.tag.endswith("rect") and element.get("fill")]
    assert len(filled) == 2, "two stretches of one state, none of the other"
    assert float(filled[0].get("width", 0)) > float(filled[1].get("width", 0))


def test_a_legend_that_is_too_long_ends_in_its_third_row() -> None:
    found = legend([Line(f"a rather long name, number {number}", {}, []) for number in range(20)], BOX)
    assert found.rows == 3
    assert len(found.parts) < 2 * 20


def test_a_legend_names_the_highest_line_first_in_its_own_colour() -> None:
    lines = [Line("low", {}, [(1.0, 1.0)]), Line("high", {}, [(1.0, 5.0), (2.0, math.nan)]), Line("none", {}, [])]
    swatch, *_ = parts = legend(lines, BOX).parts
    assert [re.sub("<[^>]*>", "", part) for part in parts[1::2]] == ["high", "low", "none"]
    assert colour(1) in swatch


@pytest.mark.parametrize("kind", ["lines", "areas", "figure", "table", "states"])
def test_a_panel_without_data_is_drawn_empty(kind: str) -> None:
    assert "Is it drawn?" in words(drawn(panel(kind, columns=("model",)), []))


@pytest.mark.parametrize("name", write.DASHBOARDS)
def test_the_committed_picture_shows_the_panels_there_are(name: str) -> None:
    root = ET.parse(ROOT / "docs" / "images" / f"dashboard-{name}.svg").getroot()
    titles = [element.text for element in root.iter() if element.get("class") == "t"]
    assert titles == [panel.title for panel in write.DASHBOARDS[name].panels], "run make dashboards"
    assert len(re.findall(r"<(?:image|script|a) ", ET.tostring(root, encoding="unicode"))) == 0
