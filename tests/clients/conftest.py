"""A real daemon with the demo model, watched for connections, and each client's report about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.daemon import Daemon
from tests.clients import environments
from tests.clients.asked import ASKED, MODEL, QUESTION, Reference, Report

# Imported before anything of the daemon: whatever it looks up or connects to, its own address too, goes into a file.
_WATCH = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = address[0] if isinstance(address, tuple) else address
        with open(os.environ["RUNNER_TEST_CONNECTIONS"], "a") as seen:
            seen.write(f"{host}\\n")

if "RUNNER_TEST_CONNECTIONS" in os.environ:
    sys.addaudithook(watch)
"""


def watched(home: Path, folder: Path, **settings: object) -> tuple[Daemon, Path]:
    """A daemon that isn't started yet, and the file with the hosts that it will have connected to, one on a line."""
    (folder / "sitecustomize.py").write_text(_WATCH, encoding="utf-8")
    connections = folder / "connections"
    daemon = Daemon(home, **settings)
    daemon.environment |= {"PYTHONPATH": str(folder), "RUNNER_TEST_CONNECTIONS": str(connections)}
    return daemon, connections


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Shared by all clients. That it called nobody else is checked when they are done."""
    running, connections = watched(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("watch"))
    with running:
        yield running
    assert set(connections.read_text(encoding="utf-8").split()) == {"127.0.0.1"}


@pytest.fixture(scope="session")
def reference(daemon: Daemon) -> Reference:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "stream": False}
    answer = daemon.post("/api/chat", asked)
    return Reference(answer["message"]["content"], answer["prompt_eval_count"], answer["eval_count"])


@pytest.fixture(scope="session")
def environments_cache(request: pytest.FixtureRequest) -> Path:
    """Where the clients' environments lie, from one run to the next: `-o cache_dir=…` puts them elsewhere."""
    assert request.config.cache is not None
    return request.config.cache.mkdir("clients")


@pytest.fixture(scope="session")
def report(daemon: Daemon, environments_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """By language and client, what each step of its script gave; the script runs once."""
    reports: dict[tuple[str, str], dict[str, Any] | environments.CannotInstall] = {}

    def make(language: str, client: str) -> dict[str, Any] | environments.CannotInstall:
        run = environments.python_report if language == "python" else environments.node_report
        if language == "node" and shutil.which("node") is None:
            return environments.CannotInstall("Node is not installed")
        try:
            return run(environments_cache, client, [daemon.url, json.dumps(ASKED)], tmp_path_factory.mktemp(client))
        except environments.CannotInstall as error:
            return error

    def get(language: str, client: str) -> dict[str, Any]:
        key = (language, client)
        if key not in reports:
            reports[key] = make(language, client)
        made = reports[key]
        if isinstance(made, environments.CannotInstall):
            pytest.skip(f"{client} for {language} can't be had here: {made}")
        return made

    return get
