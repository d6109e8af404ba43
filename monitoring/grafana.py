"""Makes the JSON that Grafana loads out of a dashboard. Pure; the only place that knows Grafana's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from panels import Dashboard, Panel, Place, Section, Variable, placed

SCHEMA_VERSION = 39
"""Grafana 10.4 writes it; newer ones migrate it when they load it."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

_TYPES = {"lines": "timeseries", "areas": "timeseries", "figure": "stat", "table": "table", "states": "state-timeline"}
_UNITS = {
    "seconds": "s", "jobs/s": "suffix: jobs/s", "requests/s": "reqps", "looks/s": "suffix: looks/s", "/s": "suffix:/s",
    "ratio": "percentunit", "percent": "percent", "bytes": "bytes", "cores": "suffix: cores", "count": "short",
    "yes/no": "bool_yes_no",
}  # fmt: skip
_COLOURS = {"good": "green", "watch": "orange", "bad": "red"}


def to_json(dashboard: Dashboard) -> str:
    """Return the file as it is committed and shipped."""
    return json.dumps(model(dashboard), indent=1, ensure_ascii=False) + "\n"


def model(dashboard: Dashboard) -> dict[str, Any]:
    """Return Grafana's dashboard model."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["iris"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Iris", "tags": ["iris"], "includeVars": True, "keepTime": True}],
        "templating": {"list": [_DATASOURCE_CHOICE, *map(_variable, dashboard.variables)]},
        "panels": [
            _row(number, place, item) if isinstance(item, Section) else _panel(number, place, item)
            for number, (place, item) in enumerate(placed(dashboard), 1)
        ],
    }


_DATASOURCE_CHOICE = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "name": variable.name,
        "label": variable.name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # also matches series without the label: a Prometheus outside Kubernetes knows no namespace
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _row(number: int, place: Place, section: Section) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": section.title,
        "collapsed": False,
        "gridPos": _grid(place),
        "panels": [],
    }


def _grid(place: Place) -> dict[str, int]:
    return {"x": place.x, "y": place.y, "w": place.width, "h": place.height}


def _panel(number: int, place: Place, panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": number,
        "type": _TYPES[panel.kind],
        "title": panel.title,
        "description": panel.description,
        "gridPos": _grid(place),
        "datasource": DATASOURCE,
        "targets": [_target(panel, at) for at in range(len(panel.queries))],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    if panel.kind == "table":
        made["transformations"] = _columns(panel)
    return made


def _target(panel: Panel, at: int) -> dict[str, Any]:
    query = panel.queries[at]
    now = panel.kind in ("figure", "table")
    return {
        "refId": chr(ord("A") + at),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": now,
        "range": not now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": _UNITS[panel.unit], "custom": _DRAWN.get(panel.kind, {})}
    if panel.unit == "yes/no":
        defaults |= {"unit": "none", "mappings": [_mapping({"0": "no", "1": "yes"})]}
    if panel.kind == "areas":
        defaults["min"] = 0
    if panel.kind == "lines":
        defaults["custom"] = {**_LINES, "axisSoftMin": 0}  # most start at 0, and a difference may be below
    if panel.kind == "states":
        defaults["mappings"] = [_mapping({"1": "·"})]  # a state is there or not; its value says nothing
    if panel.levels:
        steps = [
            {"value": None if at == 0 else value, "color": _COLOURS[level]}
            for at, (value, level) in enumerate(panel.levels.items())
        ]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    return defaults


def _mapping(texts: Mapping[str, str]) -> dict[str, Any]:
    return {"type": "value", "options": {value: {"text": text, "index": int(value)} for value, text in texts.items()}}


def _columns(panel: Panel) -> list[dict[str, Any]]:
    """Show the named labels in their order, and nothing else."""
    return [
        {"id": "filterFieldsByName", "options": {"include": {"names": list(panel.columns)}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: at for at, name in enumerate(panel.columns)},
                "renameByName": {"Value": "how many"} if "Value" in panel.columns else {},
            },
        },
    ]


_LINES = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": False}
_DRAWN: dict[str, dict[str, Any]] = {
    "lines": _LINES,
    "areas": {**_LINES, "fillOpacity": 30, "stacking": {"mode": "normal", "group": "A"}},
    "states": {"fillOpacity": 70, "lineWidth": 0},
}
_OVER_TIME = {
    "legend": {
        "displayMode": "table",
        "placement": "bottom",
        "showLegend": True,
        "calcs": ["lastNotNull", "max"],
        "sortBy": "Max",  # what is always 0 comes last
        "sortDesc": True,
    },
    "tooltip": {"mode": "multi", "sort": "desc"},
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "lines": _OVER_TIME,
    "areas": _OVER_TIME,
    "figure": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value",
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
    "states": {"showValue": "never", "rowHeight": 0.8, "mergeValues": True, "legend": {"showLegend": False}},
}
