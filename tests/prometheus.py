"""A real Prometheus for tests: Debian's, with a data folder and a port of its own; asked over its HTTP API."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from debian import program
from servers import free_port


class Series(NamedTuple):
    """What came back for one set of labels: (Unix seconds, value), oldest first."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    """One server that scrapes `targets` (by job, each a list of host:port) and those listed in `found.json`."""

    def __init__(
        self, folder: Path, targets: Mapping[str, Sequence[str]], rules: Path, seconds: float, labels: Mapping[str, str]
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir()
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": f"{round(seconds * 1000)}ms",
                "scrape_timeout": f"{round(seconds * 1000)}ms",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": job,
                    "honor_labels": True,
                    "static_configs": [{"targets": list(addresses), "labels": dict(labels)}],
                }
                for job, addresses in targets.items()
            ]
            + [{"job_name": "worker", "file_sd_configs": [{"files": [str(folder / "found.json")]}]}],
        }
        self.found = folder / "found.json"
        self.found.write_text("[]")
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={self.url.partition('//')[2]}",
                    "--log.level=warn",
                ],
                stderr=log,
            )  # fmt: skip

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def now(self, expr: str) -> list[Series]:
        """Evaluate an expression; raises `ValueError` with what Prometheus says of one that it cannot read."""
        found = self._ask("query", query=expr)
        if found["resultType"] == "scalar":
            return [Series({}, [_point(found["result"])])]
        return [Series(item["metric"], [_point(item["value"])]) for item in found["result"]]

    def between(self, expr: str, start: float, end: float, step_seconds: float) -> list[Series]:
        found = self._ask("query_range", query=expr, start=start, end=end, step=step_seconds)
        return [Series(item["metric"], [_point(value) for value in item["values"]]) for item in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def eventually(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Ask again until it is so; while the server starts, or has not scraped, it is not."""
        ends = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (OSError, ValueError):
                pass
            assert time.monotonic() < ends, f"not within {seconds} s: {what}"
            time.sleep(0.1)

    def _ask(self, path: str, **parameters: object) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as exc:
            raise ValueError(json.load(exc).get("error", exc.reason)) from exc


def _point(value: Sequence[Any]) -> tuple[float, float]:
    return float(value[0]), float(value[1])
