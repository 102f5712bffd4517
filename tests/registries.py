"""Debian's `docker-registry` on loopback: the real component that pushes and pulls are tested with.

Starts it with a folder and a port of its own, with or without a password, and ends it. Knows nothing of Runner.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.benchmarks.daemon import free_port

USER, PASSWORD = "anna", "open sesame"
# bcrypt of the password above with cost 4: the only kind of entry that the registry reads.
_HTPASSWD = "anna:$2y$04$hUmtbvtoRALHUUbeFmBy9u4UeqathAqGOwoyhO5PWQT1c.nIC1Hum\n"
_CONFIG = """\
version: 0.1
log: {{level: error, formatter: json}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
  secret: known to every start, so that uploads outlive one
"""
_AUTH = """\
auth:
  htpasswd: {{realm: tests, path: {folder}/htpasswd}}
"""

needed = pytest.mark.skipif(
    shutil.which("docker-registry") is None,
    reason="needs Debian's package docker-registry, which runs a container registry on loopback",
)
"""Marks tests that start one."""


class Registry:
    """A running registry. `host` is what its models' names begin with; with `locked`, it wants USER and PASSWORD."""

    def __init__(self, folder: Path, *, locked: bool = False) -> None:
        self.folder = folder
        self.locked = locked
        self.port = free_port()
        self.host = f"localhost:{self.port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "registry.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, timeout: float = 30.0) -> None:
        """Start it, or start it again with what it has; raises RuntimeError with its log when it doesn't come up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        text = _CONFIG.format(storage=self.folder / "storage", port=self.port)
        if self.locked:
            (self.folder / "htpasswd").write_text(_HTPASSWD)
            text += _AUTH.format(folder=self.folder)
        config.write_text(text)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.ask("GET", "")
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"the registry did not come up: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        """A plain request below /v2/, as any client would make it: status and body."""
        if self.locked:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(f"{self.url}/v2/{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def requests(self) -> list[str]:
        """Method and path of every request so far, as its log has them."""
        found = re.findall(r'"([A-Z]+) (/v2/\S*) HTTP/1\.1"', self.log.read_text(errors="replace"))
        return [f"{method} {path}" for method, path in found]

    def manifest(self, repository: str, tag: str) -> Any:
        """A manifest as JSON."""
        status, body = self.ask(
            "GET", f"{repository}/manifests/{tag}", Accept="application/vnd.oci.image.manifest.v1+json"
        )
        assert status == 200, body
        return json.loads(body)

    def blob(self, repository: str, digest: str) -> bytes:
        """A blob's bytes."""
        status, body = self.ask("GET", f"{repository}/blobs/{digest}")
        assert status == 200, body
        return body

    def blobs(self) -> set[str]:
        """Digests of all blobs that it holds, by its files: manifests are blobs as well."""
        root = self.folder / "storage" / "docker" / "registry" / "v2" / "blobs" / "sha256"
        return {f"sha256:{each.parent.name}" for each in root.glob("*/*/data")}


def docker_login(folder: Path, host: str, user: str = USER, password: str = PASSWORD) -> Path:
    """A folder for DOCKER_CONFIG, as `docker login` would leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder
