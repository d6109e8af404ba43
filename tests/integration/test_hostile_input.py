"""What strangers put into requests, as a catalogue: each gets a clear answer of its own, and never a 500.

Connections are in test_hostile_connections.py; the last part sends chance.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_client import FLOWER, GETPRED, RESULT, ROW, STATUS
from api_process import ApiProcess
from iris_service.jobs.keys import PENDING
from servers import Valkey

JOBS = "/iris/api/v1.0/jobs"
MEBIBYTE = 1 << 20
ONE_FLOWER = json.dumps(FLOWER).encode()


@pytest.fixture(scope="module")
def api(valkey_server: Valkey) -> Iterator[ApiProcess]:
    api = ApiProcess(valkey_server.url)
    yield api
    stop(api)


@pytest.fixture(scope="module")
def impatient_api(valkey_server: Valkey) -> Iterator[ApiProcess]:
    """Chance seldom sends a whole request."""
    api = ApiProcess(valkey_server.url, IRIS_RECEIVE_SECONDS="0.4", IRIS_KEEP_ALIVE_SECONDS="5")
    yield api
    stop(api)


def stop(api: ApiProcess) -> None:
    assert api.stop() == 0
    assert [line for line in api.lines if "exception" in line or line["level"] == "error"] == []


@pytest.fixture(scope="module")
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=20) as client:
        yield client


def flower(**changes: object) -> bytes:
    return json.dumps({**FLOWER, **changes}).encode()


def with_width(text: str) -> bytes:
    """One flower with `petal_width` exactly as written."""
    return flower(petal_width="@").replace(b'"@"', text.encode())


BODIES: dict[str, tuple[bytes, int, str]] = {
    "a mebibyte of opened lists": (b"[" * MEBIBYTE, 400, "MALFORMED_BODY"),
    "lists in lists": (b"[" * 100_000 + b"]" * 100_000, 400, "MALFORMED_BODY"),
    "objects in objects": (b'{"data":' * 100_000 + b"1" + b"}" * 100_000, 400, "MALFORMED_BODY"),
    "one level too deep": (b'{"data":' + b"[" * 32 + b"]" * 32 + b"}", 400, "MALFORMED_BODY"),
    "as deep as allowed": (b'{"data":' + b"[" * 31 + b"]" * 31 + b"}", 422, "INVALID_INPUT"),
    "a mebibyte of strings": (b"[" + b'"[",' * (MEBIBYTE // 4 - 1) + b"1]", 422, "INVALID_INPUT"),
    "a mebibyte of escapes": (b'["' + b'\\"' * (MEBIBYTE // 2 - 2) + b'"]', 422, "INVALID_INPUT"),
    "one byte too many": (b" " * (MEBIBYTE + 1), 413, "BODY_TOO_LARGE"),
    "one row too many": (json.dumps({"data": [ROW] * 1001}).encode(), 413, "TOO_MANY_ROWS"),
    "nothing": (b"", 400, "MALFORMED_BODY"),
    "null": (b"null", 422, "INVALID_INPUT"),
    "NUL": (b"\0", 400, "MALFORMED_BODY"),
    "a key twice": (b'{"data": [], "data": []}', 400, "MALFORMED_BODY"),
    "a feature twice": (ONE_FLOWER[:-1] + b', "petal_width": 0.3}', 400, "MALFORMED_BODY"),
    "a feature twice, once escaped": (ONE_FLOWER[:-1] + b', "petal_widt\\u0068": 0.3}', 400, "MALFORMED_BODY"),
    "a mark before it": (b"\xef\xbb\xbf" + ONE_FLOWER, 400, "MALFORMED_BODY"),
    "UTF-16": (ONE_FLOWER.decode().encode("utf-16"), 400, "MALFORMED_BODY"),
    "overlong UTF-8": (b'{"\xc0\xae": 1}', 400, "MALFORMED_BODY"),
    "half a surrogate pair": (flower(**{"\ud800": 1}), 422, "INVALID_INPUT"),
    "NUL in a name": (flower(**{"petal_width\0": 1}), 422, "INVALID_INPUT"),
    "a name of the runtime": (flower(__class__=1), 422, "INVALID_INPUT"),
    "not a number": (with_width("NaN"), 400, "MALFORMED_BODY"),
    "infinity": (with_width("-Infinity"), 400, "MALFORMED_BODY"),
    "beyond every float": (with_width("1e999"), 422, "INVALID_INPUT"),
    "400 digits": (with_width("9" * 400), 422, "INVALID_INPUT"),
    "5000 digits": (with_width("9" * 5000), 400, "MALFORMED_BODY"),
    "a million digits": (with_width("9" * 1_000_000), 400, "MALFORMED_BODY"),
    "a yes": (with_width("true"), 422, "INVALID_INPUT"),
    "a number in quotes": (with_width('"0.2"'), 422, "INVALID_INPUT"),
    "less than nothing": (with_width("-1e-300"), 422, "INVALID_INPUT"),
    "an address to call": (flower(callback_url="http://169.254.169.254/"), 422, "INVALID_INPUT"),
    "an address beside rows": (json.dumps({"data": [ROW], "callback_url": "http://x/"}).encode(), 422, "INVALID_INPUT"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_gets_the_answer_it_deserves(http: httpx.Client, name: str) -> None:
    body, status, code = BODIES[name]
    began = time.monotonic()
    answer = http.post(GETPRED, content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.content) < 400
    assert time.monotonic() - began < 5, "milliseconds, on a machine that is not busy"


@pytest.mark.parametrize("query", [f"{httpx.QueryParams(FLOWER)}&callback_url=http://x/", "callback_url=http://x/"])
def test_an_address_to_call_is_refused_by_name(http: httpx.Client, valkey: redis.Redis, query: str) -> None:
    answer = http.get(f"{GETPRED}?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, "callback_url")
    posted = http.post(GETPRED, content=BODIES["an address beside rows"][0])
    assert posted.json()["field"] == "callback_url"
    assert valkey.zcard(PENDING) == 0


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP", "unheard-of"])
def test_compressed_bodies_are_not_even_looked_into(http: httpx.Client, coding: str) -> None:
    bomb = gzip.compress(bytes(64 * MEBIBYTE), 1) if "gzip" in coding.lower() else zlib.compress(bytes(MEBIBYTE))
    answer = http.post(GETPRED, content=bomb, headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


IDS = [
    "0" * 32, "f" * 32, "0" * 31, "0" * 33, "F" * 32, "nonsense", "x" * 3000, "%00", "0" * 31 + "%00", "%0d%0aX:%20y",
    "%ed%a0%80", "%ff", "%C0%AE", "%f0%9f%8c%b8", "..%5c", "*", "'; DROP", "{}", "%25", "null", "iris:pending", "~",
]  # fmt: skip


@pytest.mark.parametrize(("method", "page"), [("GET", STATUS), ("GET", RESULT), ("HEAD", RESULT), ("DELETE", JOBS)])
def test_ids_that_are_none_of_ours_all_get_the_same_404(http: httpx.Client, method: str, page: str) -> None:
    said = set()
    for job_id in IDS:
        answer = http.request(method, f"{page}/{job_id}", headers={"X-Request-Id": "r"})
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        said.add((answer.status_code, answer.content, str(headers)))
    assert len(said) == 1
    assert said.pop()[0] == 404


NO_REQUEST_IDS = [
    b"a\tb", b"a b", b"%0d%0aSet-Cookie: x", b'{"a":1}', b"\xff\xfe", "ü".encode(), b"x" * 65, b"a,b", b"<script>", b"",
]  # fmt: skip


@pytest.mark.parametrize("value", NO_REQUEST_IDS)
def test_a_request_id_that_is_more_than_one_is_not_repeated(api: ApiProcess, value: bytes) -> None:
    said = raw(api, b"GET /nope HTTP/1.1\r\nX-Request-Id: " + value + b"\r\nConnection: close\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert names == [b"date", b"content-length", b"content-type", b"x-request-id", b"connection"]
    assert re.fullmatch("[0-9a-f]{32}", json.loads(body)["request_id"])
    assert not value or value not in said


@pytest.mark.parametrize("value", [b"a\tb", b"\xff", "ü".encode(), b"x" * 256, b""])
def test_an_idempotency_key_that_is_none_is_refused_and_not_repeated(api: ApiProcess, value: bytes) -> None:
    said = raw(
        api,
        b"POST " + GETPRED.encode() + b" HTTP/1.1\r\nIdempotency-Key: " + value
        + b"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ONE_FLOWER) + ONE_FLOWER,
    )  # fmt: skip
    assert said.startswith(b"HTTP/1.1 422 ")
    assert b'"field":"Idempotency-Key"' in said
    assert not value or value not in said


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\0", b"\r\n\tX: y"])
@pytest.mark.parametrize("name", [b"X-Request-Id", b"Idempotency-Key", b"Authorization"])
def test_a_header_that_breaks_its_line_is_no_http(api: ApiProcess, name: bytes, line_end: bytes) -> None:
    said = raw(api, b"GET /healthz HTTP/1.1\r\n" + name + b": a" + line_end + b"Set-Cookie: b\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"ookie" not in said


QUERIES = {
    "": "sepal_length",
    "sepal_length": "sepal_length",
    "sepal_length=5.1%00": "sepal_length",
    "sepal_length=5.1&sepal_length=5.1": "sepal_length",
    "%73epal_length=5.1&sepal_length=5.1": "sepal_length",
    "sepal_length[]=5.1": "sepal_length[]",
    "=1": "",
    "%ed%a0%80=1": None,
    "%ff=1": None,
    "a%0d%0aX:y=1": "a\r\nX:y",
    "sepal_length=5,1": "sepal_length",
    "sepal_length=%D9%A5": "sepal_length",
    "sepal_length=1_0": "sepal_length",
    "sepal_length=0x5": "sepal_length",
    "sepal_length=+nan": "sepal_length",
    "&".join(["a=1"] * 1000): "a",
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_refused_by_the_name_of_what_is_wrong(http: httpx.Client, query: str) -> None:
    answer = http.get(f"{GETPRED}?{query}")
    assert answer.status_code == 422
    assert answer.json().get("field") == QUERIES[query]


def test_while_a_stranger_sends_the_worst_bodies_others_are_served(api: ApiProcess, http: httpx.Client) -> None:
    worst = [BODIES[name][0] for name in BODIES if "mebibyte" in name or "million" in name]

    def send(body: bytes) -> int:
        return httpx.post(f"{api.url}{GETPRED}", content=body, timeout=30).status_code

    with ThreadPoolExecutor(8) as strangers:
        sent = [strangers.submit(send, body) for body in worst * 5]
        while not all(done.done() for done in sent):
            assert http.get(GETPRED, params=FLOWER).status_code == 200
    assert {done.result() for done in sent} == {400, 422}


# --- chance -----------------------------------------------------------------------------------------------------


def raw(api: ApiProcess, sent: bytes) -> bytes:
    """Send bytes; return the first answer, or what came before the server hung up."""
    said = b""
    with api.connect(timeout=20) as connection:
        try:
            connection.sendall(sent)
            while chunk := connection.recv(65_536):
                said += chunk
                if is_whole(said):
                    break
        except ConnectionError:
            pass
        except TimeoutError as exc:
            raise AssertionError(f"the server keeps {sent!r} waiting") from exc
    return said


def is_whole(said: bytes) -> bool:
    head, ended, body = said.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(ended) and length is not None and len(body) >= int(length[1])


PARTS = [
    b"GET ", b"POST ", b"HEAD ", GETPRED.encode(), b"/healthz", RESULT.encode() + b"/" + b"0" * 32, b"?", b"wait=0.1",
    b"%", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"Host: x", b"Content-Length: ", b"5", b"0", b"-", b"+",
    b"Transfer-Encoding: chunked", b"Connection: close", b"Expect: 100-continue", b"Upgrade: websocket", b": ", b";",
    b"Idempotency-Key: ", b"Authorization: Bearer ", b"Content-Type: application/json", b"{", b'{"data":[[', b"]]}",
    b"\0", b"\xff", b"\n", ONE_FLOWER, b"\x16\x03\x01", b"A" * 5000,
]  # fmt: skip
WHOLE = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (GETPRED.encode(), len(ONE_FLOWER), ONE_FLOWER)


@st.composite
def damaged_request(draw: st.DrawFn) -> bytes:
    """A good request with some of its bytes taken out, doubled or replaced."""
    request = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(request) - 1))
        end = min(len(request), at + draw(st.integers(1, 20)))
        request[at:end] = draw(st.sampled_from([b"", bytes(request[at:end]) * 2, *PARTS]) | st.binary(max_size=5))
        if not request:
            break
    return bytes(request)


SENT = st.binary(max_size=200) | st.lists(st.sampled_from(PARTS), max_size=15).map(b"".join) | damaged_request()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(sent=st.lists(SENT, min_size=4, max_size=12))
def test_whatever_chance_sends_is_answered_or_hung_up_on(impatient_api: ApiProcess, sent: list[bytes]) -> None:
    api = impatient_api
    with ThreadPoolExecutor(len(sent)) as strangers:
        for bytes_sent, said in zip(sent, strangers.map(lambda piece: raw(api, piece), sent), strict=True):
            assert re.match(rb"HTTP/1\.1 [1234]\d\d |$", said), (bytes_sent, said)
            assert b"Traceback" not in said
    assert api.process.poll() is None


NAMES = st.sampled_from([*FLOWER, "data", "callback_url", "\0"]) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(value=VALUES, query=st.text(max_size=20) | st.binary(max_size=20), path=st.text(max_size=12))
def test_whatever_chance_says_in_good_http_is_taken_or_refused(
    http: httpx.Client, value: object, query: str | bytes, path: str
) -> None:
    quoted = httpx.QueryParams({"q": query.decode("latin-1") if isinstance(query, bytes) else query})
    for answer in (
        http.post(GETPRED, content=json.dumps(value).encode()),
        http.get(f"{GETPRED}?{str(quoted)[2:]}"),
        http.get(f"{RESULT}/{'0' * 32}?{quoted}"),
        http.get(f"{STATUS}/{httpx.QueryParams({'': path})}"),
        http.get(GETPRED, params=FLOWER, headers={"Idempotency-Key": re.sub(rb"[^!-~]", b"", path.encode())}),
    ):
        assert answer.status_code < 500, (answer.request, answer.text)
        assert answer.headers["content-type"] == "application/json"
