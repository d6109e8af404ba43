"""Values that people combine, by name: each must render, be valid and be safe."""

from __future__ import annotations

from typing import Any

DIGEST = f"sha256:{'c' * 64}"
EXTERNAL = {"valkey": {"enabled": False}, "redis": {"existingSecret": "my-redis"}}
PLACED = {
    "priorityClassName": "important",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "arch", "operator": "In", "values": ["amd64"]}]}]
            }
        }
    },
}

WATCHED = [
    {"name": "IRIS_DRIFT_MIN_ROWS", "value": "1000"},
    {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.tracing:4318"},
]
TO_THE_COLLECTOR = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tracing"}}}],
    "ports": [{"port": 4318, "protocol": "TCP"}],
}

MONITORED: dict[str, Any] = {
    "monitoring": {part: {"enabled": True} for part in ("podMonitor", "prometheusRule", "dashboards")}
}

COMBINATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "without operator": {"operator": {"enabled": False}},
    "answered inline": {"api": {"sync": "inline", "resources": {"limits": {"memory": "512Mi"}}}},
    "without operator, in detail": {
        "operator": {"enabled": False},
        "model": {"worker": {"replicas": 3, "jobTimeoutSeconds": 100, "batchSize": 8}},
    },
    "without operator and model": {"operator": {"enabled": False}, "model": {"enabled": False}},
    "without a model": {"model": {"enabled": False}},
    "another model": {"model": {"name": "tulips", "version": "2026.1", "digest": DIGEST, "format": "skops"}},
    "fixed workers": {"model": {"worker": {"replicas": 0}}},
    "workers that follow the queue": {
        "model": {
            "worker": {
                "autoscaling": {"minReplicas": 0, "maxReplicas": 20, "maxQueueWaitSeconds": 5},
                "jobTimeoutSeconds": 86400,
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
            },
            "rollout": {"strategy": "Canary", "steps": [{"weight": 5, "pauseSeconds": 30}], "autoRollback": False},
        }
    },
    "a queue of one's own": EXTERNAL,
    "a queue of one's own with a CA": {**EXTERNAL, "redis": {"existingSecret": "my-redis", "caSecret": "my-ca"}},
    "a queue of one's own, no operator": {
        **EXTERNAL,
        "redis": {"existingSecret": "my-redis", "caSecret": "my-ca"},
        "operator": {"enabled": False},
        "networkPolicy": {"redisTo": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "redisPorts": [6379, 26379]},
    },
    "passwords of one's own": {"valkey": {"existingSecret": "my-valkey"}},
    "a queue without a volume": {"valkey": {"persistence": {"enabled": False}}},
    "a larger queue": {
        "valkey": {
            "maxMemory": "2gb", "appendfsync": "always", "persistence": {"size": "10Gi", "storageClass": "fast"},
            "image": {"repository": "mirror.example.com/valkey", "digest": DIGEST},
            "resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "4Gi"}},
        }
    },
    "an API that scales": {"api": {"autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 9}}},
    "an API in the open": {
        "api": {
            "service": {"type": "LoadBalancer", "port": 80, "annotations": {"lb.example.com/internal": "true"}},
            "ingress": {
                "enabled": True, "className": "nginx", "hosts": ["iris.example.com", "flowers.example.com"],
                "tls": [{"secretName": "iris-tls", "hosts": ["iris.example.com"]}], "annotations": {"a": "b"},
            },
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["iris.example.com"]},
        }
    },
    "an API that stops at once": {
        "api": {"preStopSeconds": 0, "drainSeconds": 0, "podDisruptionBudget": {"enabled": False}}
    },
    "an API with more": {
        "api": {
            "env": [{"name": "IRIS_MAX_ROWS", "value": "10"}],
            "extraVolumes": [{"name": "more", "configMap": {"name": "more"}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/etc/more", "readOnly": True}],
            "podAnnotations": {"checksum/more": "1"},
        }
    },
    "callers with keys": {
        "api": {
            "auth": {"mode": "api-key", "apiKeysSecret": "my-keys"},
            "limits": {"callerRate": 2.5, "callerInFlight": 10},
        }
    },
    "callers with tokens": {"api": {"auth": {"mode": "tokenreview", "audience": "flowers"}}},
    "images of one's own": {
        "image": {
            "registry": "registry.example.com/team", "tag": "main", "pullPolicy": "Always", "pullSecrets": ["a", "b"],
        },
        "api": {"image": {"repository": "my-api", "digest": DIGEST}},
        "worker": {"image": {"digest": DIGEST}},
    },
    "jobs of another life": {"jobs": {"attempts": 2, "deadlineSeconds": 604800, "resultTtlSeconds": 60}},
    "jobs of another life, no operator": {
        "jobs": {"attempts": 2, "deadlineSeconds": 604800, "resultTtlSeconds": 60}, "operator": {"enabled": False},
    },
    "models of one's own": {"models": {"existingClaim": "my-models"}},
    "models of one's own, no operator": {"models": {"existingClaim": "my-models"}, "operator": {"enabled": False}},
    "placed": dict.fromkeys(("api", "worker", "recovery", "operator", "valkey"), PLACED),
    "placed, no operator": {"worker": PLACED, "operator": {"enabled": False}},
    "named and labelled": {"fullnameOverride": "flowers", "commonLabels": {"team": "botany"}},
    "without policies": {"networkPolicy": {"enabled": False}},
    "narrow policies": {
        "networkPolicy": {
            "apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
            "metricsFrom": [],
            "kubernetesCidrs": ["10.0.0.1/32", "fd00::1/128"],
        }
    },
    "watched": {
        "api": {"env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.tracing:4318"}]},
        "worker": {"env": WATCHED},
        "networkPolicy": {"egress": [TO_THE_COLLECTOR]},
    },
    "watched, no operator": {"worker": {"env": WATCHED}, "operator": {"enabled": False}},
    "monitored": MONITORED,
    "monitored, no operator": {"monitoring": MONITORED["monitoring"], "operator": {"enabled": False}},
    "monitored, in detail": {
        "fullnameOverride": "flowers",
        "commonLabels": {"team": "botany", "release": "flowers"},
        "monitoring": {
            "podMonitor": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}, "intervalSeconds": 30},
            "prometheusRule": {
                "enabled": True,
                "labels": {"release": "kube-prometheus-stack"},
                "runbookUrl": "https://wiki.example.com/iris/operations?v=2",
            },
            "dashboards": {
                "enabled": True,
                "labels": {"grafana_dashboard": "iris"},
                "annotations": {"grafana_folder": "Iris"},
            },
        },
    },
    "talkative": {"operator": {"logLevel": "DEBUG", "tickSeconds": 0.5}, "recovery": {"replicas": 2}},
}  # fmt: skip
