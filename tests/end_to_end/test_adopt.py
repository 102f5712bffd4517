"""Adopting through the daemon: another tool's models run from where they are, and are missed by name when they go."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from registry.digests import digest_of
from tests import tiny_gguf
from tests.end_to_end.terminal import Terminal

WAIT = 60.0


def parrot(number: int = 0) -> bytes:
    """The demo's file with one weight changed: bytes that no store has yet."""
    data = bytearray(demo_gguf().read_bytes())
    data[-1 - number] ^= 1
    return bytes(data)


def ollama_store(root: Path, data: bytes) -> Path:
    """An Ollama store with one model, `parrot`; the file of its weights."""
    config = json.dumps({"model_format": "gguf", "file_type": "Q8_0"}).encode()
    params = json.dumps({"temperature": 0}).encode()
    blobs = {each: root / "blobs" / digest_of(each).file_name for each in (data, config, params)}
    (root / "blobs").mkdir(parents=True)
    for content, path in blobs.items():
        path.write_bytes(content)

    def layer(kind: str, content: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": str(digest_of(content)), "size": len(content)}

    manifest = root / "manifests" / "registry.ollama.ai" / "library" / "parrot" / "latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(
        json.dumps(
            {
                "schemaVersion": 2,
                "config": layer("application/vnd.docker.container.image.v1+json", config),
                "layers": [
                    layer("application/vnd.ollama.image.model", data),
                    layer("application/vnd.ollama.image.params", params),
                ],
            }
        )
    )
    return blobs[data]


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than the tests'."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("this machine has no second file system to write to")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "home")
    terminal.environment |= {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}
    yield terminal
    terminal("shutdown")


def test_a_referred_model_runs_is_missed_by_name_and_heals(runner: Terminal, elsewhere: Path, tmp_path: Path) -> None:
    weights = ollama_store(elsewhere / "models", parrot())
    runner.environment["OLLAMA_MODELS"] = str(elsewhere / "models")
    listed = runner("adopt", "ollama", "--json")
    [model] = json.loads(listed.stdout)["models"]
    assert (model["name"], model["state"]) == ("ollama.com/library/parrot:latest", "new")
    adopted = runner("adopt", "ollama", "parrot")
    assert adopted.returncode == 0, adopted.stderr
    assert "stay where Ollama has them" in adopted.stderr
    store = tmp_path / "home" / "data" / "models"
    assert not (store / "blobs" / digest_of(parrot()).file_name).exists()
    answer = runner("run", "ollama.com/library/parrot", "How do I pull a model?")
    assert "runner pull" in answer.stdout, answer.stderr
    away = elsewhere / "away"
    weights.rename(away)
    missed = runner("run", "ollama.com/library/parrot", "How do I pull a model?")
    assert missed.returncode == 1
    for word in ("ollama.com/library/parrot:latest", str(digest_of(parrot())), "Ollama", str(weights), "is gone"):
        assert word in missed.stderr
    assert "demo" in runner("list").stdout
    away.rename(weights)
    assert "runner pull" in runner("run", "ollama.com/library/parrot", "How do I pull a model?").stdout
    assert runner("rm", "ollama.com/library/parrot").returncode == 0
    assert weights.read_bytes() == parrot()
    assert list((store / "references").iterdir()) == []


def test_a_linked_model_outlives_the_other_tools_file(runner: Terminal, tmp_path: Path) -> None:
    weights = ollama_store(tmp_path / ".ollama" / "models", parrot())
    assert runner("adopt", "ollama", "--all").returncode == 0
    weights.unlink()
    assert "runner pull" in runner("run", "ollama.com/library/parrot", "How do I pull a model?").stdout


def test_a_path_is_pulled_under_its_files_name(runner: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "Parrot-Q8_0.gguf"
    file.write_bytes(parrot())
    pulled = runner("pull", str(file))
    assert pulled.returncode == 0, pulled.stderr
    assert "adopted Parrot:Q8_0" in pulled.stderr
    assert "Parrot:Q8_0" in runner("list").stdout


def test_hashing_goes_on_in_the_background(runner: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    header = tiny_gguf.model(tensors=[tiny_gguf.Tensor("token_embd.weight", (1 << 16, 1 << 13))]).header()
    (folder / "Sparse-F32.gguf").write_bytes(header)
    os.truncate(folder / "Sparse-F32.gguf", (2 << 30) + (1 << 16))
    begun = runner("adopt", str(folder), "--all", "--detach", "--json")
    assert [each["state"] for each in json.loads(begun.stdout)] == ["adopting"]
    seen = []
    deadline = time.monotonic() + WAIT
    while not seen or seen[-1] == "adopting":
        assert time.monotonic() < deadline, seen
        seen.append(json.loads(runner("adopt", str(folder), "--json").stdout)["models"][0]["state"])
    assert seen[-1] == "here"
    assert "Sparse:F32" in runner("list").stdout
