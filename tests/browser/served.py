"""What the browser tests and the screenshot look at: the service as `iris up` starts it, over a Valkey of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from debian import program
from servers import Valkey

MODELS = Path(__file__).parents[2] / "models"
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""A browser that asks nobody but the page's own server."""

Visit = Callable[..., AbstractContextManager[Page]]
"""The fixture `visit`."""


class Served:
    """One `iris up`, ready; its Valkey can be killed and started again, its worker frozen."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.valkey = Valkey(folder)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "iris_service.cli", "up", "--port", "0", *options],
            env={**ours, "IRIS_MODELS": str(MODELS), "IRIS_REDIS_URL": self.valkey.url},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        addresses = (re.search(r"page +(\S+)", line) for line in self._process.stdout)
        found = next(filter(None, addresses), None)
        assert found, (folder / "log").read_text()
        self.url = found[1]

    def worker(self) -> psutil.Process:
        children = psutil.Process(self._process.pid).children(recursive=True)
        return next(child for child in children if "worker" in child.cmdline())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()
        self.valkey.stop()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    path = program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()
