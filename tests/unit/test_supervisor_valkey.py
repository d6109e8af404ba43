"""The embedded server's folder, socket and log, without a server."""

from __future__ import annotations

import io
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from iris_service.errors import CannotStart
from iris_service.supervisor.valkey import embedded_valkey, private_socket, sole_use_of, split_log_line
from servers import short_folder


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("23519:M 23 Nov 2026 00:28:00.542 # WARNING Memory overcommit", "#", "WARNING Memory overcommit"),
        (
            "23519:M 23 Nov 2026 00:28:00.578 * Ready to accept connections unix",
            "*",
            "Ready to accept connections unix",
        ),
        ("9:C 23 Nov 2026 00:28:00.578 - DB saved", "-", "DB saved"),
        ("23519:signal-handler (1795393682) Received SIGTERM", "", "Received SIGTERM"),
        ("*** FATAL CONFIG FILE ERROR ***", "", "*** FATAL CONFIG FILE ERROR ***"),
        ("", "", ""),
    ],
)
def test_a_log_line_is_split_into_level_and_text(line: str, level: str, text: str) -> None:
    assert split_log_line(line) == (level, text)


def test_one_data_folder_has_one_user(tmp_path: Path) -> None:
    refused = pytest.raises(CannotStart, match="in use by another")
    with sole_use_of(tmp_path / "data"), refused, sole_use_of(tmp_path / "data"):
        pass
    with sole_use_of(tmp_path / "data"):
        assert list((tmp_path / "data").iterdir()) == []


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    with sole_use_of(tmp_path / "new" / "data"):
        assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700


def test_a_file_in_place_of_the_data_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(CannotStart, match=r"data folder .* cannot be used"), sole_use_of(tmp_path / "data"):
        pass


def test_the_socket_lies_in_a_private_folder_that_does_not_outlive_it(tmp_path: Path) -> None:
    with private_socket(tmp_path) as path:
        path.touch()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_socket_left_by_a_killed_supervisor_is_removed(tmp_path: Path) -> None:
    with private_socket(tmp_path) as left:
        left.touch()
        with private_socket(tmp_path) as fresh:
            assert not left.parent.exists()
            assert fresh.parent.exists()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_lies_in_place_of_the_socket_is_named_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    temporary = short_folder()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / "valkey.sock")
    with pytest.raises(CannotStart, match=r"valkey\.sock is not ours: .* --data"), private_socket(tmp_path / "data"):
        pass
    assert (tmp_path / "data" / "valkey.sock").exists()
    temporary.rmdir()  # only an empty one can be


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody, not even root, can write")
def test_a_data_folder_that_cannot_be_written_is_named_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = short_folder()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(CannotStart, match=r"/proc/valkey\.sock cannot be made: "), private_socket(Path("/proc")):
        pass
    temporary.rmdir()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(CannotStart, match="TMPDIR"), private_socket(tmp_path):
        pass
    assert list(long.iterdir()) == []


def test_only_what_the_server_complains_of_is_kept(tmp_path: Path) -> None:
    lines = [
        b"1:M 23 Nov 2026 00:28:00.542 # WARNING Memory overcommit must be enabled!\n",
        b"1:M 23 Nov 2026 00:28:00.542 * Server initialized\n",
        b"1:M 23 Nov 2026 00:28:00.542 # Bad file format reading the append only file \xff\n",
    ]
    with embedded_valkey(tmp_path) as valkey:
        read_log = valkey.spec({}).read_output
        assert read_log is not None
        read_log(io.BytesIO(b"".join(lines)))
        assert [text[:15] for text in valkey.complaints] == ["Bad file format"]
