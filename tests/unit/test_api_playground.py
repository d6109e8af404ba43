"""The page's files as they are served: strict rules for the browser, nothing from outside, sent once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api_client import api_client
from iris_service.api import playground
from memory_queue import MemoryQueue

FOLDER = Path(playground.__file__).parent / "page"
FILES = {path.name: path.read_text() for path in FOLDER.iterdir()}
MOST_BYTES = 45_056


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with api_client(MemoryQueue()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "name", "media_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/page/page.js", "page.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "page.css", "text/css; charset=utf-8"),
        ("/page/favicon.svg", "favicon.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_served_with_its_type_and_the_browsers_rules(
    client: TestClient, path: str, name: str, media_type: str
) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (200, FILES[name])
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    head = client.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*"])
def test_who_has_a_file_is_not_sent_it_again(client: TestClient, known: str) -> None:
    etag = client.get("/page/page.js").headers["etag"]
    answer = client.get("/page/page.js", headers={"If-None-Match": known.format(etag)})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert client.get("/page/page.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/page", "/page/", "/page/nope.js", "/page/../app.py", "/page/%2e%2e%2fapp.py"])
def test_there_is_no_other_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "PAGE_NOT_FOUND")


def test_the_page_is_small() -> None:
    of_the_reference = {"docs.css"}
    assert sum(len(text.encode()) for name, text in FILES.items() if name not in of_the_reference) < MOST_BYTES


def test_the_html_holds_no_script_and_no_style_of_its_own() -> None:
    html = FILES["index.html"]
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", html) == []


def test_every_address_is_relative_and_every_file_is_there() -> None:
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', FILES["index.html"])
    imports = re.findall(r'from "([^"]+)"', "".join(FILES.values()))
    assert len(addresses) >= 4
    assert len(imports) >= 4
    for address in (*addresses, *imports):
        assert not re.match(r"\w+:|/", address), address
    for address in addresses:
        if address.startswith("page/"):
            assert (FOLDER.parent / address).is_file()
    for address in imports:
        assert (FOLDER / address).is_file()
