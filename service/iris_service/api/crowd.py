"""The connections of this process: how many there may be, whom to send away for another, how much they may have sent.

A connection that no request of is being answered (idle, silent, still sending) makes room for a new one, the one that
has been so for longest first. So whoever only holds connections holds up nobody else.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol


class Member(Protocol):
    """A connection, as far as the crowd is concerned."""

    def make_room(self) -> None:
        """Close at once; nobody is waiting for an answer."""
        ...


class Crowd:
    """Bookkeeping only: members say what happens to them."""

    def __init__(self, most_connections: int, most_body_bytes: int) -> None:
        self._most_connections = most_connections
        self._most_body_bytes = most_body_bytes
        self._members: set[Member] = set()
        self._unasked: OrderedDict[Member, None] = OrderedDict()
        """Members nobody is working for, in the order in which they became so."""
        self._body_bytes = 0

    def join(self, member: Member) -> bool:
        """Let a new connection in, in place of another if need be; False when every other one is being answered."""
        if len(self._members) >= self._most_connections:
            if not self._unasked:
                return False
            oldest = next(iter(self._unasked))
            self.leave(oldest)
            oldest.make_room()
        self._members.add(member)
        self._unasked[member] = None
        return True

    def leave(self, member: Member) -> None:
        self._members.discard(member)
        self._unasked.pop(member, None)

    def is_served(self, member: Member) -> None:
        """A request of it has arrived and is being answered."""
        self._unasked.pop(member, None)

    def is_done(self, member: Member) -> None:
        """Its requests are answered."""
        if member in self._members:
            self._unasked[member] = None
            self._unasked.move_to_end(member)

    def hold(self, body_bytes: int) -> bool:
        """Add to the bytes of bodies in hand; False, and nothing added, when that would be too much."""
        if self._body_bytes + body_bytes > self._most_body_bytes:
            return False
        self._body_bytes += body_bytes
        return True

    def release(self, body_bytes: int) -> None:
        self._body_bytes -= body_bytes
