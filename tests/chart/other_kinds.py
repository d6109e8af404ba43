"""The kinds that the chart renders and Kubernetes does not have, read as strictly as an API server reads them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from chart.irismodel_schema import plain
from chart.rendering import Object

HERE = Path(__file__).parent
CRDS = (HERE / "prometheus_operator.yaml", HERE.parent / "schemas" / "httproute-v1.yaml")
"""For an API server; they say where they are from."""


def complaint(found: Object) -> str:
    """What is wrong with an object of these kinds; a field that they do not have is, too."""
    # not jsonschema.validate, which reads all patterns first: one of them is Go's, of a field that is not ours
    errors = jsonschema.Draft202012Validator(_schemas()[found["kind"]]).iter_errors(found["spec"])
    return "; ".join(f"{error.json_path}: {error.message}" for error in errors)


@cache
def _schemas() -> dict[str, Any]:
    """Of the spec, by kind."""
    found = {}
    for crd in (crd for path in CRDS for crd in yaml.safe_load_all(path.read_text())):
        (version,) = crd["spec"]["versions"]
        found[crd["spec"]["names"]["kind"]] = plain(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return found
