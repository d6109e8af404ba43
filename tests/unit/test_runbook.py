"""docs/operations.md speaks of what there is: panels, log lines, settings and values under their names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

sys.path.append(str(Path(__file__).parents[2] / "monitoring"))  # its modules are scripts, not a package

import write
from debian import program

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
QUOTED = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT.replace("\n", " "), flags=re.DOTALL)))
PROGRAMS = ("config", "df", "docker", "git", "helm", "kubectl", "make", "q", "redis-cli", "rq")


def source() -> str:
    return "".join(path.read_text() for shelf in ("service", "operator") for path in (ROOT / shelf).rglob("*.py"))


def test_a_question_in_italics_is_a_panel() -> None:
    asked = set(re.findall(r"\*([A-Z][^*\n]+\?)\*", TEXT))
    assert len(asked) > 15
    assert asked <= {panel.title for dashboard in write.DASHBOARDS.values() for panel in dashboard.panels}


def test_a_log_line_that_is_quoted_is_one_that_is_written() -> None:
    sentences = {text for text in QUOTED if re.fullmatch(r"[a-z]+( [a-z]+)+(: [a-z ]+)?", text)}
    lines = {text for text in sentences if text.split()[0] not in PROGRAMS}
    assert {"request failed", "queue lost"} <= lines
    text = source()
    assert {line for line in lines if f'"{line}"' not in text} == set()


def test_a_setting_or_a_code_that_is_named_is_one_of_ours() -> None:
    names = {name for text in QUOTED for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)} - {"JOB_ID"}
    assert {"IRIS_QUEUE_LIMIT", "QUEUE_UNAVAILABLE", "WORKER_LOST"} <= names
    text = source()
    assert {name for name in names if name not in text} == set()


def keys(values: object, path: str = "") -> Iterator[str]:
    yield path
    if isinstance(values, dict):
        for name, below in values.items():
            yield from keys(below, f"{path}.{name}".strip("."))


def test_a_value_of_the_chart_that_is_named_is_one_it_has() -> None:
    known = set(keys(yaml.safe_load((ROOT / "charts" / "iris" / "values.yaml").read_text())))
    tops = "|".join(key for key in known if key and "." not in key)
    named = {found[0] for text in QUOTED if (found := re.match(rf"(?:{tops})\.[\w.]+", text))}
    named -= {"worker.resources"}  # an IrisModel's
    assert {"networkPolicy.metricsFrom", "recovery.replicas", "valkey.maxMemory"} <= named
    assert named <= known
    (example,) = re.findall(r"```yaml\n(monitoring:.*?)```", TEXT, re.DOTALL)
    assert {key for key in keys(yaml.safe_load(example)) if not key.endswith(".release")} <= known


def test_prometheus_understands_the_way_to_scrape_without_an_operator(tmp_path: Path) -> None:
    (jobs,) = re.findall(r"```yaml\n(- job_name:.*?)```", TEXT, re.DOTALL)
    config = tmp_path / "prometheus.yml"
    discovery = "kubernetes_sd_configs: [{role: pod}]"  # which Debian's Prometheus is built without
    assert discovery in jobs
    config.write_text(f"scrape_configs:\n{jobs.replace(discovery, 'static_configs: []')}")
    command = [program("promtool"), "check", "config", "--syntax-only", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
