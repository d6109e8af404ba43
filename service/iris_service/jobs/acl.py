"""Makes the ACL file for Redis or Valkey out of `users.acl`. Writes no file and talks to no server."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from iris_service.errors import SettingsError

USERS = ("iris-api", "iris-worker", "iris-operator")
"""Who needs a password; worker and recovery are one user, `default` is off, and probes need none."""


def render(passwords: Mapping[str, str]) -> str:
    """Return the text of an ACL file with one line a user, holding hashes instead of `passwords`.

    Raises `SettingsError` unless every one of `USERS`, and nobody else, has a password.
    """
    for name in USERS:
        if not passwords.get(name):
            raise SettingsError(f"the user {name} needs a password", field=name)
    for name in passwords:
        if name not in USERS:
            raise SettingsError(f"{name} is not a user of the queue", field=name)
    hashes = {name: sha256(password.encode()).hexdigest() for name, password in passwords.items()}
    return _joined((files("iris_service.jobs") / "users.acl").read_text()).format_map(hashes)


def _joined(template: str) -> str:
    lines: list[str] = []
    for line in template.splitlines():
        if line.startswith("  "):
            lines[-1] += " " + line.strip()
        elif line and not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"
