"""Models pushed to a real container registry and pulled from it into an empty home, by real daemons and commands."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelfiles.embedded import demo_gguf
from registry.names import Name
from tests import tiny_gguf
from tests.end_to_end.terminal import Terminal
from tests.registries import Registry, docker_login, needed
from tests.sluice import Sluice

pytestmark = [pytest.mark.faults, needed]

JINJA = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
GO = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n"
LARGE, MIDDLE = 128 << 20, 70 << 20  # bytes: of a model that goes in several parts, and within its second one
TEXTS = (
    'PARAMETER temperature 0\nPARAMETER stop "<|im_end|>"\nPARAMETER stop "§"\n'
    "MESSAGE user Hi\nMESSAGE assistant Hello.\n"
    'LICENSE """MIT, but longer."""\nLICENSE """And another one."""\n'
)


class Home:
    """A home of its own with its daemon, and what its store holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = Terminal(folder)

    def __call__(self, *arguments: str) -> str:
        """Type a command that must work; what it says on both ends."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def manifest(self, name: str) -> Any:
        path = self.folder / "data" / "models" / "manifests"
        return json.loads(path.joinpath(*Name.parse(name).parts).read_bytes())

    def blob(self, digest: str) -> Path:
        return self.folder / "data" / "models" / "blobs" / digest.replace(":", "-")

    def create(self, name: str, files: dict[str, bytes], modelfile: str) -> None:
        work = self.folder / "work" / name
        work.mkdir(parents=True)
        for title, data in files.items():
            (work / title).write_bytes(data)
        (work / "Modelfile").write_text(modelfile)
        self("create", name, "-f", str(work / "Modelfile"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Where models are made: one with a file of every kind, and two that run."""
    home = Home(tmp_path_factory.mktemp("here"))
    files = {f"tiny-{index + 1:05d}-of-00003.gguf": data for index, data in enumerate(tiny_gguf.shards(3))}
    style = tiny_gguf.adapter(target="blk.0.weight", height=4)
    files |= {"mmproj-F16.gguf": tiny_gguf.projector(), "style.gguf": style, "draft.gguf": tiny()}
    home.create(
        "full",
        files,
        "FROM ./tiny-00001-of-00003.gguf\nFROM ./mmproj-F16.gguf\nADAPTER ./style.gguf\nDRAFT ./draft.gguf\n"
        f'TEMPLATE """{JINJA}"""\nSYSTEM Be brief.\n{TEXTS}',
    )
    weights = {"demo.gguf": demo_gguf().read_bytes()}
    home.create("go", weights, f'FROM ./demo.gguf\nTEMPLATE """{GO}"""\nSYSTEM You are Runner.\n{TEXTS}')
    home.create("jinja", weights, f'FROM ./demo.gguf\nTEMPLATE """{JINJA}"""\nSYSTEM You are Runner.\n{TEXTS}')
    yield home
    home.run("shutdown")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Home]:
    """An empty home."""
    home = Home(tmp_path / "there")
    yield home
    home.run("shutdown")


def tiny(seed: str = "draft", size: int = 0) -> bytes:
    tensors = [tiny_gguf.Tensor("token_embd.weight", (64, 4)), tiny_gguf.Tensor("filler.weight", (size // 4,))]
    return tiny_gguf.model(extra={"general.version": seed}, tensors=tensors if size else None).build()


def assert_same(here: Home, name: str, there: Home, pulled: str) -> None:
    """Both stores hold the same model: layers and config, digest by digest and byte by byte."""
    ours, theirs = here.manifest(name), there.manifest(pulled)
    assert theirs["layers"] == ours["layers"]
    assert theirs["config"] == ours["config"]
    for each in (*theirs["layers"], theirs["config"]):
        assert there.blob(each["digest"]).read_bytes() == here.blob(each["digest"]).read_bytes()


@pytest.mark.parametrize("form", ["docker", "cncf"])
@pytest.mark.parametrize("model", ["full", "go", "jinja"])
def test_the_same_model_in_an_empty_home(here: Home, there: Home, registry: Registry, model: str, form: str) -> None:
    name = f"{registry.host}/team/{model}:{form}"
    assert "success" in here("push", model, name, "--format", form)
    there("pull", name)
    assert_same(here, model, there, name)
    if model != "full":
        answer = there("run", name, "How do I pull a model?")
        assert "runner pull" in answer
    there("push", name, f"{registry.host}/copies/{model}:{form}", "--format", form)
    assert registry.manifest(f"copies/{model}", form) == registry.manifest(f"team/{model}", form)


def test_what_others_look_for(here: Home, registry: Registry) -> None:
    here("push", "full", f"{registry.host}/team/others:v1", "--format", "both")
    as_llama_cpp(registry, "team/others", "v1", tiny_gguf.shards(3)[0])
    as_docker_model_runner(registry, "team/others", "v1")
    as_modelpack(registry, "team/others", "v1-cncf")


def as_llama_cpp(registry: Registry, repository: str, tag: str, weights: bytes) -> None:
    """Takes the first layer whose type has 'gguf' in it, and nothing else."""
    layers = registry.manifest(repository, tag)["layers"]
    first = next(each for each in layers if "gguf" in each["mediaType"])
    assert first["mediaType"] == "application/vnd.docker.ai.gguf.v3"
    assert registry.blob(repository, first["digest"]) == weights


def as_docker_model_runner(registry: Registry, repository: str, tag: str) -> None:
    """Wants its own config type, uncompressed layers that the config lists, one projector and one template."""
    manifest = registry.manifest(repository, tag)
    assert manifest["config"]["mediaType"] == "application/vnd.docker.ai.model.config.v0.1+json"
    config = json.loads(checked(registry, repository, manifest["config"]))
    assert config["config"]["format"] == "gguf"
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]
    by_type: dict[str, list[bytes]] = {}
    for each in manifest["layers"]:
        by_type.setdefault(each["mediaType"], []).append(checked(registry, repository, each))
    ai = "application/vnd.docker.ai."
    assert by_type[f"{ai}gguf.v3"] == tiny_gguf.shards(3)
    assert by_type[f"{ai}mmproj"] == [tiny_gguf.projector()]
    assert by_type[f"{ai}chat.template.jinja"] == [JINJA.encode()]
    assert len(by_type[f"{ai}license"]) == 2


def as_modelpack(registry: Registry, repository: str, tag: str) -> None:
    """Unpacks every layer under its path, and knows weights by their type and projectors by their name."""
    manifest = registry.manifest(repository, tag)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    config = json.loads(checked(registry, repository, manifest["config"]))
    assert config["modelfs"]["diffIds"] == [each["digest"] for each in manifest["layers"]]
    files = {each["annotations"]["org.cncf.model.filepath"]: each for each in manifest["layers"]}
    assert len(files) == len(manifest["layers"])
    raw = [path for path, each in files.items() if each["mediaType"].endswith("model.weight.v1.raw")]
    assert [path for path in raw if "mmproj" in path] == ["mmproj-F16.gguf"]
    assert raw[:3] == [f"tiny-{index:05d}-of-00003.gguf" for index in (1, 2, 3)]


def checked(registry: Registry, repository: str, layer: Any) -> bytes:
    data = registry.blob(repository, layer["digest"])
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer["digest"]
    assert len(data) == layer["size"]
    return data


def test_pushed_again_nothing_is_sent(here: Home, there: Home, registry: Registry) -> None:
    name = f"{registry.host}/team/twice"
    here("cp", "go", name)
    here("push", name)
    before = len(registry.requests())
    here("push", name)
    again = registry.requests()[before:]
    assert again
    assert not [each for each in again if "/blobs/uploads/" in each]
    there("pull", name)
    there("push", name, f"{registry.host}/elsewhere/twice")
    other = [each for each in registry.requests() if "/elsewhere/twice/blobs/uploads/" in each]
    assert other
    assert all(each.startswith("POST") and "mount=" in each for each in other), "what lies next door was sent again"


def test_a_registry_that_is_killed_in_the_middle(here: Home, tmp_path: Path) -> None:
    data = tiny("large", LARGE)
    here.create("large", {"large.gguf": data}, "FROM ./large.gguf\n")
    with Registry(tmp_path / "registry") as registry, Sluice(registry.port, MIDDLE) as sluice:
        command = [sys.executable, "-m", "runner", "push", "large", f"localhost:{sluice.port}/team/large"]
        with subprocess.Popen(command, env=here.run.environment, stderr=subprocess.PIPE, text=True) as pushing:
            sluice.wait()
            registry.kill()
            assert pushing.poll() is None
            assert not manifests(registry)
            registry.start()
            sluice.open()
            _, said = pushing.communicate(timeout=120)
            assert pushing.returncode == 0, said
        as_llama_cpp(registry, "team/large", "latest", data)


@pytest.mark.parametrize("victim", ["command", "daemon"])
def test_a_push_that_ends_in_the_middle(here: Home, registry: Registry, victim: str) -> None:
    data = tiny(f"large {victim}", LARGE)
    here.create(f"large-{victim}", {"large.gguf": data}, "FROM ./large.gguf\n")
    with Sluice(registry.port, MIDDLE) as sluice:
        command = [sys.executable, "-m", "runner", "push", f"large-{victim}", f"localhost:{sluice.port}/{victim}/large"]
        with subprocess.Popen(command, env=here.run.environment, stderr=subprocess.PIPE, text=True) as pushing:
            sluice.wait()
            if victim == "command":
                pushing.send_signal(signal.SIGINT)
            else:
                [at] = here.folder.glob("**/daemon.json")
                os.kill(json.loads(at.read_bytes())["pid"], signal.SIGKILL)
            pushing.communicate(timeout=60)
            assert pushing.returncode == (130 if victim == "command" else 69)
        sluice.open()
        assert registry.ask("GET", f"{victim}/large/manifests/latest")[0] == 404
        here(*command[3:])
    as_llama_cpp(registry, f"{victim}/large", "latest", data)


def manifests(registry: Registry) -> list[Path]:
    return list((registry.folder / "storage").glob("**/_manifests/tags/*"))


def test_who_you_are(here: Home, there: Home, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry", locked=True) as registry:
        name = f"{registry.host}/team/secret"
        for folder in (tmp_path / "nobody", docker_login(tmp_path / "wrong", registry.host, password="guess")):
            refused = with_login(here, folder, "push", "jinja", name)
            assert refused.returncode == 77, refused.stderr
            assert f"docker login {registry.host}" in refused.stderr
            assert "guess" not in refused.stderr
        assert not manifests(registry)
        login = docker_login(tmp_path / "right", registry.host)
        pushed = with_login(here, login, "push", "jinja", name)
        assert pushed.returncode == 0, pushed.stderr
        there.run.environment["DOCKER_CONFIG"] = str(login)
        there("pull", name)
        assert_same(here, "jinja", there, name)


def with_login(home: Home, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a command to a daemon that was started with a folder of Docker's."""
    home.run("shutdown")
    home.run.environment["DOCKER_CONFIG"] = str(folder)
    try:
        return home.run(*arguments)
    finally:
        home.run("shutdown")
        del home.run.environment["DOCKER_CONFIG"]


def test_a_blob_that_rots_is_not_pushed(there: Home, registry: Registry) -> None:
    there.create("rotten", {"tiny.gguf": tiny("rotten")}, "FROM ./tiny.gguf\n")
    [layer] = there.manifest("rotten")["layers"]
    path = there.blob(layer["digest"])
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"?")
    refused = there.run("push", "rotten", f"{registry.host}/team/rotten")
    assert refused.returncode == 1
    assert layer["digest"] in refused.stderr
    assert layer["digest"] not in registry.blobs()
    assert registry.ask("GET", "team/rotten/manifests/latest")[0] == 404
    there("rm", "rotten")
    work = there.folder / "work" / "rotten"
    (work / "tiny.gguf").unlink()  # blob and file were one
    (work / "tiny.gguf").write_bytes(data)
    there("create", "rotten", "-f", str(work / "Modelfile"))
    there("push", "rotten", f"{registry.host}/team/rotten")
    assert layer["digest"] in registry.blobs()


def test_a_target_that_is_none(here: Home) -> None:
    for target in ([], ["hf.co/team/go"], ["ghcr.io/Team/go"]):
        refused = here.run("push", "go", *target)
        assert refused.returncode == 1
        assert "HOST/NAMESPACE" in refused.stderr or "ghcr.io/team/go" in refused.stderr
