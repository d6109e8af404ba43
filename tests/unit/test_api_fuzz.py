"""Whatever is sent, nobody gets a 5xx, and every refusal is one that a client can read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api_client import GETPRED, RESULT, ROW, api_client
from iris_service.api.v2.tensors import to_bytes
from memory_queue import AnsweringQueue

INFER = "/v2/models/iris/infer"
INDEX = "/v2/repository/index"
LENGTH = "Inference-Header-Content-Length"
REQUEST: dict[str, Any] = {
    "id": "mine",
    "parameters": {"binary_data_output": True, "content_type": "pd"},
    "inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP64", "parameters": {"a": 1}, "data": [ROW]}],
    "outputs": [{"name": "label", "parameters": {"binary_data": False}}, {"name": "predict"}],
}
HEAD = json.dumps({"inputs": [{**REQUEST["inputs"][0], "data": None, "parameters": {"binary_data_size": 32}}]}).encode()
WHOLE = HEAD + to_bytes("FP64", ROW)
FILE = b"species,sepal_length,sepal_width,petal_length,petal_width\nsetosa,5.1,3.5,1.4,0.2\n"

headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["text/csv", "application/json", "application/octet-stream", "x", ""]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "identity", "GZIP", ""]),
        "Accept": st.sampled_from(["text/csv", "*/*", "x;q=", "text/csv;q=0.1"]),
        "Prefer": st.sampled_from(["respond-async", "", ";,"]),
        LENGTH: st.sampled_from(["0", "1", "9", str(len(HEAD)), str(len(WHOLE)), "-1", "x", "9" * 400]),
    },
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
quickly = settings(max_examples=120)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with api_client(AnsweringQueue()) as client:
        yield client


def assert_civil(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/json"
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("path", [INFER, INDEX, f"{GETPRED}?wait=1"])
def test_any_bytes_under_any_headers_are_answered_or_refused(client: TestClient, path: str) -> None:
    @quickly
    @given(st.binary(max_size=300) | st.sampled_from([WHOLE, FILE, gzip.compress(WHOLE)]), headers)
    def send(content: bytes, sent: dict[str, str]) -> None:
        assert_civil(client.post(path, content=content, headers=sent))

    send()


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a document."""
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = node.copy()
    copy[path[0]] = replaced(node[path[0]], path[1:], value)
    return copy


def test_a_request_with_anything_in_any_place_is_answered_or_refused(client: TestClient) -> None:
    @settings(quickly, max_examples=200)
    @given(st.lists(st.tuples(st.sampled_from(list(places(REQUEST))), json_values), min_size=1, max_size=2))
    def send(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        sent: Any = REQUEST
        for path, value in changes:
            try:
                sent = replaced(sent, path, value)
            except (KeyError, IndexError, TypeError, AttributeError):
                pass  # an earlier change took the place away
        assert_civil(client.post(INFER, content=json.dumps(sent).encode(errors="replace")))

    send()


def test_a_damaged_binary_request_is_answered_or_refused(client: TestClient) -> None:
    @quickly
    @given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=3), st.integers(0, 9))
    def send(changes: list[tuple[int, int]], cut: int) -> None:
        body = bytearray(WHOLE)
        for at, byte in changes:
            body[at] = byte
        sent = bytes(body[: len(body) - cut])
        for extra in ({}, {"Content-Encoding": "gzip"}):
            content = gzip.compress(sent) if extra else sent
            assert_civil(client.post(INFER, content=content, headers={LENGTH: str(len(HEAD)), **extra}))

    send()


@pytest.mark.parametrize("path", [f"/v2/jobs/{'0' * 32}", f"{RESULT}/{'0' * 32}", "/v2/models/iris/versions/", "/v2/"])
def test_any_path_and_query_are_answered_or_refused(client: TestClient, path: str) -> None:
    @settings(quickly, max_examples=60)
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.binary(max_size=20))
    def send(more: str, query: bytes) -> None:
        quoted = quote_from_bytes(query)
        assert_civil(client.get(f"{path}{quote(more)}?wait=0&{quote(more)}={quoted}&outputs={quoted}"))
        assert_civil(client.get(f"{path}?id={quoted}"))

    send()
