"""A throw-away certificate authority for one control plane, made by the openssl command; starts nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")  # RSA keys would cost seconds
DAYS = "2"
NAMES_OF_THE_API_SERVER = "IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"

# Who calls the API server: file name -> subject. The controllers' names are those that RBAC's built-in bindings know.
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
}


def create_certificates(folder: Path) -> None:
    """Write ca, apiserver and the clients (`.crt`, `.key`), and the keys of ServiceAccount tokens (sa.key, sa.pub)."""
    folder.mkdir()
    # Without a configuration of our own, openssl adds the extensions of a CA to every certificate.
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    _certificate(folder, "ca", "/CN=iris-test-ca", "basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign")
    _leaf(folder, "apiserver", "/CN=kube-apiserver", "serverAuth", f"subjectAltName={NAMES_OF_THE_API_SERVER}")
    for name, subject in CLIENTS.items():
        _leaf(folder, name, subject, "clientAuth")
    _openssl(folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "sa.key")
    _openssl(folder, "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def _leaf(folder: Path, name: str, subject: str, usage: str, *extensions: str) -> None:
    _certificate(
        folder, name, subject, f"extendedKeyUsage={usage}", *extensions, signer=("-CA", "ca.crt", "-CAkey", "ca.key")
    )


def _certificate(folder: Path, name: str, subject: str, *extensions: str, signer: tuple[str, ...] = ()) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt", "-config", "openssl.cnf")
    added = [word for extension in extensions for word in ("-addext", extension)]
    _openssl(folder, "req", "-x509", *CURVE, *signer, *files, "-days", DAYS, "-subj", subject, *added)


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"
