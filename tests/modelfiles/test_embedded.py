"""The embedded model's files are where the package says."""

from modelfiles.catalog import find_entry
from modelfiles.embedded import DEMO, demo_gguf, demo_modelfile
from modelfiles.families import warnings
from modelfiles.parse import parse


def test_weights_are_a_small_gguf() -> None:
    assert demo_gguf().read_bytes()[:4] == b"GGUF"
    assert demo_gguf().stat().st_size <= 8_000_000


def test_its_modelfile_is_one() -> None:
    modelfile = parse(demo_modelfile())
    assert modelfile.source == f"./{demo_gguf().name}"
    assert modelfile.parameters["temperature"] == 0
    assert modelfile.licenses
    assert warnings(modelfile) == ()


def test_it_is_not_something_to_pull() -> None:
    assert find_entry(DEMO) is None
