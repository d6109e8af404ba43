"""Schemas, each from the type that reads or writes what it describes: msgspec's for ours, the card for a model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from iris_service.model.card import Card
from iris_service.schemas import Feature

REFERENCE = "#/components/schemas/{name}"


def reference(name: str) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=name)}


class Schemas:
    """The schemas of all types that are read and of all that are written, and those of one model."""

    def __init__(self, read: Iterable[Any], written: Iterable[Any]) -> None:
        """Take types; one that is written says everything it has, also what one that is read may leave out."""
        self.components: dict[str, Any] = {}
        self._of: dict[Any, Any] = {}
        for kinds, whole in ((list(read), False), (list(written), True)):
            schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
            self._of.update(zip(kinds, map(_portable, schemas), strict=True))
            for name, schema in components.items():
                self.components[name] = _portable({**schema, **(_whole(schema) if whole else {})})

    def of(self, schema: Any) -> Any:
        """Return the schema of a type, of one of several types, or of what is a schema already."""
        if isinstance(schema, tuple):
            return {"anyOf": [self.of(one) for one in schema]}
        return schema if isinstance(schema, Mapping) else self._of[schema]


def _whole(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema says otherwise of an answer: what has a default is there as well."""
    properties: dict[str, Any] = schema.get("properties", {})
    there = [name for name in properties if name in schema["required"] or "default" in properties[name]]
    without = {
        name: {key: value for key, value in inner.items() if key != "default"} for name, inner in properties.items()
    }
    return {"properties": without, "required": there}


def _portable(schema: Any) -> Any:
    """Return a schema with its patterns as other languages have them, and without titles that only repeat names."""
    if isinstance(schema, list):
        return [_portable(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _portable(inner) for key, inner in schema.items() if key != "title"}
    if isinstance(found.get("pattern"), str):
        found["pattern"] = anchored(found["pattern"])
    return found


def anchored(pattern: str) -> str:
    r"""Return a pattern that stands for all of a text, without Python's own \A and \Z."""
    return "^" + pattern.removeprefix(r"\A").removeprefix("^").removesuffix(r"\Z").removesuffix("$") + "$"


def number(feature: Feature, says: str = "") -> dict[str, Any]:
    """Return the schema of a value that `Feature.check` takes."""
    schema = {"type": "number", "minimum": feature.minimum, "maximum": feature.maximum}
    return {**schema, "description": says} if says else schema


def numbers(card: Card) -> dict[str, dict[str, Any]]:
    """Return the schema of each feature, by name."""
    profiles = {profile.name: profile for profile in card.training.features}
    return {
        feature.name: number(
            feature,
            f"In {feature.unit}; the training data had {profiles[feature.name].minimum:g} "
            f"to {profiles[feature.name].maximum:g}.",
        )
        for feature in card.signature.features
    }


def flower(card: Card) -> dict[str, Any]:
    """Return the schema of what `Signature.row_from_mapping` takes."""
    features = numbers(card)
    return {
        "description": f"What {card.model} is asked about: every feature once, and nothing else.",
        "type": "object",
        "properties": features,
        "required": list(features),
        "additionalProperties": False,
    }


def flowers(card: Card, max_rows: int) -> dict[str, Any]:
    """Return the schema of what stands for many."""
    features = [{"title": name, **schema} for name, schema in numbers(card).items()]
    row = {"type": "array", "prefixItems": features, "minItems": len(features), "maxItems": len(features)}
    return {
        "description": "Many at once: in each row the values in the order of the features.",
        "type": "object",
        "properties": {"data": {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}},
        "required": ["data"],
        "additionalProperties": False,
    }
