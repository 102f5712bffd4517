"""What all that a daemon does with sources shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry import pull as pulling
from registry.progress import never, unheard
from registry.resolve import Wanted
from registry.store import Store
from runner.inference.sources import Sources, SourceSettings


def test_pulls_share_one_client_and_one_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(pulling, "pull", lambda store, wanted, **told: seen.append(told))
    with Store.open(tmp_path) as store:
        given = SourceSettings(registries=("hf.co",), connections=6, rate=1000, adopt_from=(), context=4096)
        pulls = Sources(store, given, lambda: 5)
        for name in ("a", "b"):
            pulls.pull(Wanted(reference=name), unheard, never)
        first, second = seen
        assert first["http"] is second["http"]
        settings = first["settings"]
        assert (settings.connections, settings.memory, settings.reach.registries) == (6, 5, ("hf.co",))
        assert settings.pace is second["settings"].pace
        assert settings.pace.rate == 1000
        # A pull's own limit comes on top.
        assert [pace.rate for pace in settings.manner(200).paces] == [1000, 200]
        assert settings.manner(0).connections == 3
        pulls.close()
        pulls.close()
        pulls.pull(Wanted(reference="c"), unheard, never)
        assert seen[2]["http"] is not first["http"]
        pulls.close()
