"""The command lines of a control plane's programs; starts none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from servers import free_port

STAGES = Path(__file__).parent / "stages.yaml"
TOKEN_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Layout:
    """Where one control plane has its programs, files and ports."""

    programs: Path
    folder: Path
    etcd_port: int
    api_port: int

    @classmethod
    def new(cls, programs: Path, folder: Path) -> Layout:
        return cls(programs, folder, free_port(), free_port())

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    def kubeconfig(self, client: str) -> Path:
        return self.folder / f"{client}.kubeconfig"

    def certificate(self, name: str) -> str:
        return str(self.certificates / name)


def etcd(at: Layout) -> list[str]:
    url = f"http://127.0.0.1:{at.etcd_port}"
    return [
        str(at.programs / "etcd"),
        f"--data-dir={at.folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",  # one member: nobody calls it
        "--unsafe-no-fsync",  # the data ends with the test run
        "--log-level=warn",
    ]  # fmt: skip


def api_server(at: Layout) -> list[str]:
    return [
        str(at.programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{at.etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",  # else a machine without a default route ends the start-up
        "--endpoint-reconciler-type=none",  # the `kubernetes` Service refuses loopback endpoints
        f"--secure-port={at.api_port}",
        f"--cert-dir={at.folder}",
        f"--tls-cert-file={at.certificate('apiserver.crt')}",
        f"--tls-private-key-file={at.certificate('apiserver.key')}",
        f"--client-ca-file={at.certificate('ca.crt')}",
        "--authorization-mode=Node,RBAC",
        f"--service-account-issuer={TOKEN_ISSUER}",
        f"--service-account-key-file={at.certificate('sa.pub')}",
        f"--service-account-signing-key-file={at.certificate('sa.key')}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",  # as everywhere; who may ask for it is for Pod Security to say
        "--enable-priority-and-fairness=false",
    ]


def controller_manager(at: Layout) -> list[str]:
    return [
        str(at.programs / "kube-controller-manager"),
        f"--kubeconfig={at.kubeconfig('kube-controller-manager')}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={at.certificate('ca.crt')}",
        f"--service-account-private-key-file={at.certificate('sa.key')}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--horizontal-pod-autoscaler-sync-period=2s",
    ]


def scheduler(at: Layout) -> list[str]:
    kubeconfig = at.kubeconfig("kube-scheduler")
    program = str(at.programs / "kube-scheduler")
    return [program, f"--kubeconfig={kubeconfig}", "--secure-port=0", "--leader-elect=false"]


def kwok(program: Path, kubeconfig: Path) -> list[str]:
    """Plays the kubelets of the nodes annotated as fake, and of no other."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--cidr=10.244.0.0/16",
        "--node-ip=10.0.0.1",
        "--node-lease-duration-seconds=40",
        f"--config={STAGES}",
    ]


def fake_node(name: str) -> dict[str, object]:
    """A Node that kwok plays; its capacity comes from the stages."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
    metadata = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
