"""One operation of the document, as the page shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from iris_service.api.openapi.readable.curl import Call, Caller
from iris_service.api.openapi.readable.markup import Markup, element, joined, phrase, prose
from iris_service.api.openapi.readable.wording import field, worded

Operation = Mapping[str, Any]
_INNERMOST = re.compile(r"([\[{])\s+([^\[\]{}]*?)\s+([\]}])")
_PLACES = {"path": "in the path", "query": "in the query", "header": "header"}


class Refused(NamedTuple):
    """One error an operation may answer, as the document says it."""

    status: str
    says: str


def refused(operation: Operation, caller: Caller) -> Iterator[Refused]:
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            yield from (Refused(status, says) for says in caller.resolved(answer)["description"].split("\n\n"))


def operation_article(
    path: str, method: str, operation: Operation, caller: Caller, said_already: frozenset[Refused]
) -> Markup:
    """Render an operation; what is refused everywhere has been said already."""
    id_ = operation["operationId"]
    heading = element("a", method_badge(method), " ", element("code", breakable(path)), href=f"#{id_}")
    answers = [_success(status, one) for status, one in operation["responses"].items() if "$ref" not in one]
    refusals = [refusal(one) for one in refused(operation, caller) if one not in said_already]
    return element(
        "article",
        element("h3", heading, id=id_),
        element("p", element("b", operation["summary"])),
        prose(operation.get("description", "")),
        *map(_call, caller.calls(path, method)),
        _parameters(operation, caller),
        _body(operation),
        element("h4", "Answers"),
        element("dl", *answers, *refusals),
        aria_labelledby=id_,
    )


def method_badge(method: str) -> Markup:
    return element("b", method.upper(), class_=f"method {method}")


def breakable(path: str) -> Markup:
    """Return a path that may be broken into lines before its slashes."""
    return joined(path.split("/"), Markup("<wbr>/"))


def refusal(one: Refused) -> Markup:
    code, _, sentence = one.says.partition(": ")
    return joined((element("dt", _status(one.status), " ", phrase(code)), element("dd", phrase(sentence))))


def shown(value: Any) -> Markup:
    """Return an example: a text as it is, and JSON with its innermost lists and objects on one line."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    if not isinstance(value, str):
        text = _INNERMOST.sub(lambda match: match[1] + re.sub(r"\s*\n\s*", " ", match[2]) + match[3], text)
    return element("pre", text.rstrip("\n"))


def _call(call: Call) -> Markup:
    shows = element("p", f"{call.shows}:", class_="soft") if call.shows else Markup()
    command = element("pre", "\n".join(call.lines), class_="command")
    if call.answer is None:
        return joined((shows, command))
    answer = shown(call.answer)
    if answer.count("\n") > 12:
        answer = element("details", element("summary", "Its answer"), answer)
    return joined((shows, command, answer))


def _parameters(operation: Operation, caller: Caller) -> Markup:
    parameters = [caller.resolved(one) for one in operation.get("parameters", ())]
    if not parameters:
        return Markup()
    rows = (field(one["name"], one["schema"], one.get("description", ""), _note(one)) for one in parameters)
    return joined((element("h4", "Parameters"), element("dl", *rows)))


def _note(parameter: Mapping[str, Any]) -> str:
    place = _PLACES[parameter["in"]]
    return place if parameter.get("required") else f"{place}, optional"


def _body(operation: Operation) -> Markup:
    body = operation.get("requestBody")
    if not body:
        return Markup()
    rows = (
        field(kind, content["schema"], content["schema"].get("description", ""), "")
        for kind, content in body["content"].items()
    )
    return joined((element("h4", "Body"), prose(body["description"]), element("dl", *rows)))


def _success(status: str, answer: Mapping[str, Any]) -> Markup:
    parts: list[Markup] = [element("div", phrase(answer["description"]))]
    for kind, content in answer.get("content", {}).items():
        says = content["schema"].get("description", "")
        what = phrase(says) if says else worded(content["schema"])
        parts.append(element("div", element("code", kind), " ", what, class_="soft"))
    headers = [name for name in answer["headers"] if name != "X-Request-Id"]
    if headers:
        parts.append(element("div", "with ", joined((element("code", name) for name in headers), ", "), class_="soft"))
    return joined((element("dt", _status(status)), element("dd", *parts)))


def _status(status: str) -> Markup:
    return element("span", element("b", status), " ", HTTPStatus(int(status)).phrase, class_=f"status s{status[0]}")
