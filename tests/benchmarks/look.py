"""What a look before a pull costs: bytes, requests and time, against a hub on loopback.

    python -m tests.benchmarks.look

The model's header has 151,936 tokens and as many merges, as Qwen's have; its weights are never asked for.
"""

from __future__ import annotations

import tempfile
import time
from functools import cached_property
from pathlib import Path

from registry.look import LookSettings, look
from registry.origins import Reach
from registry.store import Store
from tests.hub import File, Hub, running
from tests.registry.test_look import large

_WEIGHTS = 64 << 20


class Known(File):
    """A file whose hash is computed once: a real hub knows it."""

    @cached_property
    def sha256(self) -> str:  # type: ignore[override]
        return File.sha256.fget(self)  # type: ignore[attr-defined, no-any-return]


def main() -> None:
    """Print a table."""
    files = {
        name: Known(large(architecture, _WEIGHTS)) for name, architecture in (("known", "qwen2"), ("new", "quux9"))
    }
    print(f"header: {(len(files['known'].data) - _WEIGHTS) / 1e6:.1f} MB")
    print("architecture  bytes read  requests  of them ranges  ms")
    with running(Hub()) as hub, tempfile.TemporaryDirectory() as folder:
        for name, file in files.items():
            hub.add(f"org/{name}", {f"{name}-Q8_0.gguf": file})
        reach = Reach(hf_endpoint=hub.endpoint, hub_cache=Path(folder, "hub"))
        with Store.open(Path(folder, "store")) as store:
            for name in ("known", *files):  # the first pays for imports and hashes
                hub.requests.clear()
                start = time.perf_counter()
                found = look(store, f"hf.co/org/{name}:Q8_0", settings=LookSettings(reach=reach, memory=10**10))
                took = 1000 * (time.perf_counter() - start)
                counts = f"{len(hub.requests):8}  {len(hub.downloads()):14}"
                print(f"{found.architecture:12}  {found.read / 1e6:7.2f} MB  {counts}  {took:.0f}")


if __name__ == "__main__":
    main()
