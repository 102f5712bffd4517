"""Names that lead to this machine, Docker's configs and certificates: what tests of registries need around them."""

import base64
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

ALICE = "Basic " + base64.b64encode(b"alice:s3cret").decode()


def docker_config(folder: Path, *hosts: str, password: str = "s3cret", **more: Any) -> Path:
    """A folder with a config.json in which alice is logged in to hosts; `more` are further entries of it."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"alice:{password}".encode()).decode()
    value = {"auths": {host: {"auth": auth} for host in hosts}} | more
    (folder / "config.json").write_text(json.dumps(value))
    return folder


def name_hosts(monkeypatch: pytest.MonkeyPatch, *names: str, public: bool = True) -> None:
    """Let host names lead to this machine, as if it were at a public address."""
    real = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host in names else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    if public:
        monkeypatch.setattr("registry.transfer.http.is_public", lambda address: address == "127.0.0.1")


def certificate(folder: Path) -> str:
    """A certificate that nobody signed, with its key, as a PEM file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate, and isn't installed")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=tests"]
    subprocess.run([openssl, "req", "-x509", *made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return str(both)
