"""Starts our api or worker without ledger, unique enqueue and first-writer-wins, to see what these cost.

For measuring only: what is accepted this way can be lost, run twice or answered twice.
`python without_promises.py api|worker`
"""

from __future__ import annotations

import sys

from iris_service import cli
from iris_service.jobs import scripts

CUTS = {
    "enqueue": (
        ("redis.call('EXISTS', 'rq:job:' .. id, 'iris:result:' .. id) > 0", "false"),
        ("    ledger[#ledger + 1] = deadline\n    ledger[#ledger + 1] = id\n", ""),
        ("  redis.call('ZADD', 'iris:pending', unpack(ledger))\n", ""),
    ),
    "finish": (
        ("'NX', 'EX', ttl", "'EX', ttl"),
        ("redis.call('ZREM', 'iris:pending', unpack(ids))\n", ""),
    ),
}
"""By script: what of the product's text goes, and what takes its place."""

_product_source = scripts.source


def source(name: str) -> str:
    """Return a script without its promises; raises `ValueError` when the product's text no longer fits the cuts."""
    text = _product_source(name)
    for old, new in CUTS.get(name, ()):
        if old not in text:
            raise ValueError(f"{name}.lua has changed: it no longer holds {old!r}")
        text = text.replace(old, new)
    return text


if __name__ == "__main__":
    scripts.source = source
    sys.exit(cli.main(sys.argv[1:]))
