"""W3C Trace Context: the trace that a request belongs to, as headers bring it and jobs carry it on. Strict and pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_STATE_CHARACTERS = 512
"""What the standard asks everybody to pass on; a longer `tracestate` is dropped whole, as is a malformed one."""
MAX_STATE_MEMBERS = 32

_SAMPLED, _RANDOM = 1, 2
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY = r"([a-z][-_*/a-z0-9]{0,255}|[a-z0-9][-_*/a-z0-9]{0,240}@[a-z][-_*/a-z0-9]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"{_KEY}={_VALUE}")


class TraceContext(NamedTuple):
    """One span of one trace, ours or a caller's."""

    trace_id: str
    """32 hexadecimal digits, not all zero; 16 in `span_id`."""
    span_id: str
    flags: int = 0
    state: str = ""
    """`tracestate`: what other tracing systems wish to find again."""

    @property
    def parent(self) -> str:
        """The text of a `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    @property
    def log_fields(self) -> dict[str, str]:
        return {"trace_id": self.trace_id, "span_id": self.span_id}


def trace_context(parent: str, state: str = "") -> TraceContext | None:
    """Read a `traceparent` and its `tracestate`; None when the first is malformed: no reason to refuse anybody.

    Of a version newer than ours the part that we know is read, as the standard asks.
    """
    found = _PARENT.fullmatch(parent)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    known = int(flags, 16) & (_SAMPLED | _RANDOM)
    return TraceContext(trace_id, span_id, known, _checked_state(state))


def _checked_state(text: str) -> str:
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = [found[1] for member in members if (found := _MEMBER.fullmatch(member))]
    sound = len(members) == len(keys) == len(set(keys)) <= MAX_STATE_MEMBERS and len(text) <= MAX_STATE_CHARACTERS
    return ",".join(members) if sound else ""


def trace_context_of_request(headers: Sequence[tuple[bytes, bytes]]) -> TraceContext | None:
    """Read it from a request's headers, names in lower case; None without a `traceparent`, or with more than one."""
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1:
        return None
    states = [value for name, value in headers if name == b"tracestate"]
    return trace_context(parents[0].decode("latin-1"), b",".join(states).decode("latin-1"))
