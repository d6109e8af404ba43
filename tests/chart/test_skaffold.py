"""The chart with the values that skaffold gives it on kind: its images are the ones that skaffold has built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from chart.rendering import Chart, environment, of_kind, one, pods

ROOT = Path(__file__).parents[2]
SKAFFOLD: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]
TAGS = {"iris-api": "a1", "iris-worker": "b2", "iris-operator": "c3"}


def values() -> dict[str, Any]:
    """Those of its files, and its templates with a tag of each image's own."""
    made: dict[str, Any] = {}
    for name in RELEASE["valuesFiles"]:
        made |= yaml.safe_load((ROOT / name).read_text())
    for path, template in RELEASE["setValueTemplates"].items():
        (image,) = re.findall(r"\{\{\.IMAGE_TAG_(\w+)\}\}", template)
        *parents, last = path.split(".")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = TAGS[image.replace("_", "-")]
    return made


def test_every_pod_runs_what_skaffold_built(chart: Chart) -> None:
    objects = chart.render(values(), RELEASE["name"])
    images = {pod["spec"]["containers"][0]["image"] for _, pod in pods(objects)}
    ours = {f"{image}:{tag}" for image, tag in TAGS.items()}
    assert {image for image in images if image.startswith("iris-")} == ours
    assert TAGS.keys() == {artifact["image"] for artifact in SKAFFOLD["build"]["artifacts"]}


def test_the_operator_s_workers_do_too(chart: Chart) -> None:
    operator = one(chart.render(values(), RELEASE["name"]), "Deployment", "iris-operator")
    assert environment(operator["spec"]["template"])["IRIS_WORKER_IMAGE"] == "iris-worker:b2"


def test_the_service_that_is_forwarded_is_there(chart: Chart) -> None:
    (forward,) = SKAFFOLD["portForward"]
    service = one(chart.render(values(), RELEASE["name"]), "Service", forward["resourceName"])
    assert [port["port"] for port in service["spec"]["ports"]] == [forward["port"]]
    assert of_kind(chart.render(values(), RELEASE["name"]), "Pod")
