"""How long a list takes in a large store: `python -m tests.benchmarks.store [MODELS]`.

Builds a store of MODELS models (1,000 by default) of five blobs each, and prints the seconds of: opening it and listing
in a fresh process, listing again, `/api/tags` of a daemon over it (first and later), and `runner list` as a whole
process against that daemon. The files are in the page cache: it is the work that is measured, not the disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from registry import manifest as media
from registry.digests import Digest, digest_of
from registry.manifest import Layer, Manifest, ModelConfig
from registry.names import Name
from registry.store import Store
from tests import tiny_gguf
from tests.benchmarks.daemon import Daemon

_TIMES = 5
_ROUND = """
import json, sys, time
from pathlib import Path
from registry.store import Store
began = time.perf_counter()
with Store.open(Path(sys.argv[1])) as store:
    models = store.list()
    first = time.perf_counter() - began
    began = time.perf_counter()
    store.list()
    print(json.dumps([len(models), first, time.perf_counter() - began]))
"""


def build(root: Path, models: int) -> None:
    """A store as creates leave it, but for their waiting for the disk."""
    with Store.open(root):
        pass
    for index in range(models):
        weights = _blob(root, media.MODEL, tiny_gguf.model(extra={"general.version": str(index)}).build())
        layers = (
            weights,
            _blob(root, media.TEMPLATE, f"{{{{ .Prompt }}}} {index}".encode() * 100),
            _blob(root, media.SYSTEM, f"You are number {index}.".encode()),
            _blob(root, media.PARAMS, media.to_canonical({"temperature": 0.5, "seed": index})),
        )
        config = ModelConfig(
            family="llama", families=("llama",), architecture="llama", parameter_count=index, parameter_size="1B",
            quantization="Q8_0", context_length=512, embedding_length=64, capabilities=("completion",),
            parent=f"model-{index}",
        )  # fmt: skip
        manifest = Manifest(_blob(root, media.CONFIG_TYPE, config.to_json()), layers)
        path = root.joinpath("manifests", *Name.parse(f"team{index % 10}/model-{index}").parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest.to_json())


def _blob(root: Path, media_type: str, data: bytes) -> Layer:
    digest: Digest = digest_of(data)
    (root / "blobs" / digest.file_name).write_bytes(data)
    return Layer(media_type, digest, len(data))


def measure(root: Path, home: Path) -> dict[str, float]:
    """Seconds of each, the median of some."""
    rounds = [
        json.loads(subprocess.run([sys.executable, "-c", _ROUND, str(root)], capture_output=True, check=True).stdout)
        for _ in range(_TIMES)
    ]
    found = {
        "open and list, fresh process": statistics.median(each[1] for each in rounds),
        "list again": statistics.median(each[2] for each in rounds),
    }
    with Daemon(home, models=root) as daemon:
        found["/api/tags, the first"] = _seconds(lambda: daemon.get("/api/tags"))
        found["/api/tags, later"] = statistics.median(_seconds(lambda: daemon.get("/api/tags")) for _ in range(_TIMES))
        command = [sys.executable, "-m", "runner", "list"]
        found["runner list, whole process"] = statistics.median(
            _seconds(lambda: subprocess.run(command, env=daemon.environment, stdout=subprocess.DEVNULL, check=True))
            for _ in range(_TIMES)
        )
    return found


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Build, measure, print."""
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="runner-store-") as folder:
        root = Path(folder) / "store"
        build(root, models)
        blobs = len(os.listdir(root / "blobs"))
        sys.stdout.write(f"{models} models, {blobs} blobs\n")
        for what, seconds in measure(root, Path(folder) / "home").items():
            sys.stdout.write(f"{what:<32} {1000 * seconds:8.1f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
