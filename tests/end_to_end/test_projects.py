"""Lock files and project files between two machines: two homes, two daemons, one hub that moves on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelfiles import lockfile
from modelfiles.embedded import demo_gguf
from modelfiles.lockfile import LockedPull
from tests.end_to_end.terminal import Done, Terminal
from tests.hub import COMMIT, File, Hub, running

REPOSITORY = "tiny/parrot-GGUF"
MODEL = f"hf.co/{REPOSITORY}:Q8_0"
Machine = Callable[..., Done]


def weights(number: int) -> bytes:
    """The demo's file with one weight changed: bytes that no store has yet."""
    data = bytearray(demo_gguf().read_bytes())
    data[-1 - number] ^= 1
    return bytes(data)


def files(number: int, **more: bytes) -> dict[str, bytes | File]:
    return {"parrot-Q8_0.gguf": weights(number), "params": json.dumps({"temperature": 0}).encode(), **more}


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.add(REPOSITORY, files(0))
    with running(hub):
        yield hub


@pytest.fixture
def machines(tmp_path: Path, hub: Hub) -> Iterator[Callable[[str], Machine]]:
    """Makes a machine of a name: a home of its own, and the project's folder as the place where commands are typed."""
    made: dict[str, Terminal] = {}

    def machine(name: str) -> Machine:
        terminal = made[name] = Terminal(tmp_path / name)
        terminal.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / name / "hf")}

        def type_there(*arguments: str) -> Done:
            return terminal(*arguments, folder=tmp_path)

        return type_there

    yield machine
    for terminal in made.values():
        terminal("shutdown")


def shown(machine: Machine, model: str) -> dict[str, object]:
    done = machine("show", model, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {key: found.get(key) for key in ("digest", "source", "recipe", "layers")}


def test_a_lock_brings_the_same_bytes_elsewhere_after_the_source_moved_on(
    machines: Callable[[str], Machine], hub: Hub, tmp_path: Path
) -> None:
    here, there = machines("here"), machines("there")
    assert here("pull", MODEL).returncode == 0
    assert here("lock").stdout == "runner.lock.yaml: 1 model\n"
    path = tmp_path / lockfile.FILE
    written = path.read_text()
    assert here("lock").stdout == "runner.lock.yaml: nothing has changed\n"
    assert here("lock", "--check").returncode == 0
    assert path.read_text() == written

    moved = hub.change(REPOSITORY, files(1, system=b"You are a parrot."))
    pulled = there("pull", "--locked")
    assert pulled.returncode == 0, pulled.stderr
    assert shown(there, MODEL) == shown(here, MODEL)
    assert (tmp_path / lockfile.FILE).read_text() == written
    count = len(hub.requests)
    again = there("pull", "--locked", MODEL)
    assert (again.returncode, len(hub.requests)) == (0, count), "what is as locked needs no network"

    # The other way round: the first machine sees that there is more, takes it, and keeps the lock in step.
    listed = json.loads(here("outdated", "--json").stdout)
    [row] = [each for each in listed if each["name"] == MODEL]
    assert (row["status"], row["revision"], row["latest"], row["locked"]) == ("outdated", COMMIT, moved, True)
    assert row["size"] == len(weights(1))
    assert here("outdated", "--exit-code").returncode == 1
    updated = here("update")
    assert updated.stdout == f"{MODEL}: {COMMIT[:12]} -> {moved[:12]}\n", updated.stderr
    entry = lockfile.read("it", path.read_text()).models[MODEL]
    assert isinstance(entry, LockedPull)
    assert entry.revision == moved
    assert here("lock", "--check").returncode == 0
    assert here("update").stdout == "everything is up to date\n"
    assert there("lock", "--check").returncode == 1, "there the model is still the older one"
    assert there("pull", "--locked").returncode == 0
    assert shown(there, MODEL) == shown(here, MODEL)


def test_a_commit_without_other_content_is_no_update(machines: Callable[[str], Machine], hub: Hub) -> None:
    here = machines("here")
    assert here("pull", MODEL).returncode == 0
    moved = hub.change(REPOSITORY, files(0, **{"README.md": b"# Parrot\n"}))
    done = here("outdated", "--json", "--exit-code")
    [row] = json.loads(done.stdout)
    assert (done.returncode, row["status"], row["latest"], row["size"]) == (0, "current", moved, 0)
    hub.change(REPOSITORY, {**files(0), "params": b'{"temperature": 0.5}'})
    [row] = json.loads(here("outdated", "--json").stdout)
    assert (row["status"], row["size"]) == ("outdated", 0), "the weights are the same, what goes with them isn't"
    del hub.repositories[REPOSITORY]
    [row] = json.loads(here("outdated", "--json").stdout)
    assert row["status"] in ("gone", "unreachable")
    assert row["problem"]
    assert here("update").returncode == 1


def test_a_lock_that_cannot_be_kept_changes_nothing(
    machines: Callable[[str], Machine], hub: Hub, tmp_path: Path
) -> None:
    here, there = machines("here"), machines("there")
    assert here("pull", MODEL).returncode == 0
    assert here("lock").returncode == 0
    path = tmp_path / lockfile.FILE
    good = path.read_text()
    entry = lockfile.read("it", good).models[MODEL]
    assert isinstance(entry, LockedPull)
    other = "sha256:" + "00" * 32

    path.write_text(good.replace(entry.files[0].digest, other))
    wrong_file = there("pull", "--locked")
    assert wrong_file.returncode == 1
    assert f"parrot-Q8_0.gguf is {entry.files[0].digest}, the lock says {other}" in wrong_file.stderr

    path.write_text(good.replace(f"digest: {entry.digest}", f"digest: {other}", 1))
    wrong_model = there("pull", "--locked")
    assert wrong_model.returncode == 1
    assert entry.digest in wrong_model.stderr
    assert other in wrong_model.stderr

    path.write_text(good.replace(COMMIT, "f" * 40))
    gone = there("pull", "--locked")
    assert gone.returncode == 1
    assert "f" * 40 in gone.stderr

    path.write_text(good)
    unknown = there("pull", "--locked", "hf.co/tiny/parot-GGUF:Q8_0")
    assert unknown.returncode == 1
    assert f"did you mean {MODEL}" in unknown.stderr
    path.write_text(good.replace("  size:", "  sizes:").replace("    size:", "    sizes:"))
    broken = there("pull", "--locked")
    assert broken.returncode == 1
    assert "line" in broken.stderr
    assert "did you mean size?" in broken.stderr
    assert "parrot" not in there("list").stdout


PROJECT = f"""
models:
  - reference: {MODEL}
    name: parrot
  - name: helper
    from: parrot
    system: You are Runner.
    parameters:
      temperature: 0
      stop: ["a", "b"]
  - name: own
    modelfile: models/Modelfile
  - demo
"""


def test_up_makes_it_so_once_and_the_same_elsewhere(
    machines: Callable[[str], Machine], hub: Hub, tmp_path: Path
) -> None:
    here, there = machines("here"), machines("there")
    (tmp_path / "runner.yaml").write_text(PROJECT)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own.gguf").write_bytes(weights(7))
    (tmp_path / "models" / "Modelfile").write_text("FROM ./own.gguf\nPARAMETER temperature 0\n")
    missing = here("up", "--check")
    assert missing.returncode == 1
    assert "parrot" in missing.stdout
    first = here("up")
    assert first.returncode == 0, first.stderr
    assert set(first.stdout.splitlines()) == {
        "parrot:latest: pulled", "helper:latest: created", "own:latest: created", "demo:latest: unchanged",
    }  # fmt: skip
    assert here("up", "--check").returncode == 0
    second = here("up", "--json")
    assert {each["action"] for each in json.loads(second.stdout)} == {"unchanged"}
    assert "Runner" in here("show", "helper", "--system").stdout

    assert here("up", "--locked").returncode == 1, "there is no lock yet"
    assert here("lock").stdout == "runner.lock.yaml: 3 models\n"
    hub.change(REPOSITORY, files(3))
    elsewhere = there("up", "--locked")
    assert elsewhere.returncode == 0, elsewhere.stderr
    for name in ("parrot", "helper", "own"):
        assert shown(there, name) == shown(here, name), name
    assert there("lock", "--check").returncode == 0

    # What is declared otherwise is made anew, and only that.
    (tmp_path / "runner.yaml").write_text(PROJECT.replace("You are Runner.", "You are a parrot."))
    refused = here("up", "--locked")
    assert refused.returncode == 1
    assert "helper:latest is declared otherwise than in the lock" in refused.stderr
    changed = here("up")
    assert changed.returncode == 0, changed.stderr
    assert "helper:latest: created" in changed.stdout
    assert "own:latest: unchanged" in changed.stdout
    (tmp_path / "models" / "own.gguf").write_bytes(weights(8))
    assert "own:latest: created" in here("up").stdout
    assert here("up").stderr.endswith("nothing to do\n")
