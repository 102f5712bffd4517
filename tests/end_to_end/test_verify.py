"""A bad byte in a model's file: found by the command line, named in full, and repaired, with a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from tests.end_to_end.terminal import Terminal
from tests.hub import Hub, running


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal("shutdown")


def test_a_bad_byte_is_found_named_and_repaired(runner: Terminal, tmp_path: Path) -> None:
    said = runner("run", "demo", "How do I pull a model?").stdout
    assert "runner pull" in said
    sound = runner("verify")
    assert sound.returncode == 0, sound.stderr
    assert sound.stdout.startswith("checked ")
    blobs = tmp_path / "data" / "models" / "blobs"
    weights = max(blobs.iterdir(), key=lambda each: each.stat().st_size)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)
    digest = weights.name.replace("-", ":")
    bad = runner("verify")
    assert bad.returncode == 1
    assert f"broken: {digest}" in bad.stdout
    assert "needed by: demo:latest" in bad.stdout
    assert str(weights) in bad.stdout
    assert not weights.exists()
    assert runner("ps").stdout.count("demo:latest") == 0  # its worker had the bad file mapped
    told = json.loads(runner("verify", "demo", "--json").stdout)
    assert [each["digest"] for each in told["bad"]] == [digest]
    assert told["quarantine"][0]["expected"] == digest
    repaired = runner("verify", "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert f"repaired: {digest}" in repaired.stdout
    assert runner("run", "demo", "How do I pull a model?").stdout == said
    dry = runner("prune", "--grace", "0", "--dry-run")
    assert "quarantined: " in dry.stdout
    assert dry.stdout.splitlines()[-1].startswith("would remove 1 file")
    assert runner("prune", "--grace", "0").stdout.startswith("removed 1 file")


def test_all_bad_models_are_repaired_in_one_go(runner: Terminal, tmp_path: Path) -> None:
    hub, names = Hub(), []
    for number in range(2):
        data = bytearray(demo_gguf().read_bytes())
        data[-1 - number] ^= 1
        hub.add(f"tiny/parrot{number}-GGUF", {f"parrot{number}-Q8_0.gguf": bytes(data)})
        names.append(f"hf.co/tiny/parrot{number}-GGUF:Q8_0")
    with running(hub):
        runner.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
        for name in names:
            assert runner("pull", name).returncode == 0
        digests = []
        for name in names:
            layers = json.loads(runner("show", name, "--json").stdout)["layers"]
            digests.append(max(layers, key=lambda each: each["size"])["digest"])
            weights = tmp_path / "data" / "models" / "blobs" / digests[-1].replace(":", "-")
            data = bytearray(weights.read_bytes())
            data[0] ^= 1
            weights.unlink()  # the hub's cache may be the same file
            weights.write_bytes(data)
        repaired = runner("verify", "--repair", "--json")
        assert repaired.returncode == 0, repaired.stderr
        told = json.loads(repaired.stdout)
        assert {each["digest"]: each["outcome"] for each in told["bad"]} == dict.fromkeys(digests, "repaired")
        assert told["sound"]
    assert runner("verify").returncode == 0
