"""Whose job is it? The id says so itself, so that nothing has to be stored or asked. Pure: no HTTP, no Redis.

The id of an authenticated caller's job is 20 random hex digits and 12 that tie them to the caller: a piece of SHA-256
over both. On look-up those 12 are computed again for whoever asks. An anonymous caller's id is a random UUID: where
nobody has a name, whoever has the id has the job.

What can be done with the id of somebody else's job: nothing. It cannot be looked up or cancelled, for the 12 digits of
another name agree once in 2**48 (3 * 10**14); it cannot be submitted, for callers do not choose ids. It looks like an
id that never was: the same answer, and no look at Redis. The digits are no secret and need none: who computes them for
another name still asks under his own.

With an idempotency key the random digits are not random but a piece of SHA-256 over caller and key, so that the key
leads to the same job again. Keys of two callers have nothing to do with each other; of anonymous callers the key is all
there is, and who guesses it has the job.

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

ID_PATTERN = "[0-9a-f]{32}"
_SHAPE = re.compile(ID_PATTERN)
_RANDOM_DIGITS = 20
_OWNER_DIGITS = 12


def new_id(caller: str | None) -> str:
    """Return an id nobody has had; `caller` is an authenticated name, None for an anonymous caller."""
    return uuid4().hex if caller is None else _owned(token_hex(_RANDOM_DIGITS // 2), caller)


def id_of_key(key: bytes, caller: str | None) -> str:
    """Return the id that an idempotency key of `caller` stands for."""
    name = sha256(b"" if caller is None else b"named " + _bytes(caller)).digest()  # of fixed length, as below
    digits = sha256(b"iris idempotency key\0" + name + key).hexdigest()
    return digits[:32] if caller is None else _owned(digits[:_RANDOM_DIGITS], caller)


def belongs_to(job_id: str, caller: str | None) -> bool:
    """Return whether `job_id` is well formed and may be looked up by `caller`; takes the same time for any name."""
    if not _SHAPE.fullmatch(job_id):
        return False
    if caller is None:
        return True
    return compare_digest(_owned(job_id[:_RANDOM_DIGITS], caller), job_id)


def _owned(random_digits: str, caller: str) -> str:
    # the digits have a fixed length and come first: no two pairs of digits and name are the same bytes
    owner = sha256(b"iris job owner\0" + _bytes(random_digits + caller)).hexdigest()
    return random_digits + owner[:_OWNER_DIGITS]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
