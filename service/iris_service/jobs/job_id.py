"""Whose job is it? The id says so itself, so that nothing has to be stored or asked. Pure: no HTTP, no Redis.

The id of an authenticated caller's job is 20 random hex digits and 12 that tie them to the caller: a piece of SHA-256
over both. On look-up those 12 are computed again for whoever asks. An anonymous caller's id is a random UUID: where
nobody has a name, whoever has the id has the job.

What can be done with the id of somebody else's job: nothing. It cannot be looked up or cancelled, for the 12 digits of
another name agree once in 2**48 (3 * 10**14); it cannot be submitted, for callers do not choose ids. It looks like an
id that never was: the same answer, and no look at Redis. The digits are no secret and need none: who computes them for
another name still asks under his own.

What remains: who may give himself names (create ServiceAccounts, say) and knows a foreign id can try 2**47 of them on
his own machine, and would have to be admitted under the one that fits before the answer expires. Two ids of one caller
collide, and so share an answer, with odds of 5 * 10**-10 while 36 million of his answers are kept (10,000 a second
for an hour); ids of two callers, 2**48 times more rarely.

Switched from one way of authentication to another, callers have other names: jobs from before are theirs no more.
"""

from __future__ import annotations

import re
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex
from uuid import uuid4

_SHAPE = re.compile(r"[0-9a-f]{32}")
_RANDOM_DIGITS = 20
_OWNER_DIGITS = 12


def new_id(caller: str | None) -> str:
    """Return an id nobody has had; `caller` is an authenticated name, None for an anonymous caller."""
    return uuid4().hex if caller is None else _owned(token_hex(_RANDOM_DIGITS // 2), caller)


def belongs_to(job_id: str, caller: str | None) -> bool:
    """Return whether `job_id` is well formed and may be looked up by `caller`; takes the same time for any name."""
    if not _SHAPE.fullmatch(job_id):
        return False
    if caller is None:
        return True
    return compare_digest(_owned(job_id[:_RANDOM_DIGITS], caller), job_id)


def _owned(random_digits: str, caller: str) -> str:
    # the digits have a fixed length and come first: no two pairs of digits and name are the same bytes
    text = f"iris job owner\0{random_digits}{caller}".encode(errors="surrogatepass")
    return random_digits + sha256(text).hexdigest()[:_OWNER_DIGITS]
