"""What `runner generate` makes: read back by the formats' own readers, and closed where it has to be."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.api.guard import Guard
from runner.config import load
from runner.service import begin, carried, containers
from runner.service.containers import Gpu, Wish
from runner.service.have import NO_SUCH, called, have
from tests.cli.fake_daemon import FakeDaemon

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "installer" / "Containerfile"
MODELS = ("qwen3:0.6b", "hf.co/org/repo:Q4_K_M")
GPUS: tuple[Gpu, ...] = ("none", "cuda", "rocm", "vulkan")


def runner(*words: str, home: Path, check: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "runner", *words],
        env=os.environ | {"RUNNER_HOME": str(home)} | environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == check, done
    return done


def unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit; a key may come several times."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if section := re.fullmatch(r"\[(\w+)\]", line):
            current = found.setdefault(section[1], {})
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            current.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("gpu", GPUS)
def test_compose(gpu: Gpu) -> None:
    read = yaml.safe_load(containers.compose(Wish(MODELS, port=8000, gpu=gpu)))
    service = read["services"]["runner"]
    assert service["command"] == list(MODELS)
    assert service["ports"] == ["127.0.0.1:8000:11435"]
    assert "RUNNER_API_KEY:?" in service["environment"]["RUNNER_API_KEY"], "compose itself refuses without a key"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["runner:/var/lib/runner"]
    assert read["volumes"] == {"runner": None}
    assert ("deploy" in service) == (gpu == "cuda")
    assert ("/dev/dri" in service.get("devices", ())) == (gpu in ("rocm", "vulkan"))
    assert service["image"].endswith(":latest" if gpu == "none" else f":{gpu}")


def test_compose_with_a_file_that_holds_the_key() -> None:
    read = yaml.safe_load(containers.compose(Wish(MODELS, key_file="./key")))
    assert read["secrets"] == {"runner-api-key": {"file": "./key"}}
    assert read["services"]["runner"]["environment"] == {begin.KEY_FILE: "/run/secrets/runner-api-key"}


def allowed(host: str) -> tuple[str, str]:
    """RUNNER_ALLOWED_HOSTS of compose, and of the quadlet."""
    read = yaml.safe_load(containers.compose(Wish(MODELS, host=host)))["services"]["runner"]["environment"]
    container = unit(containers.quadlet(Wish(MODELS, host=host)))["Container"]
    told = dict(line.split("=", 1) for line in container["Environment"])
    return read.get("RUNNER_ALLOWED_HOSTS", ""), told.get("RUNNER_ALLOWED_HOSTS", "")


@pytest.mark.parametrize("host", ["192.168.1.5", "fd00::1"])
def test_the_address_that_it_is_published_at_may_be_called(host: str) -> None:
    assert allowed(host) == (host, host)
    rules = Guard.of(load(environ={"RUNNER_ALLOWED_HOSTS": allowed(host)[0]}))
    assert host in rules.hosts


def test_loopback_needs_no_name_and_every_address_leaves_a_place_for_them() -> None:
    assert allowed("127.0.0.1") == allowed("::1") == allowed("localhost") == ("", "")
    for host in ("0.0.0.0", "::"):
        assert allowed(host) == ("", "")
        for text, line in (
            (containers.compose(Wish(MODELS, host=host)), "      # RUNNER_ALLOWED_HOSTS: 192.168.1.5,models.lan\n"),
            (
                containers.quadlet(Wish(MODELS, host=host)),
                "\n# Environment=RUNNER_ALLOWED_HOSTS=192.168.1.5,models.lan\n",
            ),
        ):
            assert line in text
            assert "# Published at every address" in text


@pytest.mark.parametrize("namespace", ["", "ai"])
def test_pods_may_call_the_service_by_all_of_its_names(namespace: str) -> None:
    made = list(yaml.safe_load_all(containers.kube(Wish(MODELS, name="models", namespace=namespace))))
    [container] = made[1]["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each.get("value") for each in container["env"]}["RUNNER_ALLOWED_HOSTS"]
    within = f"models.{namespace or 'default'}"
    assert told.split(",") == ["models", within, f"{within}.svc", f"{within}.svc.cluster.local"]
    assert {each["metadata"].get("namespace", "") for each in made} == {namespace}


@pytest.mark.parametrize("gpu", GPUS)
def test_quadlet(gpu: Gpu) -> None:
    container = unit(containers.quadlet(Wish(MODELS, name="models", gpu=gpu)))["Container"]
    assert container["Exec"] == [" ".join(MODELS)]
    assert container["PublishPort"] == ["127.0.0.1:11435:11435"]
    assert container["ReadOnly"] == container["NoNewPrivileges"] == ["true"]
    assert container["DropCapability"] == ["ALL"]
    assert container["Secret"][0].startswith("models-api-key,type=mount,target=runner-api-key")
    assert container["Volume"] == ["models:/var/lib/runner"]
    assert container.get("AddDevice", []) == {
        "none": [], "cuda": ["nvidia.com/gpu=all"], "rocm": ["/dev/kfd", "/dev/dri"], "vulkan": ["/dev/dri"],
    }[gpu]  # fmt: skip


@pytest.mark.parametrize("gpu", GPUS)
def test_kube(gpu: Gpu) -> None:
    claim, deployment, service = yaml.safe_load_all(containers.kube(Wish(MODELS, name="models", gpu=gpu)))
    assert [each["kind"] for each in (claim, deployment, service)] == ["PersistentVolumeClaim", "Deployment", "Service"]
    pod = deployment["spec"]["template"]
    assert pod["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["enableServiceLinks"] is False
    [container] = pod["spec"]["containers"]
    assert container["args"] == list(MODELS)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probes = [container[f"{name}Probe"]["exec"]["command"] for name in ("startup", "liveness", "readiness")]
    assert probes == [["python", "-m", "runner.service.alive"]] * 3
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts.keys() == {each["name"] for each in pod["spec"]["volumes"]}
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "models-api-key", "key": "api-key"}
    assert ("resources" in container) == (gpu != "none")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"name": "My Models"}, "small letters"),
        ({"port": 0}, "a port is"),
        ({"image": "a b"}, "no name of an image"),
        ({"models": ("./here.gguf",)}, "no model that a container could pull"),
        ({"models": ("bad//name",)}, "no model"),
        ({"models": ("a\nprivileged: true",)}, "no model"),
        ({"models": ("${HOME}",)}, "no model"),
        ({"host": '0.0.0.0"\nprivileged: true'}, "no address"),
        ({"namespace": "My Own"}, "namespace"),
        ({"secret": "a,uid=0"}, "secret's name"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wish: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Wish(**wish)


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    printed = runner("generate", "compose", "qwen3:0.6b", "--publish", "0.0.0.0", home=tmp_path).stdout
    assert yaml.safe_load(printed)["services"]["runner"]["ports"] == ["0.0.0.0:11435:11435"]
    written = runner(
        "generate", "quadlet", "demo", "--name", "m", "-o", str(tmp_path / "a" / "b"), home=tmp_path
    ).stdout
    assert written.strip() == str(tmp_path / "a" / "b" / "m.container")
    made = unit(runner("generate", "systemd", "demo", home=tmp_path, RUNNER_API_KEY="sesame").stdout)["Service"]
    assert made["ExecStart"] == [f"{sys.executable} -m runner.service.begin demo"]
    assert f"RUNNER_HOME={tmp_path}" in made["Environment"]
    assert not list(tmp_path.glob("data")), "nothing was started"
    for words, said in (
        (("compos", "demo"), "generate takes compose, quadlet, systemd, kube"),
        (("compose",), "takes the names of models"),
        (("kube", "demo", "--gpu", "metal"), "--gpu takes"),
        (("compose", "demo", "--namespace", "ai"), "--namespace is for kube"),
        (("systemd", "demo", "--gpu", "cuda"), "--gpu is for containers"),
    ):
        assert said in runner("generate", *words, home=tmp_path, check=2).stderr


def test_a_file_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: nginx}}\n")
    words = ("generate", "compose", "demo", "-o", str(tmp_path))
    refused = runner(*words, home=tmp_path, check=1).stderr
    assert "is there already and says other things" in refused
    assert "--force" in refused
    assert file.read_text() == "services: {web: {image: nginx}}\n"
    runner(*words, "--force", home=tmp_path)
    assert yaml.safe_load(file.read_text())["name"] == "runner"
    runner(*words, home=tmp_path)  # the same again is no harm
    assert [each.name for each in tmp_path.glob("*compose*")] == ["compose.yaml"], "nothing is left aside"
    assert "goes with --output" in runner("generate", "compose", "demo", "--force", home=tmp_path, check=2).stderr


def image() -> dict[str, str]:
    """What the Containerfile sets in the last stage."""
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    last = text[text.rindex("\nFROM ") :]
    [line] = (line for line in last.splitlines() if line.startswith("ENV "))
    return dict(pair.split("=", 1) for pair in line.removeprefix("ENV ").split())


def test_the_image_begins_only_with_a_key(tmp_path: Path) -> None:
    set_there = {name: value for name, value in image().items() if name.startswith(("RUNNER_", "PYTHON"))}
    assert set_there["RUNNER_HOST"] == "0.0.0.0:11435"
    environ = os.environ | set_there | {"RUNNER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "runner.service.begin"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 77
    assert "without an API key" in done.stderr
    assert "-e RUNNER_API_KEY=" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_image_is_closed_and_says_how_it_is() -> None:
    last = CONTAINERFILE.read_text().rpartition("\nFROM ")[2]
    lines = last.splitlines()
    assert "USER 10001:10001" in lines
    assert "VOLUME /var/lib/runner" in lines
    assert "EXPOSE 11435" in lines
    [check] = (line for line in lines if line.startswith("HEALTHCHECK"))
    assert json.loads(check[check.index("[") :]) == ["python", "-m", "runner.service.alive"]
    [entry] = (line for line in lines if line.startswith("ENTRYPOINT"))
    assert json.loads(entry.removeprefix("ENTRYPOINT ")) == ["tini", "--", "python", "-m", "runner.service.begin"]


def test_the_engine_is_sent_what_the_image_takes_and_no_key() -> None:
    taken = {
        name.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE.read_text(), re.MULTILINE)
        for name in line.split()
    }
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "what isn't named is left out"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == taken
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    told = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    writes = re.findall(r"^.*RUNNER_API_KEY=.*> \S*\.env.*$", told, re.MULTILINE)
    assert writes
    assert all("umask 077" in line for line in writes), "only its owner reads the key"


def test_the_steps_of_the_image_are_shell(tmp_path: Path) -> None:
    steps = re.findall(r"<<'STEPS'\n(.*?)\nSTEPS\n", CONTAINERFILE.read_text(), re.DOTALL)
    assert len(steps) == 4
    for number, step in enumerate(steps):
        assert not subprocess.run(["sh", "-n"], input=step, text=True, check=False).returncode, step
        called = tmp_path / str(number)
        called.mkdir()
        programs = ("apt-get", "rm", "groupadd", "useradd", "install", "python3", "pip", "python")
        for name in programs:
            (called / name).write_text(f'#!/bin/sh\necho {name} "$@" CMAKE_ARGS="$CMAKE_ARGS" >>"{called}/log"\n')
            (called / name).chmod(0o755)
        for gpu in GPUS:
            moved = step.replace("/opt/runner/bin/", f"{called}/")
            done = subprocess.run(
                ["/bin/sh", "-eu"], input=moved, text=True, env={"PATH": str(called), "GPU": gpu}, check=False
            )
            assert done.returncode == 0, (gpu, step)
    built = (tmp_path / "1" / "log").read_text()
    assert "-DGGML_NATIVE=OFF -DGGML_CUDA=ON" in built
    assert "-DGGML_NATIVE=OFF -DGGML_VULKAN=ON" in built
    packages = (tmp_path / "3" / "log").read_text()
    assert "tini" in packages
    assert "mesa-vulkan-drivers" in packages


def test_keys_come_from_files_and_weigh_less_than_what_is_set(tmp_path: Path) -> None:
    odd = 'a "b" $c `d` \\e %f'
    file = tmp_path / "service.env"
    carried.write(file, carried.written({"RUNNER_API_KEY": odd, "HF_TOKEN": "file"}))
    assert file.stat().st_mode & 0o777 == 0o600
    assert begin.environment({"HF_TOKEN": "set"}, str(file), ["A=b=c"]) == {
        "RUNNER_API_KEY": odd, "HF_TOKEN": "set", "A": "b=c",
    }  # fmt: skip
    (tmp_path / "key").write_text("sesame\n")
    assert begin.environment({begin.KEY_FILE: str(tmp_path / "key")}, None, ()) == {"RUNNER_API_KEY": "sesame"}
    with pytest.raises(begin.Wrong, match="cannot be read"):
        begin.environment({begin.KEY_FILE: str(tmp_path / "none")}, None, ())
    with pytest.raises(ValueError, match="several lines"):
        carried.written({"RUNNER_API_KEY": "a\nb"})


def test_what_a_shell_has_set_is_taken_along_and_nothing_else() -> None:
    told = carried.of_shell(
        {"RUNNER_API_KEY": "k", "HF_TOKEN": "t", "RUNNER_AUTOSTART": "0", "PATH": "/", "RUNNER_HOST": ""}
    )
    assert told == {"RUNNER_API_KEY": "k", "HF_TOKEN": "t"}


class Calls:
    """`runner`, with answers by the words it is called with."""

    def __init__(self, *answers: tuple[str, int]) -> None:
        self.answers = list(answers)

    def __call__(self, words: Sequence[str]) -> int:
        line, status = self.answers.pop(0)
        assert " ".join(words).startswith(line)
        return status


def test_missing_models_are_pulled_and_all_are_kept_loaded() -> None:
    slept: list[float] = []
    calls = Calls(
        ("show a", 69), ("show a", 0), ("pin a", 0),
        ("show b", 1), ("pull b", 1),
        ("show b", 1), ("pull b", 0), ("pin b", 0),
    )  # fmt: skip
    assert have(("a", "b"), calls, slept.append)
    assert calls.answers == []
    assert slept == [1.0, 10.0]


def test_what_can_never_be_had_is_said_once_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    slept: list[float] = []
    calls = Calls(
        ("show a", 1), ("pull a", NO_SUCH),
        ("show -", 2), ("pull -", 2),
        ("show c", 0), ("pin c", 0),
    )  # fmt: skip
    assert not have(("a", "-", "c"), calls, slept.append)
    assert calls.answers == []
    assert slept == []
    assert capsys.readouterr().err.count("can't be had") == 2


def test_nothing_is_done_for_a_daemon_that_is_gone() -> None:
    calls, alive = Calls(("show a", 1), ("pull a", 1)), [True, False]
    assert not have(("a",), calls, lambda _: None, lambda: alive.pop(0))
    assert calls.answers == []


def test_a_source_without_such_a_model_is_told_from_one_that_fails(tmp_path: Path) -> None:
    daemon = FakeDaemon().start()
    environ = os.environ | {"RUNNER_HOST": daemon.address, "RUNNER_HOME": str(tmp_path), "RUNNER_AUTOSTART": "0"}
    try:
        for said, status in (
            ("model 'nothing:latest' not found", NO_SUCH),
            ("model 'nothing:latest' not found. The repository has changed; try again.", 1),
            ("the hub doesn't answer", 1),
        ):
            daemon.refusals["/api/pull"] = (404, {"error": said})
            assert called(("pull", "nothing"), environ) == status
        assert called(("show", "nothing", "--json"), environ) == 1
    finally:
        daemon.stop()
    assert called(("show", "nothing", "--json"), environ) == 69


def test_a_daemon_that_never_answers_is_given_up() -> None:
    slept: list[float] = []
    assert not have(("a",), lambda _: 69, slept.append)
    assert sum(slept) == 120


def test_configparser_reads_what_packagers_get() -> None:
    for name in ("runner.service", "runner-system.service", "runner.container"):
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string((ROOT / "installer" / name).read_text())
        assert parser.get("Install", "WantedBy") in ("default.target", "multi-user.target")


@pytest.mark.parametrize("make", [containers.compose, containers.quadlet, containers.kube])
def test_an_image_that_nobody_publishes_comes_with_how_it_is_made(make: Callable[[Wish], str]) -> None:
    text = make(Wish(("demo",), gpu="cuda"))
    assert "#     podman build -f installer/Containerfile -t localhost/runner:cuda --build-arg GPU=cuda ." in text
    assert "podman build" not in make(Wish(("demo",), image="ghcr.io/anna/runner"))
