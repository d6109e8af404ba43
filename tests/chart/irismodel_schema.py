"""What `model.worker` and `model.rollout` may hold: the IrisModel's own schema, as values.schema.json repeats it.

python tests/chart/irismodel_schema.py      write it there anew, after the CRD has changed
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "iris"
SCHEMA = CHART / "values.schema.json"
CRD = CHART / "crds" / "irismodels.yaml"


def parts_of_the_crd() -> dict[str, Any]:
    """The definitions `irisModelWorker` and `irisModelRollout`."""
    parts = spec_schema()["properties"]
    return {"irisModelWorker": parts["worker"], "irisModelRollout": parts["rollout"]}


@cache
def spec_schema() -> dict[str, Any]:
    """Of an IrisModel's spec."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    found: dict[str, Any] = plain(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return found


def plain(schema: Any) -> Any:
    """A CRD's schema as plain JSON Schema: without Kubernetes' extensions, and with no key but those that are named."""
    kept = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in kept:
        kept["properties"] = {name: plain(value) for name, value in kept["properties"].items()}
        kept["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = plain(kept[key])
    return kept


def main() -> None:
    schema = json.loads(SCHEMA.read_text())
    schema["definitions"] |= parts_of_the_crd()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
