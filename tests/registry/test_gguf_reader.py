"""The header reader against sound files, lies about every length, and noise."""

import random
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.embedded import demo_gguf
from registry.errors import BadGGUF, BadSource, Truncated
from registry.gguf.arrays import Array
from registry.gguf.reader import Limits, read_header
from tests.tiny_gguf import (
    ARRAY,
    BOOL,
    F16,
    FLOAT32,
    INT32,
    Q8_0,
    STRING,
    UINT8,
    UINT32,
    UINT64,
    Gguf,
    Tensor,
    Typed,
    array,
    model,
    pair,
    text,
)


def test_the_demo_model_reads_as_it_is() -> None:
    header = read_header(demo_gguf())
    assert header.metadata["general.architecture"] == "llama"
    assert header.data_offset % header.alignment == 0
    last = header.tensors[-1]
    assert header.data_offset + last.offset + last.size <= header.file_size == demo_gguf().stat().st_size
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, Array)
    assert len(tokens) == len(set(tokens))
    assert tokens.has_text(str(tokens[5]))


def test_values_of_every_type_come_back(tmp_path: Path) -> None:
    values: dict[str, object] = {}
    letters = {
        0: -0 + 200,
        1: -5,
        2: 60000,
        3: -300,
        4: 2**31,
        5: -(2**31),
        6: 0.5,
        7: True,
        10: 2**63,
        11: -(2**62),
        12: 1e300,
    }
    for kind, value in letters.items():
        values[f"single.{kind}"] = Typed(kind, value)
        values[f"several.{kind}"] = array(kind, [value, value])
    values["text"] = "Grüße, 世界 🌍"
    values["texts"] = array(STRING, ["a", "", "世界", "x" * 1000])
    values["none"] = array(STRING, [])
    header = read_header_of(tmp_path, Gguf(values).build())
    for kind, value in letters.items():
        assert header.metadata[f"single.{kind}"] == value
        several = header.metadata[f"several.{kind}"]
        assert isinstance(several, Array)
        assert list(several) == [value, value]
    assert header.metadata["text"] == "Grüße, 世界 🌍"
    texts = header.metadata["texts"]
    assert isinstance(texts, Array)
    assert list(texts) == ["a", "", "世界", "x" * 1000]
    assert (texts[2], texts[0:2]) == ("世界", ["a", ""])
    assert texts.longest == 1000
    assert texts.texts_at([2, 0]) == {0: b"a", 2: "世界".encode()}
    assert texts.has_text("世界")
    assert not texts.has_text("世")
    assert list(header.metadata["none"]) == []


def read_header_of(tmp_path: Path, data: bytes):  # type: ignore[no-untyped-def]  # what read_header returns
    path = tmp_path / "file.gguf"
    path.write_bytes(data)
    return read_header(path)


def test_tensors_have_exact_sizes(tmp_path: Path) -> None:
    tensors = [Tensor("a", (64, 3), Q8_0), Tensor("b", (5,), F16), Tensor("c", (2, 3, 4, 5)), Tensor("d", ())]
    header = read_header_of(tmp_path, Gguf({"x": 1}, tensors).build())
    assert [(each.name, each.size, each.offset, each.count) for each in header.tensors] == [
        ("a", 204, 0, 192),
        ("b", 10, 224, 5),
        ("c", 480, 256, 120),
        ("d", 4, 736, 1),
    ]


def test_version_2_reads_too(tmp_path: Path) -> None:
    whole = model()
    whole.version = 2
    assert read_header_of(tmp_path, whole.build()).version == 2


def test_other_alignments_are_kept(tmp_path: Path) -> None:
    made = Gguf({"general.alignment": 64}, [Tensor("a", (3,)), Tensor("b", (3,))], alignment=64)
    header = read_header_of(tmp_path, made.build())
    assert (header.alignment, header.tensors[1].offset, header.data_offset % 64) == (64, 64, 0)


def _key(raw: bytes) -> bytes:
    return Gguf(key_count=1).build() + raw


def _value(raw: bytes) -> bytes:
    return _key(text("k") + raw)


def _tensor(*parts: bytes) -> bytes:
    return Gguf(tensor_count=1).build() + b"".join(parts)


def _dims(*lengths: int) -> bytes:
    return struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths)


def _long(count: int) -> bytes:
    return struct.pack("<Q", count)


HUGE = (2**32, 2**60, 2**64 - 1)

HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a GGUF file: 0 bytes"),
    "three bytes": (b"GGU", "not a GGUF file: 3 bytes"),
    "magic only": (b"GGUF", "not a GGUF file: 4 bytes"),
    "another format": (b"PK\x03\x04" + bytes(100), "not a GGUF file: it begins with"),
    "safetensors": (struct.pack("<Q", 90) + b'{"__metadata__":{}}' + bytes(100), "not a GGUF file"),
    "version 0": (Gguf(version=0).build(), "version 0 isn't supported"),
    "version 1": (Gguf(version=1).build(), "version 1 isn't supported"),
    "version 4": (Gguf(version=4).build(), "version 4 isn't supported"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    **{f"{count} keys": (Gguf(key_count=count).build(), "metadata keys are more") for count in HUGE},
    **{f"{count} tensors": (Gguf(tensor_count=count).build(), "tensors are more") for count in HUGE},
    "keys that aren't there": (Gguf(key_count=5).build() + bytes(8), "has 0 bytes"),
    "cut in the keys": (model().build()[:200], "the header goes on to byte"),
    **{
        f"a key of {count} bytes": (_key(_long(count)), f"has {count} bytes")
        for count in (0, 257, 2**32, 2**60, 2**64 - 1)
    },
    "a key with a newline": (_key(text("a\nb") + pair(1)), "isn't printable"),
    "a key that isn't ASCII": (_key(text("ä") + pair(1)), "isn't printable"),
    "a key with NUL": (_key(text("a\0") + pair(1)), "isn't printable"),
    "a key twice": (Gguf(key_count=2).build() + (text("k") + pair(1)) * 2, "occurs twice"),
    "an unknown type": (_value(struct.pack("<IQ", 13, 0)), "unknown value type 13"),
    "neither true nor false": (_value(struct.pack("<IB", BOOL, 2)), "neither true nor false"),
    "neither in an array": (_value(struct.pack("<IIQ3B", ARRAY, BOOL, 3, 0, 1, 2)), "neither true nor false"),
    **{
        f"a text of {count} bytes": (_value(struct.pack("<IQ", STRING, count)), "bytes of text")
        for count in (2**24 + 1, 2**32, 2**60, 2**64 - 1)
    },
    "a text past the end": (_value(struct.pack("<IQ", STRING, 1000) + b"short"), "the file ends at"),
    **{
        f"an array of {count}": (_value(struct.pack("<IIQ", ARRAY, UINT32, count)), "items; 4194304 are allowed")
        for count in (2**22 + 1, 2**32, 2**60, 2**64 - 1)
    },
    "an array of nothings": (_value(struct.pack("<IIQ", ARRAY, 99, 2**60)), "unknown value type 99"),
    "an array past the end": (_value(struct.pack("<IIQ", ARRAY, UINT64, 1000)), "the file ends at"),
    "texts past the end": (
        _value(struct.pack("<IIQ", ARRAY, STRING, 4_000_000) + bytes(64)),
        "more than the file has room",
    ),
    "a text in an array past the end": (_value(pair(array(STRING, ["a", "b"]))[:-1]), "the file ends at"),
    "a huge text in an array": (
        _value(struct.pack("<IIQ", ARRAY, STRING, 1) + _long(2**63)),
        "an item has 9223372036854775808 bytes",
    ),
    "an array of arrays": (_value(struct.pack("<IIQ", ARRAY, ARRAY, 1) + pair(array(UINT8, [1]))), "arrays of arrays"),
    **{
        f"an alignment of {value}": (Gguf({"general.alignment": value}).build(), "must be a power of two")
        for value in (0, 1, 4, 33, 48, 2**17, 2**31)
    },
    "an alignment of the wrong type": (Gguf({"general.alignment": Typed(UINT64, 32)}).build(), "must be a uint32"),
    "an alignment as text": (Gguf({"general.alignment": "32"}).build(), "must be a uint32, not string"),
    "a long tensor name": (_tensor(text("n" * 64)), "its name has 64 bytes"),
    "a huge tensor name": (_tensor(_long(2**62)), "its name has"),
    "five dimensions": (_tensor(text("t"), _dims(1, 1, 1, 1, 1)), "has 5 dimensions"),
    "2^31 dimensions": (_tensor(text("t"), struct.pack("<I", 2**31)), "dimensions; 4"),
    "an empty dimension": (_tensor(text("t"), _dims(4, 0), struct.pack("<IQ", 0, 0)), "a dimension of 0"),
    "more values than fit": (_tensor(text("t"), _dims(2**32, 2**32), struct.pack("<IQ", 0, 0)), "values, more than"),
    "values that wrap around": (
        _tensor(text("t"), _dims(2**63, 2, 2, 1), struct.pack("<IQ", 0, 0)),
        "values, more than",
    ),
    "more bytes than allowed": (_tensor(text("t"), _dims(2**50), struct.pack("<IQ", 0, 0)), "bytes, more than"),
    "a tensor larger than the file": (_tensor(text("t"), _dims(2**20), struct.pack("<IQ", 0, 0)), "the file"),
    "an unknown tensor type": (_tensor(text("t"), _dims(1), struct.pack("<IQ", 4, 0)), "unknown type 4"),
    "a negative tensor type": (_tensor(text("t"), _dims(1), struct.pack("<iQ", -1, 0)), "unknown type"),
    "rows that don't divide": (_tensor(text("t"), _dims(33), struct.pack("<IQ", Q8_0, 0)), "don't divide"),
    "a tensor twice": (Gguf({}, [Tensor("t", (8,)), Tensor("t", (8,))]).build(), "'t' occurs twice"),
    "overlapping tensors": (Gguf({}, [Tensor("a", (64,)), Tensor("b", (8,), offset=32)]).build(), "expected 256"),
    "a gap between tensors": (Gguf({}, [Tensor("a", (8,)), Tensor("b", (8,), offset=64)]).build(), "expected 32"),
    "an unaligned tensor": (Gguf({}, [Tensor("a", (8,)), Tensor("b", (8,), offset=33)]).build(), "expected 32"),
    "an offset beyond all": (Gguf({}, [Tensor("a", (8,), offset=2**64 - 32)]).build(), "expected 0"),
    "weights cut short": (model().build()[:-1], "it is cut short"),
    "no weights at all": (model().header(), "it is cut short"),
}


@pytest.mark.parametrize(("data", "complaint"), HOSTILE.values(), ids=HOSTILE.keys())
def test_every_lie_is_refused_quickly_and_by_name(tmp_path: Path, data: bytes, complaint: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    started = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(BadGGUF) as caught:
            read_header(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 0.5  # far below in peace; the bound is for a busy machine
    assert peak < 16 << 20
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_cut_anywhere_a_file_is_refused(tmp_path: Path) -> None:
    keys = {"text": "hello", "texts": array(STRING, ["a", "bc"]), "flag": True, "number": 1}
    data = Gguf(keys, [Tensor("t", (4, 2)), Tensor("u", (32,), Q8_0)]).build()
    path = tmp_path / "cut.gguf"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(Truncated):
            read_header(path)
    path.write_bytes(data)
    read_header(path)


def test_a_header_can_be_looked_at_before_the_weights_are_there(tmp_path: Path) -> None:
    whole = model(vocabulary=[f"token {index}" for index in range(5000)]).build()
    path = tmp_path / "part.gguf"
    path.write_bytes(whole[:1000])
    with pytest.raises(Truncated, match="only 1000 are there"):
        read_header(path, file_size=len(whole))
    path.write_bytes(whole[: len(whole) - 100])
    assert read_header(path, file_size=len(whole)).file_size == len(whole)


def test_limits_can_be_widened_for_exotic_models(tmp_path: Path) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(Gguf({f"key{index}": 1 for index in range(20)}).build())
    with pytest.raises(BadGGUF, match="20 metadata keys"):
        read_header(path, limits=Limits(keys=10))
    assert len(read_header(path, limits=Limits(keys=20)).metadata) == 20


@pytest.mark.parametrize(("text", "memory"), [("a" * 100_000, 1), ("\u00e9" * 50_000, 2), ("\U0001f600" * 25_000, 4)])
def test_what_texts_take_in_memory_is_counted(tmp_path: Path, text: str, memory: int) -> None:
    path = tmp_path / "file.gguf"
    data = Gguf({"key": text, "more": text}).build()
    path.write_bytes(data)
    wanted = len(data) + 2 * memory * 100_000
    with pytest.raises(BadGGUF, match="would take more memory"):
        read_header(path, limits=Limits(memory=wanted - 10_000))
    assert read_header(path, limits=Limits(memory=wanted + 10_000)).metadata["key"] == text


def test_an_open_file_can_be_read_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(model().build())
    with path.open("rb") as file:
        file.seek(7)
        assert read_header(file.fileno()).version == 3
        file.seek(0)
        assert file.read(4) == b"GGUF"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone", Path("/dev/zero")):
        with pytest.raises(BadSource):
            read_header(path)


def test_a_large_vocabulary_is_read_quickly_and_decoded_only_when_asked(tmp_path: Path) -> None:
    vocabulary = [f"tok{index}" for index in range(151_936)]
    made = model(vocabulary=vocabulary, extra={"tokenizer.ggml.merges": array(STRING, vocabulary)})
    path = tmp_path / "large.gguf"
    path.write_bytes(made.build())
    started = time.perf_counter()
    header = read_header(path)
    took = time.perf_counter() - started
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, Array)
    assert (len(tokens), tokens[151_935]) == (151_936, "tok151935")
    # 35 ms on a quiet core; the bound is for a machine under load.
    assert took < 0.5


@pytest.fixture(scope="module")
def sound() -> bytes:
    extra = {"a.text": "hello", "a.numbers": array(INT32, range(10)), "a.float": Typed(FLOAT32, 0.5)}
    return model(extra=extra).build()


@given(seed=st.integers(0, 2**32), changes=st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_noise_is_read_or_refused_but_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, sound: bytes, seed: int, changes: int
) -> None:
    chance = random.Random(seed)
    data = bytearray(sound)
    end = len(data) if chance.random() < 0.5 else 800
    for _ in range(changes):
        at = chance.randrange(4, end)
        data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    path = tmp_path_factory.getbasetemp() / f"noise{seed}.gguf"
    path.write_bytes(data)
    try:
        _use(read_header(path).metadata.values())
    except BadGGUF:
        pass
    finally:
        path.unlink()


def _use(values: object) -> None:
    for value in values:  # type: ignore[attr-defined]
        if isinstance(value, Array):
            list(value)
