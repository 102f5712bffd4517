"""Docker's credentials: which entry is a host's, and what helper programs are asked."""

import base64
import json
import logging
import os
from pathlib import Path

import pytest

from registry.oci.credentials import Credential, Credentials
from tests.registry.registries import docker_config

ALICE = Credential("alice", "s3cret")
HUB = "https://index.docker.io/v1/"

HELPER = """#!/bin/sh
echo "$@" >> "{log}"
read host
echo "$host" >> "{log}"
{answer}
"""


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that comes first on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def helper(folder: Path, name: str, answer: str) -> Path:
    """A credential helper; returns its log of arguments and hosts."""
    log = folder / f"{name}.log"
    program = folder / f"docker-credential-{name}"
    program.write_text(HELPER.format(log=log, answer=answer))
    program.chmod(0o755)
    return log


def said(user: str, secret: str) -> str:
    return f"echo '{json.dumps({'ServerURL': 'x', 'Username': user, 'Secret': secret})}'"


@pytest.mark.parametrize(
    ("key", "host", "found"),
    [
        ("registry.example", "registry.example", True),
        ("registry.example", "REGISTRY.example", True),
        ("https://registry.example/v2/", "registry.example", True),
        ("http://registry.example:5000", "registry.example:5000", True),
        ("registry.example", "registry.example:5000", False),
        ("registry.example:5000", "registry.example", False),
        ("registry.example", "sub.registry.example", False),
        (HUB, "registry-1.docker.io", True),
        ("docker.io", "registry-1.docker.io", True),
        ("index.docker.io", "docker.io", True),
        (HUB, "auth.docker.io", False),
    ],
)
def test_an_entry_is_for_one_host_and_port(tmp_path: Path, key: str, host: str, found: bool) -> None:
    assert Credentials(docker_config(tmp_path, key)).of(host) == (ALICE if found else None)


def test_the_hubs_own_key_comes_before_its_other_names(tmp_path: Path) -> None:
    other = base64.b64encode(b"bob:x").decode()
    auths = {"docker.io": {"auth": other}, HUB: {"auth": base64.b64encode(b"alice:s3cret").decode()}}
    assert Credentials(docker_config(tmp_path, auths=auths)).of("registry-1.docker.io") == ALICE


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"username": "alice", "password": "s3cret"}, ALICE),
        ({"auth": base64.b64encode(b"alice:s3:cret").decode()}, Credential("alice", "s3:cret")),
        (
            {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": "t"},
            Credential("<token>", "t", "identity"),
        ),
        ({"registrytoken": "t"}, Credential("", "t", "registry")),
        ({}, None),
        ({"auth": "not base64!"}, None),
        ({"auth": 7}, None),
        ("alice", None),
    ],
)
def test_entries_come_in_several_forms(tmp_path: Path, entry: object, found: Credential | None) -> None:
    assert Credentials(docker_config(tmp_path, auths={"a.example": entry})).of("a.example") == found


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 9999, '{"auths": 1, "credHelpers": [], "credsStore": 2}'])
def test_a_config_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert Credentials(tmp_path).of("a.example") is None


def test_the_environment_names_the_folder_and_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_USERNAME", "alice")
    monkeypatch.setenv("DOCKER_PASSWORD", "s3cret")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert Credentials().of("a.example") is None
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "some", "b.example")))
    assert Credentials().of("a.example") is None
    assert Credentials().of("b.example") == ALICE


def test_a_hosts_own_helper_comes_before_the_one_for_all(tmp_path: Path, helpers: Path) -> None:
    own = helper(helpers, "own", said("alice", "s3cret"))
    for_all = helper(helpers, "all", said("<token>", "identity0"))
    folder = docker_config(tmp_path, "a.example", credHelpers={"a.example": "own"}, credsStore="all")
    credentials = Credentials(folder)
    assert credentials.of("a.example") == ALICE
    assert credentials.of("a.example") == ALICE
    assert own.read_text() == "get\na.example\n"  # once, and never on its command line
    assert not for_all.exists()
    assert credentials.of("registry-1.docker.io") == Credential("<token>", "identity0", "identity")
    assert for_all.read_text() == f"get\n{HUB}\n"


def test_a_helper_that_has_nothing_leaves_it_to_the_file(tmp_path: Path, helpers: Path) -> None:
    log = helper(helpers, "all", "echo 'credentials not found in native keychain'; exit 1")
    credentials = Credentials(docker_config(tmp_path, "a.example", credsStore="all"))
    assert credentials.of("a.example") == ALICE
    assert credentials.trouble("a.example") == ""
    assert log.read_text() == "get\na.example\nget\nhttps://a.example\n"


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ("echo locked >&2; exit 2", "failed with status 2"),
        ("exec sleep 60", "gave no answer"),
        ("echo '[]'", ""),
        ('echo \'{"Username": 1, "Secret": 2}\'', ""),
        ("head -c 100000 /dev/zero", ""),
    ],
)
def test_a_helper_that_fails_is_no_more_than_trouble(tmp_path: Path, helpers: Path, answer: str, trouble: str) -> None:
    helper(helpers, "bad", answer)
    credentials = Credentials(docker_config(tmp_path, credsStore="bad"), seconds=0.5)
    assert credentials.of("a.example") is None
    assert trouble in credentials.trouble("a.example")


@pytest.mark.parametrize("name", ["../own", "a b", "", "$(touch x)", "/bin/sh"])
def test_helpers_are_names_and_no_commands(tmp_path: Path, helpers: Path, name: str) -> None:
    credentials = Credentials(docker_config(tmp_path, credsStore=name))
    assert credentials.of("a.example") is None
    assert credentials.trouble("a.example") == "" or "makes no sense" in credentials.trouble("a.example")


def test_a_missing_helper_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(docker_config(tmp_path, credsStore="nowhere-to-be-found"))
    assert credentials.of("a.example") is None
    assert "can't be run" in credentials.trouble("a.example")
    assert "s3cret" not in caplog.text
