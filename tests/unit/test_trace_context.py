"""W3C Trace Context, as its own examples and whoever wants to confuse us send it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.trace import TraceState

from iris_service.tracing.context import (
    MAX_STATE_CHARACTERS,
    MAX_STATE_MEMBERS,
    TraceContext,
    trace_context,
    trace_context_of_request,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
hexadecimal = st.text("0123456789abcdef")


def test_a_traceparent_is_read_and_written_alike() -> None:
    context = trace_context(PARENT)
    assert context == TraceContext(TRACE, SPAN, 1)
    assert context.parent == PARENT
    assert context.log_fields == {"trace_id": TRACE, "span_id": SPAN}


@pytest.mark.parametrize(("flags", "known"), [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("fc", 0)])
def test_only_the_flags_that_have_a_meaning_go_on(flags: str, known: int) -> None:
    context = trace_context(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None
    assert context.flags == known


@pytest.mark.parametrize(
    "parent",
    [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be", f"fe-{TRACE}-{SPAN}-01-"],
)
def test_of_a_newer_version_the_known_part_is_read(parent: str) -> None:
    assert trace_context(parent) == TraceContext(TRACE, SPAN, 1)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        TRACE,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        PARENT.upper(),
        f" {PARENT}",
        f"{PARENT} ",
        f"{PARENT}\n",
        PARENT.replace("4bf9", "4bg9"),
        PARENT.replace("4bf9", "٤bf9"),
        f"{PARENT},{PARENT}",
    ],
)
def test_a_malformed_traceparent_is_no_trace(parent: str) -> None:
    assert trace_context(parent) is None


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", True),
        ("fw529a3039@dt=FfAAAABsAIAABg", True),
        ("a=1,,b=2", "a=1,b=2"),
        (" a=1 ,\tb=2\t", "a=1,b=2"),
        ("a=" + "x" * 256, True),
        ("a=" + "x" * 257, False),
        ("a=" + "x" * 250 + ",b=" + "x" * 250, True),
        ("a=1,a=2", False),
        ("a", False),
        ("a=", False),
        ("a=1=2", False),
        ("A=1", False),
        ("a=é", False),
        ("a=1\n", False),
        ("a b=1", False),
        (",".join(f"k{n}=1" for n in range(MAX_STATE_MEMBERS)), True),
        (",".join(f"k{n}=1" for n in range(MAX_STATE_MEMBERS + 1)), False),
        ("a=" + "x" * 254 + ",b=" + "x" * (MAX_STATE_CHARACTERS - 259), True),
        ("a=" + "x" * 254 + ",b=" + "x" * (MAX_STATE_CHARACTERS - 258), False),
    ],
)
def test_a_tracestate_goes_on_whole_or_not_at_all(state: str, kept: bool | str) -> None:
    context = trace_context(PARENT, state)
    assert context is not None
    assert context.state == (kept if isinstance(kept, str) else state if kept else "")


@pytest.mark.parametrize(
    ("headers", "context"),
    [
        ([], None),
        ([(b"traceparent", PARENT.encode())], TraceContext(TRACE, SPAN, 1)),
        ([(b"traceparent", PARENT.encode())] * 2, None),
        ([(b"tracestate", b"a=1")], None),
        (
            [(b"tracestate", b"a=1"), (b"traceparent", PARENT.encode()), (b"tracestate", b"b=2")],
            TraceContext(TRACE, SPAN, 1, "a=1,b=2"),
        ),
        ([(b"traceparent", b"\xff\xfe")], None),
    ],
)
def test_a_request_belongs_to_one_trace_or_to_none(
    headers: list[tuple[bytes, bytes]], context: TraceContext | None
) -> None:
    assert trace_context_of_request(headers) == context


@given(st.binary(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-.{1,4}").map(str.encode))
@example(PARENT.encode() + b"\x00")
def test_whatever_comes_is_a_sound_context_or_none(value: bytes) -> None:
    context = trace_context_of_request([(b"traceparent", value), (b"tracestate", value)])
    if context is not None:
        assert trace_context(context.parent) == context._replace(state="")
        assert (len(context.trace_id), len(context.span_id), context.flags & ~3) == (32, 16, 0)
        assert int(context.trace_id, 16)
        assert int(context.span_id, 16)


@given(st.lists(st.text("abcz09_-*/@= ,\t~é", max_size=20), max_size=40).map(",".join))
@example("a=1,0=2")
def test_a_tracestate_that_goes_on_is_one_that_opentelemetry_reads(state: str) -> None:
    context = trace_context(PARENT, state)
    assert context is not None
    assert TraceState.from_header([context.state]).to_header() == context.state
