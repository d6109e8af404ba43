"""The description as a page: everything of the document, nothing that is not escaped, no script, every link leading."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from api_client import api_client
from cards import card_of
from iris_service.api.openapi.document import document_of
from iris_service.api.openapi.parts import Subject
from iris_service.api.openapi.readable.curl import Caller
from iris_service.api.openapi.readable.markup import Markup, element, phrase, prose
from iris_service.api.openapi.readable.page import page_of
from iris_service.api.openapi.readable.wording import worded
from iris_service.api.openapi.reference import address_of
from iris_service.api.playground import BROWSER_RULES
from iris_service.config import AccessSettings, ApiSettings
from iris_service.model.card import Card
from iris_service.schemas import Feature, Signature
from memory_queue import MemoryQueue
from versions import committed_card

ADDRESS = "http://127.0.0.1:8000"
HOSTILE = "<script>&\"'`"


def document(card: Card | None = None, mode: str = "none") -> dict[str, Any]:
    access = AccessSettings(mode=mode)
    return document_of(Subject(card or committed_card(), ApiSettings(), access, "1.2.3", has_metrics=True))


class Reader(HTMLParser):
    """What a browser would find: elements, ids and addresses; fails when elements are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[int] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in ("meta", "link", "wbr"):
            self._open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name != "style"
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("mode", ["none", "api-key", "tokenreview"])
def test_every_link_leads_to_a_place_on_the_page_or_beside_it(mode: str) -> None:
    reader = Reader(page_of(document(mode=mode), ADDRESS))
    assert len(set(reader.ids)) == len(reader.ids)
    beside = {address for address in reader.addresses if not address.startswith("#")}
    assert beside == {"./", "openapi.json", "page/favicon.svg", "page/base.css", "page/docs.css"}
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_there_is_no_script_and_headings_are_in_order() -> None:
    reader = Reader(page_of(document(), ADDRESS))
    assert not {"script", "style", "iframe", "img", "form"} & set(reader.elements)
    assert reader.headings[0] == 1
    assert reader.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(reader.headings, reader.headings[1:], strict=False))


@pytest.mark.parametrize("mode", ["none", "tokenreview"])
def test_every_operation_schema_and_error_is_on_the_page(mode: str) -> None:
    made = document(mode=mode)
    reader = Reader(page_of(made, ADDRESS))
    text = "".join(reader.texts)
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                assert operation["operationId"] in reader.ids
                assert f"{method.upper()} {path}" in text
    for name in made["components"]["schemas"]:
        assert f"schema.{name}" in reader.ids
    for response in made["components"]["responses"].values():
        for code in response["content"]["application/json"]["schema"]["properties"]["code"]["enum"]:
            assert code in text


def test_nothing_that_a_card_says_becomes_a_tag() -> None:
    features = (Feature("width", HOSTILE, 0.0, 9.0), Feature("it.s", "<b>", 0.0, 9.0))
    made = document(card_of(Signature(features, ("a", "b", "c"))))
    made["info"]["summary"] = made["tags"][0]["description"] = HOSTILE
    made["paths"]["/healthz"]["get"]["summary"] = HOSTILE
    html = page_of(made, ADDRESS)
    assert "<script" not in html
    assert "<b>;" not in html
    assert "In &lt;b&gt;; the training data" in html
    assert "&lt;script&gt;&amp;&quot;&#x27;`" in html


def test_markup_escapes_what_is_not_markup() -> None:
    assert element("a", HOSTILE, Markup("<b>"), href='"x"') == (
        '<a href="&quot;x&quot;">&lt;script&gt;&amp;&quot;&#x27;`<b></a>'
    )
    assert phrase("an `a < b` and <i>") == "an <code>a &lt; b</code> and &lt;i&gt;"
    assert prose("one\n\ntwo\n\n") == "<p>one</p><p>two</p>"
    assert element("link", rel="icon") == '<link rel="icon">'


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "anything"),
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 1}, "text of at least 1 characters"),
        ({"type": "string", "maxLength": 4, "pattern": "^<"}, "text of 0 to 4 characters matching <code>^&lt;</code>"),
        ({"type": "number", "minimum": 0.0, "maximum": 30.0}, "number from 0 to 30"),
        ({"type": "number", "minimum": -1e300, "maximum": 1e300}, "number"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2147483648}, "whole number from 0, below 2147483648"),
        ({"type": "boolean", "const": True}, "<code>true</code>"),
        ({"enum": ["a", "b"]}, "<code>a</code> or <code>b</code>"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"allOf": [{"$ref": "#/components/schemas/Problem"}]}, '<a href="#schema.Problem">Problem</a>'),
        ({"type": "array"}, "list"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "list of lists of whole numbers"),
        ({"type": "array", "minItems": 1, "maxItems": 9, "items": {"type": "string"}}, "list of 1 to 9 of texts"),
        ({"type": "array", "prefixItems": [{"title": "x"}, {"title": "y"}]}, "list of x, y"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of text"),
    ],
)  # fmt: skip
def test_a_schema_is_put_into_words(schema: dict[str, Any], words: str) -> None:
    assert worded(schema) == words


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"host": "127.0.0.1:8000"}, "http://127.0.0.1:8000"),
        ({"host": "[::1]:80"}, "http://[::1]:80"),
        ({"host": "iris.example", "x-forwarded-proto": "https"}, "https://iris.example"),
        ({"host": "iris.example", "x-forwarded-proto": "gopher"}, "http://iris.example"),
        ({"host": "iris.example", "x-forwarded-prefix": "/a/b-c/"}, "http://iris.example/a/b-c"),
        ({"host": "iris.example", "x-forwarded-prefix": "/a b"}, "http://iris.example"),
        ({"host": "iris.example", "x-forwarded-prefix": "/$(id)"}, "http://iris.example"),
        ({"host": "a'; id; '"}, "http://127.0.0.1:8000"),
        ({"host": "<script>"}, "http://127.0.0.1:8000"),
        ({}, "http://127.0.0.1:8000"),
    ],
)
def test_the_address_of_the_commands_is_where_the_page_was_asked_for(headers: dict[str, str], address: str) -> None:
    assert address_of(Headers(headers)) == address


def test_a_command_carries_a_key_only_where_one_is_asked_for() -> None:
    for mode, wanted in (("none", False), ("api-key", True)):
        caller = Caller(document(mode=mode), ADDRESS)
        [status] = caller.calls("/iris/api/v1.0/status/{job_id}", "get")
        [alive] = caller.calls("/healthz", "get")
        assert [line.count('-H "Authorization: Bearer $IRIS_API_KEY"') for line in status.lines] == [wanted, wanted]
        assert alive.lines == (f"curl -sS '{ADDRESS}/healthz'",)


@pytest.fixture(scope="module")
def client() -> Any:
    with api_client(MemoryQueue()) as client:
        yield client


def test_it_is_served_with_the_browsers_rules_and_sent_once(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers.items() >= {name.lower(): value for name, value in BROWSER_RULES.items()}.items()
    assert "curl -sS &#x27;http://testserver/healthz&#x27;" in answer.text
    assert ".invalid" not in answer.text
    etag = answer.headers["etag"]
    assert client.get("/docs", headers={"If-None-Match": etag}).status_code == 304
    assert client.get("/docs", headers={"If-None-Match": etag, "Host": "other"}).status_code == 200


@pytest.mark.parametrize(("path", "root"), [("/docs", ""), ("/docs/", "../"), ("/docs//", "../../")])
def test_its_neighbours_are_found_from_wherever_it_is(client: TestClient, path: str, root: str) -> None:
    answer = client.get(f"http://testserver{path}")
    reader = Reader(answer.text)
    assert f"{root}page/docs.css" in reader.addresses
    for address in reader.addresses:
        assert client.get(str(answer.url.join(address))).status_code == 200, address
