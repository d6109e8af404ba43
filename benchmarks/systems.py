"""The services under test: how each is started, and where it counts finished jobs. Measures nothing."""

from __future__ import annotations

import http.client
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.request import urlopen

from processes import Children, free_port, start_valkey, wait_until

HERE = Path(__file__).parent
ROOT = HERE.parent
MODEL, VERSION = "iris", "1"
QUEUE = f"{MODEL}@{VERSION}"


class System(Protocol):
    """One service with a Valkey of its own."""

    children: Children
    redis: Any
    port: int

    def start_api(self) -> None: ...
    def start_worker(self) -> None: ...
    def finished(self) -> int:
        """Jobs whose answer can be fetched, by the service's own count in Redis. Costs one command, one read."""
        ...


class Article:
    """The re-created article: Flask, gunicorn with two sync workers, `rq worker`; Valkey writes nothing to disk."""

    def __init__(self, folder: Path, environment: Path, worker: str) -> None:
        """`worker`: "as written", "preload", or "simple" (RQ's own class that does not fork)."""
        self.children = Children(folder)
        self.redis = start_valkey(self.children, append_only=False)
        self.port = free_port()
        self._bin = environment / "bin"
        self._worker = worker
        url = f"redis://127.0.0.1:{self.redis.connection_pool.connection_kwargs['port']}/0"
        self._url = url
        self._env = {
            "ARTICLE_REDIS_URL": url,
            "ARTICLE_MODEL": str(environment / "forest.pickle"),
            "PYTHONPATH": str(HERE / "article"),
        }

    def start_api(self) -> None:
        command: list[str | Path] = [
            self._bin / "gunicorn",
            "--workers",
            "2",
            "--bind",
            f"127.0.0.1:{self.port}",
            "app:app",
        ]
        self.children.start("api", command, self._env, HERE / "article")
        wait_until(lambda: _serves(self.port, "/"), "the article's web service")

    def start_worker(self) -> None:
        command: list[str | Path] = [self._bin / "rq", "worker", "--url", self._url]
        if self._worker == "preload":
            command = [self._bin / "python", HERE / "article" / "preloading_worker.py"]
        elif self._worker == "simple":
            command += ["--worker-class", "rq.SimpleWorker"]
        self.children.start("worker", command, self._env, HERE / "article")
        wait_until(lambda: self.redis.scard("rq:workers") == 1, "the article's worker")

    def finished(self) -> int:
        return int(self.redis.zcard("rq:finished:default"))


class Iris:
    """Ours: one API process, one worker, recovery; Valkey appends to disk."""

    def __init__(self, folder: Path, *, append_only: bool = True, promises: bool = True, inline: bool = False) -> None:
        """Without `promises` the scripts are cut as `without_promises.py` says; `inline` is IRIS_SYNC=inline."""
        self.children = Children(folder)
        self.redis = start_valkey(self.children, append_only=append_only)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.redis.connection_pool.connection_kwargs['port']}/0"
        self._promises = promises
        self._inline = inline
        self._env = {
            "IRIS_REDIS_URL": self.url,
            "IRIS_MODELS": str(ROOT / "models"),
            "IRIS_MODEL": MODEL,
            "IRIS_MODEL_VERSION": VERSION,
            "IRIS_PORT": str(self.port),
            "IRIS_SYNC": "inline" if inline else "queue",
        }

    def start_api(self) -> None:
        self._start("api")
        if self._promises:
            self._start("recovery")
        wait_until(lambda: _serves(self.port, "/readyz"), "our api")

    def start_worker(self) -> None:
        self._start("worker")
        wait_until(lambda: self.redis.scard("rq:workers") == 1, "our worker")
        if self._inline:
            loaded = f'iris_inline_versions{{model="{MODEL}",version="{VERSION}"}} 1'
            wait_until(lambda: loaded in _page(self.port, "/metrics"), "the model in our api")

    def finished(self) -> int:
        return int(self.redis.hget(f"iris:counts:{QUEUE}", "done") or 0)

    def _start(self, part: str) -> None:
        iris = Path(sys.executable).with_name("iris")
        command: list[str | Path] = (
            [iris, part] if self._promises else [sys.executable, HERE / "without_promises.py", part]
        )
        self.children.start(part, command, self._env, ROOT)


class Bare:
    """Starlette with one page that does next to nothing: the most that any service on it could answer."""

    def __init__(self, folder: Path, *, asks_model: bool = False) -> None:
        """Answers a constant, or what our model says."""
        self.children = Children(folder)
        self.port = free_port()
        self._arguments = [ROOT / "models" / MODEL / VERSION / "model.onnx"] if asks_model else []

    def start_api(self) -> None:
        command = [sys.executable, HERE / "bare.py", str(self.port), *self._arguments]
        self.children.start("bare", command, {}, ROOT)
        wait_until(lambda: _serves(self.port, "/"), "bare Starlette")


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for logs and Valkey's files; kept, and named, only when the run fails."""
    folder = Path(tempfile.mkdtemp(prefix="iris-bench-"))
    try:
        yield folder
    except BaseException:
        print(f"logs of the failed run: {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)


def _page(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read(), "utf-8")


def _serves(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (200, 404)
    except OSError:
        return False
    finally:
        connection.close()
