"""What a prefix's files are kept under: the weights and adapters that they were computed with, whatever the name."""

from pathlib import Path

from registry.store import Store
from runner.inference.prefixes import PrefixFolders
from tests import tiny_gguf
from tests.inference.conftest import Make


def test_adapters_decide_whose_prefixes_they_are(store: Store, make: Make, tmp_path: Path) -> None:
    folders = PrefixFolders(tmp_path, 0, 0)
    for name, target in (("a", "output_norm.weight"), ("b", "token_embd.weight")):
        adapter = tiny_gguf.adapter(target=target)
        if name == "b":  # a table of embeddings has its halves the other way round
            halves = [tiny_gguf.Tensor(f"{target}.lora_a", (4, 4)), tiny_gguf.Tensor(f"{target}.lora_b", (4, 64))]
            about = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
            adapter = tiny_gguf.Gguf(dict(about), halves).build()
        (tmp_path / f"{name}.gguf").write_bytes(adapter)
    texts = ["", "ADAPTER ./a.gguf", "ADAPTER ./b.gguf", "ADAPTER ./a.gguf\nADAPTER ./b.gguf"]
    plain = make("m", texts[0])
    keys = {folders.of(each).model for each in (plain, *(make("m", text) for text in texts[1:]))}
    assert len(keys) == 4
    assert folders.of(store.copy("m", "n")).model in keys
