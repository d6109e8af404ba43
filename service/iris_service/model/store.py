"""A repository of model versions on disk: `<root>/<model>/<version>/{card.json, artifacts}`.

Hands out cards and verified bytes; never parses an artifact, and needs no model library. Below the root no symbolic
link is followed, whatever the names, and an artifact is read once, so what was verified is what gets loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from iris_service.errors import ModelNotFound, ModelRejected, VersionExists
from iris_service.model.card import (
    CARD_FILE,
    MAX_ARTIFACT_BYTES,
    MAX_CARD_BYTES,
    MODEL_NAME,
    VERSION_NAME,
    Card,
    card_from_json,
    card_to_json,
)


class ModelRepository:
    """The versions under one folder. The folder itself may be a link (a mounted volume), nothing below it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self, model: str) -> list[str]:
        """The published versions, 2 before 10 before words; raises `ModelNotFound` when there is no such model."""
        check_name("model", model, MODEL_NAME)
        folder = self.root / model
        if folder.is_symlink() or not folder.is_dir():
            raise ModelNotFound(f"there is no model {model} in {self.root}")
        found = [path.parent.name for path in folder.glob(f"*/{CARD_FILE}") if not path.parent.is_symlink()]
        return sorted((name for name in found if re.search(VERSION_NAME, name)), key=_natural)

    def card(self, model: str, version: str) -> Card:
        """The card of a version; raises `ModelNotFound` or `ModelRejected`."""
        check_name("model", model, MODEL_NAME)
        check_name("version", version, VERSION_NAME)
        try:
            data = self._read((model, version, CARD_FILE), MAX_CARD_BYTES)
        except ModelNotFound as exc:
            raise ModelNotFound(self._what_there_is(model, version)) from exc
        card = card_from_json(data)
        if (card.model, card.version) != (model, version):
            raise ModelRejected(f"the card in {model}/{version} describes {card.model} {card.version}")
        return card

    def _what_there_is(self, model: str, version: str) -> str:
        root = f"{self.root.absolute()} (IRIS_MODELS)"
        if not self.root.is_dir():
            return f"there is no folder {root}"
        if not (self.root / model).is_dir():
            return f"there is no model {model} in {root}"
        there = ", ".join(self.versions(model)) or "no other"
        return f"there is no version {version} of {model} in {root}, there is {there}"

    def artifact_bytes(self, card: Card, artifact_format: str) -> bytes:
        """The bytes of an artifact, after their size and digest matched the card; raises `ModelRejected`."""
        artifact = card.artifact(artifact_format)
        data = self._read((card.model, card.version, artifact.file), MAX_ARTIFACT_BYTES)
        if len(data) != artifact.size:
            raise ModelRejected(f"{artifact.file} has {len(data)} bytes, its card says {artifact.size}")
        if (found := digest_of(data)) != artifact.digest:
            raise ModelRejected(f"{artifact.file} has digest {found}, its card says {artifact.digest}")
        return data

    def publish(self, card: Card, artifacts: Mapping[str, bytes]) -> Path:
        """Write a version, whole or not at all; `artifacts` are by file name.

        Raises `VersionExists` when it was published before, and `ModelRejected` when it could not be read back.
        """
        card_bytes = card_to_json(card)
        card_from_json(card_bytes)
        promised = {artifact.file: artifact.digest for artifact in card.artifacts.values()}
        if promised != {name: digest_of(data) for name, data in artifacts.items()}:
            raise ModelRejected("the artifacts are not those of the card")
        folder = self.root / card.model
        target = folder / card.version
        self.refuse_existing(card.model, card.version)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _publish_whole(target, {**artifacts, CARD_FILE: card_bytes})
        except OSError as exc:
            if target.exists():
                raise VersionExists(f"{card.model} {card.version} was published meanwhile") from exc
            raise ModelRejected(f"{card.model} {card.version} cannot be written: {exc.strerror}") from exc
        return target

    def refuse_existing(self, model: str, version: str) -> None:
        """Raise `VersionExists` when the version was published, `ModelRejected` when it is no name for one."""
        check_name("model", model, MODEL_NAME)
        check_name("version", version, VERSION_NAME)
        if (self.root / model / version).exists():
            raise VersionExists(f"{model} {version} is already published and never changes")

    def _read(self, parts: tuple[str, ...], limit: int) -> bytes:
        where = "/".join(parts)
        try:
            handle = _open_inside(self.root, parts)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise ModelRejected(f"{where} is not a regular file")
                with open(handle, "rb", closefd=False) as file:
                    data = file.read(limit + 1)
            finally:
                os.close(handle)
        except FileNotFoundError as exc:
            raise ModelNotFound(f"there is no {where} in {self.root}") from exc
        except OSError as exc:
            raise ModelRejected(f"{where} cannot be read (links are not followed): {exc.strerror}") from exc
        if len(data) > limit:
            raise ModelRejected(f"{where} is larger than {limit} bytes")
        return data


def check_name(kind: str, name: str, pattern: str) -> None:
    """Raise `ModelRejected` unless the name is safe as a folder, a label and part of a URL."""
    if not re.search(pattern, name):
        raise ModelRejected(f"{name[:64]!r} is not a {kind} name: it must match {pattern[2:-2]}")


def digest_of(data: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _open_inside(root: Path, parts: tuple[str, ...]) -> int:
    """Open a file below `root` step by step, so that no step can be a link, not even one swapped in meanwhile."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for index, part in enumerate(parts):
        # O_NONBLOCK: opening a named pipe must not hang
        flags = os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_DIRECTORY if index < len(parts) - 1 else 0)
        try:
            following = os.open(part, os.O_RDONLY | flags, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current


def _publish_whole(target: Path, files: Mapping[str, bytes]) -> None:
    # the leading dot is no version name, so a half-written folder is never listed or read
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        for name, data in files.items():
            _write_durably(draft / name, data)
        draft.chmod(0o755)  # workers run as another user
        _sync_folder(draft)
        draft.rename(target)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]
