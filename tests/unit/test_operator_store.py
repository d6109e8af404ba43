"""What the watches tell, in whatever order, and what a listing corrects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from iris_operator.errors import NotYet
from iris_operator.manifests import MODEL_LABEL
from iris_operator.resync import AGAIN_SECONDS, EVERY_SECONDS, SILENT_SECONDS, Resync
from iris_operator.store import Key, Kind, Store, model_of
from memory_cluster import Faults, MemoryCluster, iris_model


def body(version: int, name: str = "iris", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version), **meta}}


KEY = Key("ns", "iris")


def test_an_older_body_never_replaces_a_newer_one() -> None:
    kind = Kind()
    assert kind.see(body(10))
    assert not kind.see(body(9)), "nine is less than ten, as numbers"
    assert not kind.see(body(10))
    assert kind.see(body(11))
    assert kind.bodies[KEY]["metadata"]["resourceVersion"] == "11"


def test_the_lists_of_field_owners_are_not_kept() -> None:
    kind = Kind()
    kind.see(body(1, managedFields=[{"manager": "kubectl"}]))
    assert kind.bodies[KEY] == body(1)


def test_an_old_deletion_does_not_take_the_new_object_of_that_name() -> None:
    kind = Kind()
    kind.see(body(10, uid="new"))
    assert not kind.see(body(9, uid="old"), deleted=True)
    assert kind.see(body(12), deleted=True)
    assert not kind.see(body(12), deleted=True)
    assert kind.bodies == {}


def test_a_late_reply_to_a_write_does_not_bring_a_deleted_object_back() -> None:
    kind = Kind()
    kind.see(body(10))
    kind.see(body(12), deleted=True)
    assert not kind.see(body(11)), "written just before the deletion, heard of just after it"
    assert kind.bodies == {}
    assert kind.see(body(13)), "another object of that name"


def test_a_listing_brings_what_is_new_and_takes_what_is_gone() -> None:
    kind = Kind()
    for name in ("kept", "gone", "changed", "told while listing"):
        kind.see(body(1, name))
    before = dict(kind.bodies)
    kind.see(body(5, "told while listing"))
    kind.see(body(6, "made while listing"))
    news = kind.see_all([body(1, "kept"), body(3, "changed"), body(4, "new")], before, now=7.0)
    assert {key.name for key in news} == {"gone", "changed", "new"}
    assert {key.name for key in kind.bodies} == {"kept", "changed", "new", "told while listing", "made while listing"}
    assert kind.behind_since == 7.0


@pytest.mark.parametrize(
    ("meta", "model"),
    [
        ({"labels": {MODEL_LABEL: "iris"}}, KEY),
        ({"ownerReferences": [{"kind": "IrisModel", "name": "iris"}], "labels": {MODEL_LABEL: "other"}}, KEY),
        ({"ownerReferences": [{"kind": "Other", "name": "iris"}]}, None),
        ({}, None),
    ],
)
def test_a_deployment_belongs_to_its_owner_or_else_to_its_label(meta: dict[str, Any], model: Key | None) -> None:
    assert model_of(body(1, "d", **meta)) == model


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_before_everything_was_listed_and_a_failed_listing_is_tried_again() -> None:
    faults, clock = Faults(), Clock()
    cluster, store = MemoryCluster(faults), Store()
    cluster.put(iris_model())
    resync = Resync(cluster, store, clock)
    faults.fail_at = 1
    assert asyncio.run(resync.when_due()) == set()
    assert not resync.done
    assert asyncio.run(resync.when_due()) == set(), "not at once"
    clock.now += AGAIN_SECONDS
    assert asyncio.run(resync.when_due()) == {KEY}
    assert resync.done
    assert resync.dead_watch() == ""


def test_a_watch_that_says_nothing_of_what_a_listing_brought_is_dead() -> None:
    clock, cluster, store = Clock(), MemoryCluster(Faults()), Store()
    resync = Resync(cluster, store, clock)
    asyncio.run(resync.when_due())
    cluster.put(iris_model())
    clock.now += EVERY_SECONDS
    assert asyncio.run(resync.when_due()) == {KEY}
    assert resync.dead_watch() == ""
    clock.now += SILENT_SECONDS + 1
    assert resync.dead_watch() == "irismodels"
    assert resync.behind_seconds() == {"irismodels": SILENT_SECONDS + 1, "deployments": 0}
    store.models.behind_since = None  # as the handler does with the watch's next word
    assert resync.dead_watch() == ""


def test_a_failed_listing_is_an_error_of_the_cluster_and_no_other() -> None:
    class Broken(MemoryCluster):
        async def list_models(self) -> list[dict[str, Any]]:
            raise NotYet("403")

    resync = Resync(Broken(Faults()), Store(), Clock())
    assert asyncio.run(resync.when_due()) == set()
    assert not resync.done
