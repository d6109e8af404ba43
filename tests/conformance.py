"""Holds answers against the OpenAPI document: whatever any test is answered must be what is documented.

For what the document does not speak of (unknown pages, other methods, HEAD) there is nothing to hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

Document = Mapping[str, Any]


class Conformance:
    """One document, and what every answer is held against."""

    def __init__(self, document: Document) -> None:
        self.document = document
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:document", resource)
        self._paths = {path: _pattern(path) for path in document["paths"]}
        self._validators: dict[tuple[str, ...], Draft202012Validator] = {}

    def operation(self, method: str, path: str) -> tuple[str, str] | None:
        """Return path and method of the document that a request is for; a path without parameters comes first."""
        path = path.rstrip("/") or path
        known = sorted((known for known, pattern in self._paths.items() if pattern.fullmatch(path)), key=_parameters)
        if known and method.lower() in self.document["paths"][known[0]]:
            return known[0], method.lower()
        return None

    def check(self, method: str, path: str, answer: Any) -> None:
        """Fail when an answer (of httpx) is not one that the document has."""
        found = self.operation(method, path)
        if found is None:
            return
        where = (*found, str(answer.status_code))
        responses = self.document["paths"][found[0]][found[1]]["responses"]
        assert where[2] in responses, f"undocumented: {where} {answer.text[:500]}"
        documented = self.resolved(responses[where[2]])
        self._check_headers(where, documented, answer)
        contents = documented.get("content", {})
        if not contents:
            assert answer.content == b"", where
            return
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in contents, f"undocumented: {where} {kind}"
        if kind == "application/json":
            self.validate(contents[kind]["schema"], answer.json(), (*where, kind))

    def _check_headers(self, where: tuple[str, ...], documented: Mapping[str, Any], answer: Any) -> None:
        known = {name.lower() for name in self.document["components"]["headers"]} - {"etag"}
        declared = {name.lower() for name in documented.get("headers", {})}
        undeclared = (known & {name.lower() for name in answer.headers}) - declared
        assert not undeclared, f"undocumented headers: {where} {undeclared}"

    def validate(self, schema: Mapping[str, Any], value: Any, where: tuple[str, ...]) -> None:
        """Fail when a value is not what a schema of the document says; `where` stands for the schema."""
        validator = self._validators.get(where)
        if validator is None:
            rooted = _rooted(schema)
            validator = self._validators[where] = Draft202012Validator(rooted, registry=self._registry)
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
        assert errors == [], where

    def resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in value:
            reference = value["$ref"]
            assert reference.startswith("#/"), reference
            found: Any = self.document
            for step in reference[2:].split("/"):
                found = found[step]
            value = found
        return value


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


def _parameters(path: str) -> int:
    return path.count("{")


def _rooted(schema: Any) -> Any:
    """Return a schema whose references start from the document."""
    if isinstance(schema, dict):
        return {key: f"urn:document{value}" if key == "$ref" else _rooted(value) for key, value in schema.items()}
    return [_rooted(inner) for inner in schema] if isinstance(schema, list) else schema
