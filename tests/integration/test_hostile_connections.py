"""What strangers do to connections, as a catalogue: each is refused or hung up on, and meanwhile others are served."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import httpx
import pytest

from api_client import FLOWER, GETPRED, RESULT
from api_process import ApiProcess, read_all
from servers import Valkey

HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST " + GETPRED.encode() + b" HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ONE_FLOWER = json.dumps(FLOWER).encode()
RECEIVE_SECONDS, MOST_CONNECTIONS, BODY_BYTES = 1.5, 40, 300_000


@pytest.fixture(scope="module")
def api(valkey_server: Valkey) -> Iterator[ApiProcess]:
    """An API that is impatient, so that the tests need not be patient."""
    api = ApiProcess(
        valkey_server.url,
        IRIS_RECEIVE_SECONDS=str(RECEIVE_SECONDS),
        IRIS_SEND_SECONDS="1",
        IRIS_KEEP_ALIVE_SECONDS="3",
        IRIS_MAX_CONNECTIONS=str(MOST_CONNECTIONS),
        IRIS_MAX_BODY_BYTES=str(BODY_BYTES),
        IRIS_MAX_BODIES_BYTES=str(2 * BODY_BYTES),
    )
    yield api
    assert api.stop() == 0
    said = {line["event"] for line in api.lines if line["level"] != "info"}
    assert said == {"no authentication: whoever reaches this address may use it"}, "nobody can fill the log but us"


def reply(api: ApiProcess, *sent: bytes, pause: float = 0.2) -> bytes:
    """Send piece by piece for as long as the server listens, and return all it says; fails when it does not hang up."""
    with api.connect(timeout=20) as connection:
        for number, piece in enumerate(sent):
            if number:
                time.sleep(pause)
            try:
                connection.sendall(piece)
            except OSError:
                break
        try:
            return read_all(connection)
        except ConnectionError:
            return b""


@contextlib.contextmanager
def others_are_served(api: ApiProcess) -> Iterator[None]:
    """Keep asking on a fresh connection each time while the block runs."""
    seen: list[int | str] = []
    stop = threading.Event()

    def ask() -> None:
        while len(seen) < 3 or not stop.wait(0.1):
            try:
                seen.append(httpx.get(f"{api.url}{GETPRED}", params=FLOWER, timeout=15).status_code)
            except httpx.HTTPError as exc:
                seen.append(repr(exc))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert set(seen) == {200}


def test_who_is_sent_away_before_there_is_a_request_is_counted(api: ApiProcess) -> None:
    def counted(code: str) -> float:
        page = httpx.get(f"{api.url}/metrics").text
        return float(re.findall(rf'^iris_requests_refused_total{{code="{code}"}} (.*)$', page, re.MULTILINE)[0])

    before = {code: counted(code) for code in ("BAD_REQUEST", "HEADERS_TOO_LARGE", "TOO_MANY_BODIES")}
    assert b"BAD_REQUEST" in reply(api, b"not HTTP\r\n\r\n")
    assert b"HEADERS_TOO_LARGE" in reply(api, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    assert {code: counted(code) - times for code, times in before.items()} == {
        "BAD_REQUEST": 1, "HEADERS_TOO_LARGE": 1, "TOO_MANY_BODIES": 0,
    }  # fmt: skip


def drip(text: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in text]


SLOW = {
    "a silent socket": [b""],
    "empty lines": [b"\r\n"] * 30,
    "half a request line": [b"GET /hea"],
    "a head letter by letter": drip(b"GET /healthz HTTP/1.1\r\nHost: x"),
    "headers without end": [b"GET /healthz HTTP/1.1\r\n", *[b"X: y\r\n"] * 30],
    "half a body": [POST + b"Content-Length: 50\r\n\r\n{"],
    "a body letter by letter": [POST + b"Content-Length: 50\r\n\r\n", *drip(b" " * 30)],
    "a chunk that does not come": [POST + CHUNKED + b"\r\n5\r\nab"],
    "a chunk extension without end": [POST + CHUNKED + b"\r\n5;", *[b"x" * 9] * 30],
    "trailers without end": [POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n", *[b"X: y\r\n"] * 30],
    "a second request that does not come": [b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /hea"],
}


def test_who_is_slow_is_hung_up_on_while_others_are_served(api: ApiProcess) -> None:
    ended: dict[str, tuple[bytes, float]] = {}

    def be_slow(name: str) -> None:
        began = time.monotonic()
        ended[name] = reply(api, *SLOW[name]), time.monotonic() - began

    threads = [threading.Thread(target=be_slow, args=(name,)) for name in SLOW]
    with others_are_served(api):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ended.keys() == SLOW.keys()
    for name, (said, seconds) in ended.items():
        # who still sends when the server has hung up may be reset before it has read why
        assert said == b"" or b"HTTP/1.1 408 " in said, f"{name}: {said!r}"
        assert RECEIVE_SECONDS * 0.9 < seconds < 15, name
    for name in ("a silent socket", "half a request line", "half a body", "a chunk that does not come"):
        assert ended[name][0].startswith(b"HTTP/1.1 408 "), name
    assert ended["a second request that does not come"][0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "then",
    [[], [b"\r\n"] * 3, [b"12345"]],
    ids=["nothing", "empty lines", "a body that comes after its answer"],
)
def test_an_idle_connection_is_closed_whatever_trickles_in(api: ApiProcess, then: list[bytes]) -> None:
    """Bytes that begin no request must not stop the clock."""
    length = b"Content-Length: 5\r\n" if then == [b"12345"] else b""
    said = reply(api, b"POST /nope HTTP/1.1\r\n" + HOST + length + b"\r\n", *then, pause=0.3)
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.startswith(b"HTTP/1.1 404 ")


def test_a_patient_connection_is_kept_longer_than_a_request_may_take(api: ApiProcess) -> None:
    with contextlib.closing(HTTPConnection("127.0.0.1", api.port, timeout=15)) as connection:
        for pause in (RECEIVE_SECONDS + 0.3, 0):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            kept = connection.sock
            time.sleep(pause)
        assert connection.sock is kept


def test_a_refused_body_that_never_comes_gets_no_second_answer(api: ApiProcess) -> None:
    said = reply(api, POST + b"Content-Length: 99999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_connections_beyond_the_limit_push_out_idle_ones_and_others_are_served(api: ApiProcess) -> None:
    with contextlib.ExitStack() as stack, others_are_served(api):
        held = [stack.enter_context(api.connect()) for _ in range(MOST_CONNECTIONS * 3)]
        pushed_out = [connection for connection in held[: MOST_CONNECTIONS * 2 - 5] if is_closed(connection)]
        assert len(pushed_out) == MOST_CONNECTIONS * 2 - 5


def is_closed(connection: socket.socket) -> bool:
    """Wait for the end, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_when_all_are_being_answered_one_more_is_told_to_come_back(api: ApiProcess) -> None:
    with httpx.Client(base_url=api.url) as http:
        job_id = http.get(GETPRED, params=FLOWER).json()["job_id"]
    waiting = f"GET {RESULT}/{job_id}?wait=20 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(api.connect()) for _ in range(MOST_CONNECTIONS)]
        for connection in held:
            connection.sendall(waiting)
        said = until(lambda: reply(api, b""), lambda said: said.startswith(b"HTTP/1.1 503 "))
        assert b'"TOO_MANY_CONNECTIONS"' in said
        assert b"\r\nretry-after: 1\r\n" in said
    said = until(lambda: reply(api, b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE), lambda said: b" 200 OK" in said)
    assert said


def until(ask: Callable[[], bytes], enough: Callable[[bytes], bool], seconds: float = 20) -> bytes:
    ends = time.monotonic() + seconds
    while not enough(said := ask()):
        assert time.monotonic() < ends, said
        time.sleep(0.05)
    return said


def test_who_does_not_read_his_answers_is_hung_up_on(api: ApiProcess) -> None:
    with api.connect(timeout=20) as connection, others_are_served(api):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):
            send_for_ever(connection, (b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n") * 100_000)


def send_for_ever(connection: socket.socket, requests: bytes) -> None:
    """A kernel may keep 38 MB for a reader who has stopped: what is sent only once may all be gone too soon."""
    while True:
        connection.sendall(requests)


def test_bodies_in_hand_are_bounded_and_given_back(api: ApiProcess) -> None:
    # on a busy machine the third may overtake one of the first two, which is then refused in its place
    assert any(third_body_is_refused(api) for _ in range(5))
    whole = POST + b"Content-Length: %d\r\n" % BODY_BYTES + CLOSE + ONE_FLOWER.ljust(BODY_BYTES)
    assert reply(api, whole).startswith(b"HTTP/1.1 202 ")


def third_body_is_refused(api: ApiProcess) -> bool:
    """Send three bodies but for their last byte, where there is room for two; then the last bytes of those."""
    almost = POST + b"Content-Length: %d\r\n\r\n" % BODY_BYTES + b" " * (BODY_BYTES - 1)
    said = []
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(api.connect()) for _ in range(2)]
        for connection in held:
            connection.sendall(almost)
        third = reply(api, almost)
        for connection in held:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b" ")
                said.append(connection.recv(12))
    assert third == b"" or re.match(rb"HTTP/1\.1 (408|503) ", third), third
    was_refused = b" 408 " not in third  # who still sends may be reset before it has read the 503
    return was_refused and said == [b"HTTP/1.1 400"] * 2  # whole, and no JSON


NOT_HTTP = {
    "words": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET / HTTP/3.0\r\n\r\n",
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "a letter beyond ASCII in the path": b"GET /\xff HTTP/1.1\r\n\r\n",
    "NUL in the path": b"GET /\0 HTTP/1.1\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nX : a\r\n\r\n",
    "both lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, swapped": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "chunked twice": POST + CHUNKED * 2 + b"\r\n0\r\n\r\n",
    "another transfer coding": POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunked and more": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a negative chunk": POST + CHUNKED + b"\r\n-1\r\n\r\n",
    "a chunk beyond 64 bits": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n",
    "a chunk without its end": POST + CHUNKED + b"\r\n2\r\n{}x\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_refused_in_json_and_the_connection_closed(api: ApiProcess, name: str) -> None:
    head, _, body = reply(api, NOT_HTTP[name]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert json.loads(body)["code"] == "BAD_REQUEST"


HARMLESS = {
    "a chunk extension": POST + CHUNKED + CLOSE + b'%x;a=1;b="2"\r\n' % len(ONE_FLOWER) + ONE_FLOWER + b"\r\n0\r\n\r\n",
    "an absolute address": b"GET http://elsewhere/healthz HTTP/1.1\r\n" + HOST + CLOSE,
    "a wish for a WebSocket": b"GET /healthz HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
    "a wish for HTTP/2": b"GET /healthz HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_only_unusual_is_served(api: ApiProcess, name: str) -> None:
    said = reply(api, HARMLESS[name])
    assert re.match(rb"HTTP/1\.1 20[02] ", said), said


def test_a_request_before_nonsense_is_answered_first(api: ApiProcess) -> None:
    said = reply(api, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n" + b"nonsense\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b'{"status":"ok"}' in said


def test_what_follows_a_body_is_no_header(api: ApiProcess) -> None:
    """A proxy checks headers and lets trailers through; they must not pass for headers behind it."""
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(ONE_FLOWER), ONE_FLOWER)
    body = chunks + b"X-Request-Id: smuggled\r\nIdempotency-Key: smuggled\r\n\r\n"
    said = reply(api, POST + b"X-Request-Id: sent\r\n" + CHUNKED + CLOSE + body)
    assert b"x-request-id: sent\r\n" in said
    first, second = (reply(api, POST + CHUNKED + CLOSE + body).rpartition(b"\r\n")[2] for _ in range(2))
    assert first != second, "the key in the trailers was not read"


@pytest.mark.parametrize("where", ["before the body", "after the body"])
def test_what_surrounds_a_body_is_limited_like_a_head(api: ApiProcess, where: str) -> None:
    flood = [b"X: " + b"y" * 2000 + b"\r\n"] * 20
    start = POST + CHUNKED + (b"" if where == "before the body" else b"\r\n2\r\n{}\r\n0\r\n")
    began = time.monotonic()
    said = reply(api, start, *flood, pause=0.01)
    assert said == b"" or said.startswith(b"HTTP/1.1 431 ")
    assert time.monotonic() - began < 10


def test_a_head_is_served_up_to_the_limit_and_refused_one_byte_beyond(api: ApiProcess) -> None:
    used = len("/healthz") + len("Host") + len("x") + 4 + len("Connection") + len("close") + 4 + len("X") + 4
    for more, status in ((0, b"200"), (1, b"431")):
        padding = b"x" * (16_384 - used + more)
        said = reply(api, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + padding + b"\r\n" + CLOSE)
        assert said.startswith(b"HTTP/1.1 " + status)
