"""skaffold.yaml: valid by skaffold's own schema, and in step with the Dockerfile, the chart, kind and k8s/reload.py."""

from __future__ import annotations

import copy
import json
import re
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SKAFFOLD: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((ROOT / "tests" / "schemas" / "skaffold-v4beta14.json").read_text())
ARTIFACTS: list[dict[str, Any]] = SKAFFOLD["build"]["artifacts"]
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]
IMAGES = ["iris-api", "iris-worker", "iris-operator"]


def with_profile(name: str) -> dict[str, Any]:
    """What skaffold makes of the file with `-p NAME`; a profile of ours has nothing but patches."""
    (profile,) = [profile for profile in SKAFFOLD["profiles"] if profile["name"] == name]
    assert profile.keys() == {"name", "patches"}
    made = copy.deepcopy(SKAFFOLD)
    for patch in profile["patches"]:
        *path, last = patch["path"].strip("/").split("/")
        place: Any = made
        for step in path:
            place = place[int(step)] if isinstance(place, list) else place[step]
        assert (patch["op"] == "replace") == (last in place), patch
        place[last] = patch["value"]
    return made


@pytest.mark.parametrize("made", [SKAFFOLD, with_profile("ci")], ids=["dev", "ci"])
def test_it_is_what_skaffold_s_schema_allows(made: dict[str, Any]) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(made)


def test_the_schema_refuses_a_misspelt_key() -> None:
    made = copy.deepcopy(SKAFFOLD)
    made["build"]["artifact"] = made["build"].pop("artifacts")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(made)


def test_it_builds_the_three_images_from_targets_that_exist() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for made, suffix in ((SKAFFOLD, "-dev"), (with_profile("ci"), "")):
        found = {artifact["image"]: artifact["docker"]["target"] for artifact in made["build"]["artifacts"]}
        assert found == {image: image.removeprefix("iris-") + suffix for image in IMAGES}
        assert set(found.values()) <= stages


def test_a_development_image_is_the_released_one_with_a_reloader_and_nothing_else() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in ("api", "worker", "operator"):
        (stage,) = re.findall(rf"^FROM {name} AS {name}-dev\n((?:.+\n)*)", dockerfile, re.MULTILINE)
        assert {line.split()[0] for line in stage.splitlines()} <= {"COPY", "ENTRYPOINT", "CMD"}
    assert dockerfile.rstrip().endswith("\nFROM api")  # what is built without --target


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: artifact["image"])
def test_a_changed_source_file_goes_where_the_reloader_looks(artifact: dict[str, Any]) -> None:
    # each image holds both packages, so a rule that is missing would build an image anew for a change of the other
    folder = runpy.run_path(str(ROOT / "k8s" / "reload.py"))["FOLDER"]
    synced = {rule["strip"]: rule for rule in artifact["sync"]["manual"]}
    assert synced.keys() == {"service/", "operator/"}
    for shelf, package in (("service/", "iris_service"), ("operator/", "iris_operator")):
        assert synced[shelf]["src"] == f"{shelf}{package}/**/*"
        assert synced[shelf]["dest"] == str(folder)
        assert (ROOT / shelf / package).is_dir()


def test_it_deploys_to_the_cluster_of_kind_yaml_and_to_no_other() -> None:
    cluster = yaml.safe_load((ROOT / "k8s" / "kind.yaml").read_text())
    context = f"kind-{cluster['name']}"
    assert SKAFFOLD["deploy"]["kubeContext"] == context
    hooks = with_profile("ci")["deploy"]["helm"]["hooks"]
    commands = [" ".join(entry["host"]["command"]) for when in ("before", "after") for entry in hooks[when]]
    assert all(f"context={context}" in command for command in commands)


def test_it_forwards_the_api_of_the_release() -> None:
    (forward,) = SKAFFOLD["portForward"]
    assert forward["resourceName"] == f"{RELEASE['name']}-api"
    assert forward["namespace"] == RELEASE["namespace"]
    assert forward["port"] == forward["localPort"] == 8000
