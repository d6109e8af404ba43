"""Which programs make up the control plane, in which version: the only place that knows; it fetches nothing.

The versions are those that the committed go.mod files require, so that a download and a build can never be of two sets.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "go"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

# The module that each wrapper under go/ exists for.
PINNED = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kubernetes": "k8s.io/kubernetes",
    "kwok": "sigs.k8s.io/kwok",
    "helm": "helm.sh/helm/v4",
    "more/helm3": "helm.sh/helm/v3",
}

# What the linker writes into each program; unset, /version would say v0.0.0 and charts would refuse the cluster.
_OF_KUBERNETES = "gitVersion={version} gitMajor={major} gitMinor={minor} gitTreeState=archive"
STAMPS = {
    "etcd": {},
    "kubernetes": dict.fromkeys(("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"), _OF_KUBERNETES),
    "kwok": {"sigs.k8s.io/kwok/pkg/consts": "Version={version}"},
    "helm": {"helm.sh/helm/v4/internal/version": "version={version}"},
    "more/helm3": {"helm.sh/helm/v3/internal/version": "version={version}"},
}

KUBERNETES = "https://dl.k8s.io/release/{version}/bin/linux/{arch}/{name}"
ETCD = "https://github.com/etcd-io/etcd/releases/download/{version}/"
KWOK = "https://github.com/kubernetes-sigs/kwok/releases/download/{version}/kwok-linux-{arch}"
# kwok publishes no checksum file; GitHub says a digest for each file of a release.
KWOK_DIGESTS = "https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/{version}"
HELM = "https://get.helm.sh/helm-{version}-linux-{arch}.tar.gz"


@dataclass(frozen=True)
class Tool:
    """One program: the wrapper module that pins it, the package that builds it, and where its Linux release lies."""

    name: str
    wrapper: str
    package: str
    release: str  # address of the program, or of the archive that holds it
    checksum: str  # address of a text that gives the SHA-256 of `release`
    released_as: str = ""  # its name there, where that is another

    @property
    def version(self) -> str:
        return required_version(self.wrapper)

    @property
    def linker_flags(self) -> str:
        """Stripped, and told its version."""
        major, minor, _ = self.version.removeprefix("v").split(".", 2)
        flags = ["-s -w"]
        for package, stamps in STAMPS[self.wrapper].items():
            values = stamps.format(version=self.version, major=major, minor=minor).split()
            flags += [f"-X {package}.{value}" for value in values]
        return " ".join(flags)

    def address(self, template: str) -> str:
        """`template` with this tool's name and version and this machine's architecture."""
        return template.format(name=self.name, version=self.version, arch=ARCHITECTURE)


TOOLS = (
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", ETCD + "etcd-{version}-linux-{arch}.tar.gz", ETCD + "SHA256SUMS"),
    *(
        Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", KUBERNETES, KUBERNETES + ".sha256")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    ),
    Tool("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", KWOK, KWOK_DIGESTS),
    Tool("helm", "helm", "helm.sh/helm/v4/cmd/helm", HELM, HELM + ".sha256sum"),
)


# Not part of the set, so that a new one does not cost the half hour that the set takes to build.
MORE = (Tool("helm3", "more/helm3", "helm.sh/helm/v3/cmd/helm", HELM, HELM + ".sha256sum", "helm"),)


def required_version(wrapper: str) -> str:
    """The version, `v1.2.3`, that the wrapper's go.mod requires of the module it exists for."""
    go_mod = (MODULES / wrapper / "go.mod").read_text()
    found = re.search(rf"^(?:require)?\s*{re.escape(PINNED[wrapper])} (v\S+)", go_mod, re.MULTILINE)
    assert found, f"{wrapper}/go.mod no longer requires {PINNED[wrapper]}"
    return found[1]


def set_name() -> str:
    """Names this set of programs on this kind of machine; other pins or other flags give another name."""
    digest = hashlib.sha256(f"{platform.system()} {ARCHITECTURE}".encode())
    for pins in sorted(MODULES.glob("*/go.*")):
        digest.update(pins.read_bytes())
    for tool in TOOLS:
        digest.update(f"{tool.package} {tool.linker_flags}".encode())
    return f"{required_version('kubernetes')}-{digest.hexdigest()[:12]}"


def name_of_more(tool: Tool) -> str:
    """The same for one of `MORE`."""
    digest = hashlib.sha256(f"{platform.system()} {ARCHITECTURE} {tool.package} {tool.linker_flags}".encode())
    for pins in sorted((MODULES / tool.wrapper).glob("go.*")):
        digest.update(pins.read_bytes())
    return f"{tool.name}-{tool.version}-{digest.hexdigest()[:12]}"
