"""A bad byte in a model's file: found by the command line, named in full, and repaired, with a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.terminal import Terminal


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
