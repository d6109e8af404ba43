"""What NetworkPolicies let through, by the rules of Kubernetes: a small judge, for there is no network to ask here.

Knows pods by their labels and namespace, named and numbered ports, selectors and address blocks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """One end of a connection: a pod, or an address that is none."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "flowers"
    ports: Mapping[str, int] = field(default_factory=dict)
    """By name."""
    address: str = ""
    """Of something outside; empty for a pod."""


def allowed(policies: Sequence[Policy], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether both ends let it pass; `policies` are all of namespace `flowers`."""
    out = _passes(policies, "Egress", source, target, target, port, protocol)
    return out and _passes(policies, "Ingress", target, source, target, port, protocol)


def _passes(
    policies: Sequence[Policy], kind: str, whose: Place, other: Place, target: Place, port: int, protocol: str
) -> bool:
    if whose.address or whose.namespace != "flowers":
        return True
    of_this_pod = [
        policy["spec"]
        for policy in policies
        if kind in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], whose.labels)
    ]
    rules = [rule for spec in of_this_pod for rule in spec.get(kind.lower(), ())]
    peers = "to" if kind == "Egress" else "from"
    return not of_this_pod or any(
        _has_port(rule.get("ports"), target, port, protocol) and _has_peer(rule.get(peers), other) for rule in rules
    )


def _has_port(ports: Sequence[Mapping[str, Any]] | None, target: Place, port: int, protocol: str) -> bool:
    if not ports:
        return True
    numbers = [(target.ports.get(item["port"], item["port"]), item.get("protocol", "TCP")) for item in ports]
    return (port, protocol) in numbers


def _has_peer(peers: Sequence[Mapping[str, Any]] | None, other: Place) -> bool:
    return not peers or any(_is_peer(peer, other) for peer in peers)


def _is_peer(peer: Mapping[str, Any], other: Place) -> bool:
    if "ipBlock" in peer:
        block = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return bool(other.address) and ipaddress.ip_address(other.address) in block
    if other.address:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != "flowers":
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert all(item["operator"] == "In" for item in expressions), "this judge knows no other"
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(item["key"]) in item["values"] for item in expressions
    )
