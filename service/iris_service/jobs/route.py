"""The route: which versions of a model take new jobs, and in what share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from iris_service.jobs.keys import Target

_Weight = Annotated[int, Meta(ge=0, le=100)]
_weights = msgspec.json.Decoder(dict[str, _Weight])


@dataclass(frozen=True)
class Route:
    """Shares of new jobs in percent, versions without any left out; never empty."""

    shares: tuple[tuple[Target, int], ...]

    @classmethod
    def only(cls, target: Target) -> Route:
        return cls(((target, 100),))

    @classmethod
    def from_json(cls, data: bytes, model: str) -> Route:
        """Read {version: weight} as the operator writes it; raises `ValueError` when it cannot be followed."""
        shares = tuple((Target(model, version), weight) for version, weight in _weights.decode(data).items() if weight)
        if not shares:
            raise ValueError("a route gives every version weight 0")
        return cls(shares)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(target for target, _ in self.shares)

    def pick(self, chance: float) -> Target:
        """Return the version for a new job; `chance` is drawn evenly from 0 to 1, exclusive."""
        rest = chance * sum(weight for _, weight in self.shares)
        for target, weight in self.shares:
            rest -= weight
            if rest < 0:
                return target
        return self.shares[-1][0]
