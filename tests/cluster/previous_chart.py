"""A chart as it might have been a version ago, made out of the present one: there is no released one yet.

Older in what an upgrade has to bring: a field and a column of the CRD, a kind of object, rights of the queue's users.
One of its objects is gone since. The first released chart takes the place of this.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from cluster.helm import CHART, CRD

VERSION = "0.0.9"
GONE_SINCE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-old"}
"""


def previous_chart(folder: Path) -> Path:
    """Write it; returns its folder."""
    chart = folder / "iris"
    shutil.copytree(CHART, chart)
    about = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(about.replace("ersion: 0.1.0", f"ersion: {VERSION}"))
    (chart / "templates" / "networkpolicies.yaml").unlink()
    (chart / "templates" / "old.yaml").write_text(GONE_SINCE)
    users = chart / "files" / "users.acl"
    users.write_text(users.read_text().partition("# Asks whether")[0])
    (chart / "crds" / CRD.name).write_text(yaml.safe_dump(_previous_crd()))
    return chart


def _previous_crd() -> object:
    crd = yaml.safe_load(CRD.read_text())
    (version,) = crd["spec"]["versions"]
    worker = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["worker"]
    del worker["properties"]["batchSize"]
    version["additionalPrinterColumns"].pop()
    return crd
