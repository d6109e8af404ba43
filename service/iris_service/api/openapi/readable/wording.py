"""Says in words what a schema allows. Pure: a JSON schema in, markup out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from iris_service.api.openapi.readable.markup import Markup, element, joined, phrase

Schema = Mapping[str, Any]
_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_COUNTABLE = frozenset({"string", "integer", "number", "object", "array"})
_BOUNDLESS = 1e15
"""A bound beyond it only says that a number is finite."""


def anchor(name: str) -> str:
    """Return the id of the place where a schema is described."""
    return f"schema.{name}"


def worded(schema: Schema, plural: str = "") -> Markup:
    """Return what a value is, in one line; with `plural` ("s") what several are."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return element("a", name, href=f"#{anchor(name)}")
    for key, between in (("allOf", " and "), ("anyOf", " or ")):
        if key in schema:
            return joined(map(worded, schema[key]), between)
    if "const" in schema:
        return element("code", json.dumps(schema["const"]))
    if "enum" in schema:
        return joined((element("code", value) for value in schema["enum"]), " or ")
    if schema.get("type") == "array":
        return _list(schema, plural)
    if isinstance(schema.get("additionalProperties"), Mapping):
        return joined(("object of ", worded(schema["additionalProperties"])))
    kind: str = schema.get("type", "anything")
    word = _WORDS.get(kind, kind) + (plural if kind in _COUNTABLE else "")
    return joined((word, _range(schema), _length(schema, "Length", " characters"), _pattern(schema)))


def _list(schema: Schema, plural: str) -> Markup:
    columns = schema.get("prefixItems")
    if columns:
        return joined((f"list{plural} of ", joined((column["title"] for column in columns), ", ")))
    items = joined((" of ", worded(schema["items"], "s"))) if "items" in schema else ""
    return joined((f"list{plural}", _length(schema, "Items", ""), items))


def _range(schema: Schema) -> str:
    low, high, below = (schema.get(name) for name in ("minimum", "maximum", "exclusiveMaximum"))
    said = f" from {low:g}" if low is not None and abs(low) < _BOUNDLESS else ""
    if high is not None and abs(high) < _BOUNDLESS:
        said += f" to {high:.15g}"
    return f"{said}, below {below:.15g}" if below is not None else said


def _length(schema: Schema, of_what: str, unit: str) -> str:
    least, most = schema.get(f"min{of_what}", 0), schema.get(f"max{of_what}")
    if most is not None:
        return f" of {least} to {most}{unit}"
    return f" of at least {least}{unit}" if least else ""


def _pattern(schema: Schema) -> Markup:
    return joined((" matching ", element("code", schema["pattern"]))) if "pattern" in schema else Markup()


def fields(schema: Schema) -> Markup:
    """Return the fields of an object; nothing for what has none."""
    required = schema.get("required", ())
    rows = [
        field(name, inner, inner.get("description", ""), "" if name in required else "optional")
        for name, inner in schema.get("properties", {}).items()
    ]
    return element("dl", *rows) if rows else Markup()


def field(name: str, schema: Schema, says: str, note: str) -> Markup:
    """Return a name with what it stands for."""
    head = [element("code", name), element("small", note)] if note else [element("code", name)]
    told = [element("div", phrase(says))] if says else []
    is_said = says and schema.get("type") == "string" and "pattern" not in schema
    what = [] if is_said else [element("div", worded(schema), class_="soft")]
    return joined((element("dt", *head), element("dd", *told, *what)))
