"""The parts of `make bench` that decide and render; the article's service is not started here."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # its modules are scripts, not a package

import callers
import plot
import ratios
import report
import without_promises
from iris_service.jobs import scripts


def measured(speed: float) -> dict[str, Any]:
    """A round in which ours is `speed` times as fast as theirs."""
    ours = {"jobs_per_second": 10 * speed, "submitted_per_second": 10, "bytes_per_job": 300}
    theirs = {"jobs_per_second": 10, "submitted_per_second": 10, "bytes_per_job": 3000}
    fast = {"requests_per_second": speed, "p50_ms": 1 / speed, "p99_ms": 1 / speed}
    slow = {"requests_per_second": 1, "p50_ms": 1, "p99_ms": 1}
    drained = {"commands_per_job": 3.5, "reads_per_job": 0.08}
    return {
        "async": {"article": theirs, "preload": theirs, "iris": ours},
        "latency": {"article": slow, "preload": slow, "iris": fast, "iris waiting": fast},
        **{f"enqueue {count}": {"article": slow, "iris": fast} for count in (1, 16, 64)},
        **{f"inference {count}": {"bare": slow, "asking": slow, "inline": fast, "iris": fast} for count in (16, 64)},
        "drain": {"simple": {"jobs_per_second": 1, **drained}, "iris": {"jobs_per_second": speed, **drained}},
        "cost": {
            name: {"throughput": share * 10, "drain": share * 10}
            for name, share in (("promises", 0.8), ("no disk", 0.9), ("no disk, no promises", 1.0))
        },
    }


ROUNDS = [measured(90), measured(100), measured(200)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], (3.0, 3.0, 3.0)), ([9.0, 1.0, 2.0], (2.0, 1.0, 9.0)), ([1.0, 2.0, 4.0, 8.0], (3.0, 1.0, 8.0))],
)
def test_a_figure_is_the_median_of_its_rounds_with_the_lowest_and_the_highest(
    values: list[float], expected: tuple[float, ...]
) -> None:
    found = ratios.spread(values)
    assert (found.median, found.lowest, found.highest) == expected


def test_a_ratio_is_taken_inside_a_round() -> None:
    throughput = ratios.GOALS[0]
    assert ratios.over_rounds(ROUNDS, throughput) == ratios.Spread(100, 90, 200)


@pytest.mark.parametrize(("median", "verdict"), [(1.0, "stretch"), (1.5, "reached"), (2.1, "missed")])
def test_less_is_better_where_the_stretch_is_less(median: float, verdict: str) -> None:
    assert ratios.Goal("p99", 2.0, 1.0, ("x",)).verdict(median) == verdict


@pytest.mark.parametrize(("median", "verdict"), [(5.0, "stretch"), (2.0, "reached"), (1.9, "missed")])
def test_more_is_better_where_the_stretch_is_more(median: float, verdict: str) -> None:
    assert ratios.Goal("speed", 2.0, 5.0, ("x",)).verdict(median) == verdict


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12 346"), (87.25, "87.2"), (1.234, "1.23"), (0.0834, "0.083"), (100, "100")]
)
def test_numbers_are_shown_with_the_digits_that_mean_something(value: float, text: str) -> None:
    assert report.number(value) == text


def test_the_table_names_every_goal_with_its_spread_and_verdict() -> None:
    lines = report.goals_table(ROUNDS).splitlines()
    assert len(lines) == 2 + len(ratios.GOALS)
    assert "**100x [90.0..200]** | 70x | 140x | reached" in lines[2]
    assert "**100x [90.0..200]** | 1500x | 4000x | missed" in lines[3]
    assert "at most 0.15x" in lines[4]


def test_the_cost_table_compares_with_the_service_that_promises_nothing() -> None:
    rows = report.cost_table(ROUNDS).splitlines()
    assert "0.80x [0.80..0.80]" in rows[2]
    assert rows[-1].endswith("| 1 | 1 |")


def whole_run(load_before: float) -> dict[str, Any]:
    return {
        "day": "2026-01-02",
        "commit": "abc123",
        "seconds": 400,
        "load_average": [load_before, 2.5],
        "machine": {"cpu": "A chip", "cores": 2, "memory_gb": 24, "system": "Linux"},
        "versions": {"Python": "3.11"},
        "endpoint_load": "wrk",
        "rounds": ROUNDS,
    }


def test_the_report_names_machine_versions_commit_and_load() -> None:
    text = report.measured_part(whole_run(load_before=0.1), "images/benchmark.svg")
    for part in ("3 rounds on 2026-01-02", "`abc123`", "A chip, 2 cores, 24 GB", "Python 3.11", "0.1 before", "wrk"):
        assert part in text
    assert "](images/benchmark.svg)" in text


@pytest.mark.parametrize(("load_before", "said"), [(0.2, False), (1.9, True)])
def test_the_report_says_so_when_the_machine_was_not_quiet(load_before: float, said: bool) -> None:
    text = report.measured_part(whole_run(load_before), "images/benchmark.svg")
    assert ("Other programs used the machine" in text) is said


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.replaced(page, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="must hold"):
        report.replaced("a page without markers", "new")


def test_the_plot_is_a_picture_with_one_line_a_ratio() -> None:
    root = ET.fromstring(plot.svg(ROUNDS))
    bars = [node for node in root.iter() if node.get("class") == "bar"]
    assert len(bars) == sum(bool(goal.theirs) and not goal.is_share for goal in ratios.GOALS)
    assert all(float(bar.get("width", "0")) > 0 for bar in bars)


@pytest.mark.parametrize(
    ("received", "reply"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", (200, b"{}", True)),
        (b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", (503, b"", False)),
    ],
)
def test_a_response_counts_once_it_is_whole(received: bytes, reply: tuple[int, bytes, bool] | None) -> None:
    assert callers.split(received) == reply


def test_a_request_is_a_path_or_a_path_with_json_below_it() -> None:
    assert callers.asked("/x?a=1") == b"GET /x?a=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head, _, body = callers.asked('/x\n{"a": "\n"}').partition(b"\r\n\r\n")
    assert (head.splitlines()[0], body) == (b"POST /x HTTP/1.1", b'{"a": "\n"}')
    assert b"Content-Length: 10" in head


@pytest.mark.parametrize("name", sorted(without_promises.CUTS))
def test_the_cuts_that_switch_the_promises_off_still_fit_the_scripts(name: str) -> None:
    cut = without_promises.source(name)
    assert cut != scripts.source(name)
    assert not [old for old, _ in without_promises.CUTS[name] if old in cut]
