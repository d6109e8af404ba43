"""Commands that talk to others: a server that is busy, a training, and processes that refuse to start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO, Any

import pytest

from iris_service import cli
from iris_service.errors import InvalidInput, IrisError, MalformedBody, QueueUnavailable, Unauthenticated
from iris_service.remote import Remote
from versions import COMMITTED

FLOWER = (5.1, 3.5, 1.4, 0.2)
RESULT = [{"class": "setosa", "probability": "1.000"}]
SUBMITTED = (202, {}, {"job_id": "abc"})
ANSWERED = (200, {}, {"result": [RESULT]})
FULL = (429, {"Retry-After": "1"}, {"code": "QUEUE_FULL", "error": "the queue is full"})
RUNNING = (202, {}, {"code": "NOT_READY", "status": "running"})

Reply = tuple[int, dict[str, str], Any]


class _Server(HTTPServer):
    """Gives one prepared reply after the other and remembers the requests."""

    def __init__(self, replies: list[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies
        self.seen: list[tuple[str, str, bytes]] = []
        self.credentials: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, sent))
        self.server.credentials.append(self.headers["Authorization"])
        status, headers, document = self.server.replies.pop(0)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Not to the test's output."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[_Server]:
    server = _Server(list(getattr(request, "param", [SUBMITTED, ANSWERED])))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("key", ["", "iris_secret"])
def test_a_key_is_brought_along_where_there_is_one(
    server: _Server, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IRIS_API_KEY", key)
    assert cli.main(["predict", *map(str, FLOWER), "--url", server.url]) == 0
    assert server.credentials == [f"Bearer {key}" if key else None] * 2
    assert "iris_secret" not in "".join(capsys.readouterr())


def test_a_server_is_asked_for_one_flower(server: _Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", *map(str, FLOWER), "--url", server.url + "/", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"result": RESULT}
    assert server.seen == [
        ("POST", "/iris/api/v1.0/getpred", b'{"data": [[5.1, 3.5, 1.4, 0.2]]}'),
        ("GET", "/iris/api/v1.0/result/abc?wait=10", b""),
    ]


TOO_LONG = (422, {}, {"code": "INVALID_INPUT", "error": "wait must be a number from 0 to 2 seconds", "field": "wait"})


@pytest.mark.parametrize("server", [[SUBMITTED, TOO_LONG, TOO_LONG, RUNNING, ANSWERED]], indirect=True)
def test_a_server_that_allows_less_waiting_is_asked_to_wait_less(server: _Server) -> None:
    assert [share.name for share in Remote(server.url, lambda _: None).predict(FLOWER)] == ["setosa"]
    assert [path.partition("?")[2] for _, path, _ in server.seen] == ["", "wait=10", "wait=5", "wait=2", "wait=2"]


@pytest.mark.parametrize("server", [[SUBMITTED, *[TOO_LONG] * 4, ANSWERED]], indirect=True)
def test_a_server_that_allows_no_waiting_is_asked_for_none(server: _Server) -> None:
    assert [share.name for share in Remote(server.url, lambda _: None).predict(FLOWER)] == ["setosa"]
    assert server.seen[-1][1] == "/iris/api/v1.0/result/abc"


@pytest.mark.parametrize(("key", "hint"), [("", "set IRIS_API_KEY"), ("iris_wrong", "the one in IRIS_API_KEY")])
@pytest.mark.parametrize("server", [[(401, {}, {"error": "this service asks for a key"})]], indirect=True)
def test_who_is_not_known_learns_where_a_key_goes(server: _Server, key: str, hint: str) -> None:
    with pytest.raises(Unauthenticated, match=f"this service asks for a key: .*{hint}"):
        Remote(server.url, lambda _: None, key).predict(FLOWER)


@pytest.mark.parametrize(
    "server", [[(422, {}, {"error": "data[0]: a row must have 4 numbers", "row": 0})]], indirect=True
)
def test_one_flower_is_no_list_to_the_person_who_typed_it(server: _Server) -> None:
    with pytest.raises(InvalidInput, match=r"^a row must have 4 numbers"):
        Remote(server.url, lambda _: None).predict(FLOWER[:3])


@pytest.mark.parametrize("server", [[FULL, SUBMITTED, RUNNING, ANSWERED]], indirect=True)
def test_a_busy_server_is_asked_again_as_it_says_and_the_waiting_is_told(
    server: _Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", *map(str, FLOWER), "--url", server.url]) == 0
    captured = capsys.readouterr()
    assert captured.out.split() == ["setosa", "1.000"]
    assert captured.err.splitlines() == [
        "the server is busy (the queue is full): trying again in 1 s",
        "the prediction still waits for a worker: trying again in 1 s",
    ]


@pytest.mark.parametrize("server", [[(503, {"Retry-After": "3600"}, {"error": "redis is away"})]], indirect=True)
def test_patience_has_an_end(server: _Server) -> None:
    with pytest.raises(QueueUnavailable, match=r"redis is away.*giving up"):
        Remote(server.url, lambda _: None).predict(FLOWER)


@pytest.mark.parametrize(
    ("server", "error", "words"),
    [
        ([(422, {}, {"error": "petal_width must be a number"})], InvalidInput, "petal_width"),
        ([(404, {}, {"code": "PAGE_NOT_FOUND"})], InvalidInput, "PAGE_NOT_FOUND"),
        ([SUBMITTED, (500, {}, {"code": "X", "error": "the job failed"})], IrisError, "the job failed"),
        ([(200, {}, b"<html>")], MalformedBody, "is this the URL of an iris API"),
        ([(502, {}, b"<html>")], MalformedBody, "is this the URL of an iris API"),
        ([(200, {}, [])], MalformedBody, "is this the URL of an iris API"),
        ([(200, {}, {"hello": "world"})], MalformedBody, "is this the URL of an iris API"),
    ],
    indirect=["server"],
)
def test_a_refusal_is_passed_on_in_the_servers_words(server: _Server, error: type[IrisError], words: str) -> None:
    with pytest.raises(error, match=words):
        Remote(server.url, lambda _: None).predict(FLOWER)


CSV = {"Content-Type": "text/csv; charset=utf-8"}
FILE = "sepal_length,sepal_width,petal_length,petal_width,note\n" + "".join(
    f"{n},3.5,1.4,0.2,n{n}\n" for n in (1, 2, 3)
)
LABELS = "label,probability_setosa\n"
TOO_MANY = (413, {}, {"code": "TOO_MANY_ROWS", "error": "too many rows"})


def labelled(*names: str) -> Reply:
    return 200, CSV, (LABELS + "".join(f"{name},1.0\n" for name in names)).encode()


def _classify(url: str, file: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    file.write_text(FILE)
    assert cli.main(["predict", "--csv", str(file), "--url", url]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("server", [[labelled("a", "b", "c")]], indirect=True)
def test_a_file_is_classified_by_a_server_in_one_request(
    server: _Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _classify(server.url, tmp_path / "in.csv", capsys)
    assert found[0] == FILE.splitlines()[0] + ",label,probability_setosa"
    assert [line.split(",")[0::5] for line in found[1:]] == [["1", "a"], ["2", "b"], ["3", "c"]]
    [(method, path, sent)] = server.seen
    assert (method, path) == ("POST", "/iris/api/v1.0/getpred?wait=10")
    assert sent.decode().splitlines() == FILE.splitlines()


@pytest.mark.parametrize(
    "server", [[FULL, SUBMITTED, RUNNING, labelled("a"), labelled("b"), TOO_MANY]], indirect=True
)  # fmt: skip
def test_a_file_goes_in_pieces_and_each_is_waited_for(
    server: _Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_MAX_ROWS", "1")
    (tmp_path / "in.csv").write_text(FILE)
    assert cli.main(["predict", "--csv", str(tmp_path / "in.csv"), "--url", server.url]) == 1
    captured = capsys.readouterr()
    assert captured.out == "", "two of three rows are not presented as an answer"
    assert captured.err.splitlines()[-1] == "iris predict: too many rows"
    assert [path for _, path, _ in server.seen] == [
        "/iris/api/v1.0/getpred?wait=10", "/iris/api/v1.0/getpred?wait=10", "/iris/api/v1.0/result/abc?wait=10",
        "/iris/api/v1.0/result/abc?wait=10", "/iris/api/v1.0/getpred?wait=10", "/iris/api/v1.0/getpred?wait=10",
    ]  # fmt: skip


@pytest.mark.parametrize("server", [[TOO_MANY, labelled("a"), TOO_MANY, labelled("b"), labelled("c")]], indirect=True)
def test_what_is_too_much_for_a_server_is_sent_in_halves(
    server: _Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _classify(server.url, tmp_path / "in.csv", capsys)
    assert [line.split(",")[0::5] for line in found[1:]] == [["1", "a"], ["2", "b"], ["3", "c"]]
    assert [len(sent.splitlines()) - 1 for _, _, sent in server.seen] == [3, 1, 2, 1, 1]


REFUSED = (422, {}, {"code": "INVALID_INPUT", "error": "line 2: note is bad", "field": "note", "row": 0})


@pytest.mark.parametrize("server", [[TOO_MANY, labelled("a"), REFUSED]], indirect=True)
def test_a_row_that_a_server_refuses_is_named_by_its_line_in_the_file(
    server: _Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text(FILE)
    assert cli.main(["predict", "--csv", str(tmp_path / "in.csv"), "--url", server.url]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().endswith("in.csv, line 3: note is bad")


@pytest.mark.parametrize(
    ("server", "error"),
    [
        ([labelled("a")], MalformedBody),
        ([(200, {}, (LABELS + "a,1.0\n" * 3).encode())], MalformedBody),
        ([ANSWERED], MalformedBody),
        ([(202, {}, {})], MalformedBody),
        ([SUBMITTED, ANSWERED], MalformedBody),
        ([SUBMITTED, (500, {}, {"error": "the job failed"})], IrisError),
        ([(404, {}, {"code": "PAGE_NOT_FOUND"})], InvalidInput),
    ],
    indirect=["server"],
)
def test_an_answer_that_does_not_belong_to_a_file_is_none(server: _Server, error: type[IrisError]) -> None:
    with pytest.raises(error):
        Remote(server.url, lambda _: None).predict_csv([line.split(",") for line in FILE.splitlines()])


def test_a_server_that_is_not_there_is_named(unused_url: str) -> None:
    with pytest.raises(QueueUnavailable, match=f"no answer from {unused_url}"):
        Remote(unused_url, lambda _: None).predict(FLOWER)


@pytest.fixture
def unused_url() -> str:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}"


def _iris(
    *arguments: str, env: dict[str, str], cwd: Path, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
    program = Path(sys.executable).with_name("iris")
    return subprocess.run(
        [str(program), *arguments],
        env=clean | env,
        cwd=cwd,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


VERIFY = ("model", "verify", str(COMMITTED / "iris" / "1"))
PREDICT = ("predict", *map(str, FLOWER))


@pytest.mark.parametrize("arguments", [VERIFY, PREDICT, ("key", "shop")], ids=lambda words: words[0])
@pytest.mark.parametrize("stream", ["pipe", "/dev/full"])
def test_output_that_nobody_takes_is_said_in_one_line_and_no_success(
    tmp_path: Path, arguments: tuple[str, ...], stream: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, Path("/dev/full").open("w") as full:
        output = pipe if stream == "pipe" else full
        done = _iris(*arguments, env={"IRIS_MODELS": str(COMMITTED)}, cwd=tmp_path, stdout=output)
    assert done.returncode == 1
    reason = "Broken pipe" if stream == "pipe" else "No space left on device"
    assert done.stderr == f"iris: the output is not complete: {reason}\n", "and no key without its line"


def test_a_letter_that_the_output_cannot_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(FILE.replace("n2", "\u20ac"), encoding="utf-8")
    env = {"IRIS_MODELS": str(COMMITTED), "PYTHONIOENCODING": "latin-1"}
    done = _iris("predict", "--csv", "in.csv", env=env, cwd=tmp_path, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("iris: the output is not complete: latin-1 has no '\\u20ac': set PYTHONIOENCODING=utf-8\n")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nope", "there is no folder nope"),
        (".", ". has no card.json: it is not the folder of a version"),
        ("iris/1", "the card cannot be used: card.json is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_version_that_is_none_is_named_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris" / "1").mkdir(parents=True)
    (tmp_path / "iris" / "1" / "card.json").write_text("no card")
    assert cli.main(["model", "verify", path]) == os.EX_DATAERR
    assert capsys.readouterr().err == f"iris model verify: {sentence}\n"


def _rejected_worker(models: Path) -> dict[str, str]:
    """Run a worker that must reject its model, away from any Redis; returns its first log line."""
    env = {"IRIS_MODELS": str(models), "IRIS_LOG_FORMAT": "json", "IRIS_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = _iris("worker", env=env, cwd=models)
    assert done.returncode == os.EX_DATAERR
    said: dict[str, str] = json.loads(done.stderr.splitlines()[0])
    return said


def test_a_worker_without_its_model_says_so_and_ends_with_exit_code_65(tmp_path: Path) -> None:
    said = _rejected_worker(tmp_path)
    assert (said["event"], said["code"], said["level"]) == ("model rejected", "MODEL_NOT_FOUND", "error")


def test_a_worker_refuses_an_artifact_that_is_not_the_published_one(tmp_path: Path) -> None:
    shutil.copytree(COMMITTED / "iris" / "1", tmp_path / "iris" / "1")
    (tmp_path / "iris" / "1" / "model.onnx").write_bytes(b"not what the card says")
    assert _rejected_worker(tmp_path)["code"] == "MODEL_REJECTED"


@pytest.mark.parametrize(
    "entry",
    ["worker", "api", "cli api", "cli worker", "cli recovery", "cli up"],
)
def test_bad_settings_end_any_process_with_one_line_and_exit_code_78(entry: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *f"iris_service.{entry}".split()],
        env={**os.environ, "IRIS_REDIS_URL": "redis://:hun/ter2@redis:6379/0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == os.EX_CONFIG
    [line] = done.stderr.splitlines()
    assert "IRIS_REDIS_URL is not host:port" in line
    assert "hun" not in line


@pytest.mark.slow
def test_a_training_publishes_the_next_version_and_never_overwrites_one(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(COMMITTED / "iris" / "1", models / "iris" / "1")
    env = {"IRIS_MODELS": str(models)}
    done = _iris("train", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("models/iris/2")
    assert _iris("model", "verify", "models/iris/2", env=env, cwd=tmp_path).returncode == 0

    again = _iris("train", "--version", "1", env=env, cwd=tmp_path)
    assert again.returncode == os.EX_DATAERR
    assert "already published" in again.stderr
