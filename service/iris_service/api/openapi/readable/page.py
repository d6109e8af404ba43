"""The document as a page to be read, without scripts: a pure function from one to the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from iris_service.api.openapi.readable.curl import KEY_VARIABLE, Caller
from iris_service.api.openapi.readable.markup import Markup, element, prose
from iris_service.api.openapi.readable.operation import (
    Operation,
    Refused,
    method_badge,
    operation_article,
    refusal,
    refused,
    shown,
)
from iris_service.api.openapi.readable.wording import anchor, fields

Document = Mapping[str, Any]
STYLES = ("base.css", "docs.css")


def page_of(document: Document, address: str, root: str = "") -> str:
    """Render the document; its commands go to `address`, and `root` leads from the page to its neighbours."""
    caller = Caller(document, address)
    everywhere = _refused_everywhere(document, caller)
    title = f"{document['info']['title']}: the HTTP API"
    sections = [_section(document, tag, caller, everywhere) for tag in document["tags"]]
    main = element("main", _start(document, everywhere), *sections, _schemas(document), id="main")
    skip = element("a", "Skip to the operations", href="#main", class_="skip")
    body = element("body", skip, _header(document, title, root), _contents(document), main)
    return "<!doctype html>\n" + element("html", _head(title, root), body, lang="en")


def _head(title: str, root: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("title", title),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href=f"{root}page/favicon.svg", type="image/svg+xml"),
        *(element("link", rel="stylesheet", href=f"{root}page/{name}") for name in STYLES),
    )


def _header(document: Document, title: str, root: str) -> Markup:
    links = [element("a", text, href=to) for text, to in (("Page", f"{root}./"), ("OpenAPI", f"{root}openapi.json"))]
    nav = element("nav", *links, aria_label="Elsewhere")
    return element("header", element("h1", title), nav, element("p", document["info"]["summary"], class_="soft"))


def _contents(document: Document) -> Markup:
    groups = [
        element(
            "li",
            element("a", tag["name"], href=f"#{_slug(tag['name'])}"),
            element("ol", *(_entry(*one) for one in _operations(document, tag["name"]))),
        )
        for tag in document["tags"]
    ]
    start = element("li", element("a", "Before you start", href="#start"))
    schemas = element("li", element("a", "Schemas", href="#schemas"))
    return element("nav", element("ol", start, *groups, schemas), id="contents", aria_label="On this page")


def _entry(_path: str, method: str, operation: Operation) -> Markup:
    return element(
        "li", element("a", method_badge(method), " ", operation["summary"], href=f"#{operation['operationId']}")
    )


def _start(document: Document, everywhere: frozenset[Refused]) -> Markup:
    says = document["info"]["description"]
    schemes = document["components"].get("securitySchemes")
    if schemes:
        says += (
            "\n\nMost operations want to know who you are, from `Authorization: Bearer …` or `X-API-Key: …`. "
            f"{schemes['bearer']['description']} The commands take it from the variable `{KEY_VARIABLE}`."
        )
    return element(
        "section",
        element("h2", "Before you start", id="start"),
        prose(says),
        element("h3", "Any request may be answered"),
        element("dl", *map(refusal, sorted(everywhere))),
        aria_labelledby="start",
    )


def _section(document: Document, tag: Mapping[str, str], caller: Caller, everywhere: frozenset[Refused]) -> Markup:
    slug = _slug(tag["name"])
    articles = (operation_article(*one, caller, everywhere) for one in _operations(document, tag["name"]))
    head = element("h2", tag["name"], id=slug)
    return element("section", head, prose(tag["description"]), *articles, aria_labelledby=slug)


def _schemas(document: Document) -> Markup:
    described = [
        element(
            "article",
            element("h3", element("a", name, href=f"#{anchor(name)}"), id=anchor(name)),
            prose(schema.get("description", "")),
            fields(schema),
            *map(shown, schema.get("examples", ())),
            aria_labelledby=anchor(name),
        )
        for name, schema in document["components"]["schemas"].items()
    ]
    return element(
        "section", element("h2", "Schemas", id="schemas"), *described, class_="schemas", aria_labelledby="schemas"
    )


def _operations(document: Document, tag: str) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters" and tag in operation["tags"]:
                yield path, method, operation


def _refused_everywhere(document: Document, caller: Caller) -> frozenset[Refused]:
    found = [
        frozenset(refused(operation, caller))
        for tag in document["tags"]
        for *_, operation in _operations(document, tag["name"])
    ]
    return frozenset.intersection(*found)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
