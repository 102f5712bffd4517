"""What a prefix is kept under: the weights that it was computed with, whatever the name and the adapters."""

from pathlib import Path

from registry.store import Store
from runner.inference.prefixes import PrefixFolders
from tests import tiny_gguf
from tests.inference.conftest import Make


def test_weights_decide_whose_prefixes_they_are(store: Store, make: Make, tmp_path: Path) -> None:
    folders = PrefixFolders(tmp_path, 0, 0)
    (tmp_path / "lora.gguf").write_bytes(tiny_gguf.adapter())
    plain = make("m")
    key = folders.of(plain).model
    assert folders.of(make("m", "ADAPTER ./lora.gguf")).model == key  # the files themselves tell adapters apart
    assert folders.of(store.copy("m", "n")).model == key
    assert folders.of(make("other")).model != key
