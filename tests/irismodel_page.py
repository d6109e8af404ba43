"""Renders docs/irismodel.md from the CRD: `python tests/irismodel_page.py` writes it, a test compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CRD = ROOT / "charts" / "iris" / "crds" / "irismodels.yaml"
PAGE = ROOT / "docs" / "irismodel.md"
KUBERNETES_OWN = "worker.resources"
OPERATORS_OWN = "rollout"
HEAD = """# IrisModel

`serving.iris.dev/v1alpha1`, namespaced, short name `im`, category `iris`. See also [operator.md](operator.md).
Examples: [k8s/samples](../k8s/samples). Made from `charts/iris/crds/irismodels.yaml` by `tests/irismodel_page.py`.

`metadata.name` is the model's name. The author of an IrisModel chooses a model and how much of it, never an image,
a command, an environment, a service account, a volume or another namespace. `kubectl` refuses a field that is unknown.

| spec. | values | default | |
|---|---|---|---|
"""
RULES = "\n## Rules that span fields\n\n"
COLUMNS = """
## What `kubectl get im` shows

| column | from | |
|---|---|---|
"""
SCALE = """
`kubectl scale im/NAME --replicas=N` writes `{specReplicasPath}`; not together with `worker.autoscaling`.
"""
STATUS = """
## Status

Written by the operator only. What its conditions mean: [operator.md](operator.md#conditions).

| status. | |
|---|---|
"""


def page() -> str:
    """The whole page."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    spec, status = root["properties"]["spec"], root["properties"]["status"]
    rows = [
        f"| `{path}` | {values(field)} | {default(field)} | {text(field)} |"
        for path, field in fields(spec, KUBERNETES_OWN)
    ]
    messages = [rule["message"] for schema in (root, *schemas(spec)) for rule in rules_of(schema)]
    rules = [f"- {message}".replace("<", "&lt;") for message in dict.fromkeys(messages)]
    columns = [
        f"| {column['name']} | `{column['jsonPath']}` | {'with `-o wide`' if column.get('priority') else ''} |"
        for column in version["additionalPrinterColumns"]
    ]
    scale = SCALE.format(**version["subresources"]["scale"])
    told = [f"| `{path}` | {text(field)} |" for path, field in fields(status, OPERATORS_OWN)]
    parts = (HEAD, rows, RULES, rules, COLUMNS, columns, scale, STATUS, told)
    return "".join(part if isinstance(part, str) else "\n".join(part) + "\n" for part in parts)


def fields(schema: dict[str, Any], closed: str, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, with its path; what is inside of `closed` is not for the reader to set or to read."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        here = f"{path}{name}"
        yield here, {**field, "required": name in required}
        if here != closed:
            inner, suffix = (field["items"], "[].") if field["type"] == "array" else (field, ".")
            yield from fields(inner, closed, here + suffix)


def schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for field in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else ())):
        yield from schemas(field)


def rules_of(schema: dict[str, Any]) -> list[dict[str, str]]:
    return list(schema.get("x-kubernetes-validations", ()))


def values(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(field["enum"])
    if "minimum" in field:
        return f"{field['minimum']:g} to {field['maximum']:,}".replace(",", " ")
    if field["type"] == "array":
        return f"{field['minItems']} to {field['maxItems']} entries"
    if "pattern" in field:
        return f"text like `{field['pattern']}`"
    return {"boolean": "true, false", "object": ""}.get(str(field["type"]), "text")


def default(field: dict[str, Any]) -> str:
    if field["required"]:
        return "required"
    found = field.get("default", "")
    return (
        ""
        if found in ("", {})
        else f"{found:g}"
        if isinstance(found, float)
        else str(found)
        if isinstance(found, str)
        else str(found).lower()
    )


def text(field: dict[str, Any]) -> str:
    return str(field["description"]).replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page())
