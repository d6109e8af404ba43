"""A command line for each operation, by the examples of the document, that does what it says when it is pasted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import quote as percent_encoded
from urllib.parse import urlencode

JSON = "application/json"
KEY_VARIABLE = "IRIS_API_KEY"


class Call(NamedTuple):
    """One way to call an operation: what it shows, the lines of the command, and an answer, where one is shown."""

    shows: str
    lines: tuple[str, ...]
    answer: Any = None


class Caller:
    """Calls the operations of a document, at some address."""

    def __init__(self, document: Mapping[str, Any], address: str) -> None:
        self._document = document
        self._address = address

    def calls(self, path: str, method: str) -> Iterator[Call]:
        """Return one call for each example of a body, and one for an operation without."""
        operation = self._document["paths"][path][method]
        answers = _examples(operation["responses"].get("200", {}).get("content", {}))
        bodies = _examples(operation.get("requestBody", {}).get("content", {}))
        before = self._before(operation)
        for name, (kind, example) in (bodies or {"": ("", {})}).items():
            answer_kind, answer = answers.get(name) or next(iter(answers.values()), ("", {}))
            wish = answer_kind if name in answers and answer_kind != JSON else ""
            line = self._line(path, method, (kind, example["value"]) if name else None, wish)
            yield Call(example.get("summary", ""), (*before, line), answer.get("value"))

    def _before(self, operation: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what must be done first: a job that is looked at has to be made."""
        for parameter in map(self.resolved, operation.get("parameters", ())):
            source = self._source(operation["operationId"], parameter["name"])
            if source:
                [line] = next(self.calls(*source)).lines
                pattern = parameter["schema"]["pattern"].strip("^$")
                return (f"{parameter['name']}=$({line} | grep -oE {quote(pattern)})",)
        return ()

    def _source(self, operation_id: str, name: str) -> tuple[str, str] | None:
        """Return the operation whose answer leads to another one, and tells it this parameter."""
        for path, item in self._document["paths"].items():
            for method, operation in item.items():
                if method == "parameters":
                    continue
                links = operation["responses"].get("200", {}).get("links", {}).values()
                if any(link["operationId"] == operation_id and name in link["parameters"] for link in links):
                    return path, method
        return None

    def _line(self, path: str, method: str, body: tuple[str, Any] | None, wish: str) -> str:
        operation = self._document["paths"][path][method]
        options = []
        if operation.get("security", self._document.get("security")):
            options.append(f'-H "Authorization: Bearer ${KEY_VARIABLE}"')
        if wish:
            options.append(f"-H {quote(f'Accept: {wish}')}")
        if body:
            kind, value = body
            text = json.dumps(value) if kind == JSON else value.removesuffix("\n")
            options += [f"-H {quote(f'Content-Type: {kind}')}", f"--data-binary {quote(text)}"]
        elif method != "get":
            options.append(f"-X {method.upper()}")
        return " \\\n  ".join((f"curl -sS {self._url(path, operation)}", *options))

    def _url(self, path: str, operation: Mapping[str, Any]) -> str:
        """Return the address in quotes; what the line before has found stands in it as a variable."""
        asked, mark = {}, "'"
        for parameter in map(self.resolved, operation.get("parameters", ())):
            name, place = parameter["name"], parameter["in"]
            if place == "path" and self._source(operation["operationId"], name):
                path, mark = path.replace(f"{{{name}}}", f"${name}"), '"'
            elif place == "path":
                path = path.replace(f"{{{name}}}", percent_encoded(str(parameter["example"]), safe=""))
            elif place == "query" and "example" in parameter:
                asked[name] = parameter["example"]
        query = f"?{urlencode(asked)}" if asked else ""
        return f"{mark}{self._address}{path}{query}{mark}"

    def resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a part of the document, which may be named by a reference."""
        if "$ref" not in value:
            return value
        found = self._document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found


def _examples(contents: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return every example by name, with its media type."""
    return {
        name: (kind, example)
        for kind, content in contents.items()
        for name, example in content.get("examples", {}).items()
    }
