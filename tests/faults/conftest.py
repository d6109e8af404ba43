"""A rig for each fault test; when the test fails, its processes have the last word."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator

import pytest

from faults.proxy import FaultProxy
from faults.rig import Rig
from servers import short_folder

MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig() -> Iterator[MakeRig]:
    """Builds a rig with a Valkey of its own; takes options of the server, and settings of the product by keyword."""
    rigs: list[Rig] = []

    def make(*valkey_options: str, **settings: object) -> Rig:
        rigs.append(Rig(short_folder(), *valkey_options, **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.stop()
        sys.stdout.write(rig.last_words())
        shutil.rmtree(rig.folder)


@pytest.fixture
def make_proxy() -> Iterator[Callable[[Rig], FaultProxy]]:
    """Puts a fault proxy in front of a rig's Valkey."""
    made: list[tuple[Rig, FaultProxy]] = []

    def make(rig: Rig) -> FaultProxy:
        proxy = FaultProxy(rig.valkey.port)
        rig.caller.run(proxy.start())
        made.append((rig, proxy))
        return proxy

    yield make
    for rig, proxy in made:
        rig.caller.run(proxy.stop())
