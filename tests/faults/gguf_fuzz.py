"""`python -m tests.faults.gguf_fuzz SEED COUNT [FOLDER]`: mutated headers, put to the reader and its checks one by one.

Prints JSON: how many there were, how many passed, the longest CPU time of one (seconds), by how much the process grew
over all of them (bytes), and every failure that isn't one of the registry's. Passing files that are whole models are
left in FOLDER, a few of them. Every case depends on SEED and its number alone.

Knows the format well enough to lie at the right places: it walks a sound header, notes where each number stands, and
writes others there. It takes nothing from the reader that it tests.
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from modelfiles.embedded import demo_gguf
from registry.errors import BadGGUF, UnsupportedModel
from registry.gguf.check import check
from registry.gguf.reader import read_header
from tests import tiny_gguf

EVIL = (
    0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 31, 33, 63, 64, 65, 255, 256, 4096, 65_535, 65_536, 2**20, 2**24, 2**31 - 1,
    2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**48, 2**60, 2**61, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1,
)  # fmt: skip
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_KEPT = 24  # passing files for a real worker
_SPREAD = 600  # items of an array whose places are noted, at most


@dataclass
class Base:
    """A sound file to begin with: its header, where the numbers in it stand, and how long the whole file is."""

    name: str
    data: bytes
    size: int
    weight: int
    whole: Path | None = None
    numbers: list[tuple[int, int]] = field(default_factory=list)
    """Places and widths of every number."""
    keys: list[tuple[int, int]] = field(default_factory=list)
    """Where each key with its value begins and ends."""
    tensors: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        _walk(self)


def bases() -> list[Base]:
    """Headers of every kind: real, tiny, and with a vocabulary of 150,000."""
    demo = demo_gguf()
    return [
        _base("tiny", tiny_gguf.model(extra={"general.alignment": 32}).build(), 30),
        _base("demo", demo.read_bytes(), 30, demo),
        _base("projector", tiny_gguf.projector(), 10),
        _base("adapter", tiny_gguf.adapter(), 10),
        _base("shard", tiny_gguf.shards(2)[0], 10),
        _base("encoder", tiny_gguf.model("bert", extra={"bert.pooling_type": 1}).build(), 7),
        _base("large", _large(), 3),
    ]


def _large() -> bytes:
    """Made in a process of its own: what that takes would hide what reading takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.gguf"
        program = "import sys; from tests.benchmarks.header import header; sys.stdout.buffer.write(header(151_936))"
        with path.open("wb") as file:
            subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
        return path.read_bytes()


def _base(name: str, data: bytes, weight: int, whole: Path | None = None) -> Base:
    base = Base(name, data, len(data), weight, whole)
    base.data = data[: base.tensors[-1][1]]  # the weights are never read: a hole stands for them
    return base


def _walk(base: Base) -> None:
    """Note where the numbers of a sound header stand."""
    data, at = base.data, 4

    def number(width: int) -> int:
        nonlocal at
        base.numbers.append((at, width))
        (value,) = struct.unpack_from("<" + _LETTERS[width], data, at)
        at += width
        return int(value)

    def text() -> None:
        nonlocal at
        length = number(8)
        at += length

    number(4)
    tensors, keys = number(8), number(8)
    for _ in range(keys):
        began = at
        text()
        kind = number(4)
        if kind == 8:
            text()
        elif kind == 9:
            items, count = number(4), number(8)
            if items == 8:
                for index in range(count):
                    if index < _SPREAD or index % 997 == 0:
                        text()
                    else:
                        at += 8 + struct.unpack_from("<Q", data, at)[0]
            else:
                base.numbers += [(at + index * _WIDTHS[items], _WIDTHS[items]) for index in range(min(count, 20))]
                at += count * _WIDTHS[items]
        else:
            number(_WIDTHS[kind])
        base.keys.append((began, at))
    for _ in range(tensors):
        began = at
        text()
        for _ in range(number(4)):
            number(8)
        number(4)
        number(8)
        base.tensors.append((began, at))


def mutated(base: Base, dice: random.Random, all_bases: list[Base]) -> tuple[bytes, int]:
    """A header with something wrong in it, and how long the file is to be."""
    data, size = bytearray(base.data), base.size
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        how = dice.choice(("number", "number", "number", "number", "bytes", "cut", "double", "splice", "shift", "blot"))
        if how == "number":
            # Lengths in the front matter most, and there are few of them.
            places = base.numbers[: 3 if dice.random() < 0.1 else None]
            at, width = dice.choice(places)
            _put(data, at, width, _value(dice, data, at, width))
        elif how == "bytes":
            for _ in range(dice.randint(1, 16)):
                data[dice.randrange(len(data))] = dice.randrange(256)
        elif how == "cut":
            end = dice.choice((0, 1, 3, 4, 8, 23, 24, dice.randrange(len(data)), len(data)))
            return bytes(data[:end]), max(end, dice.choice((end, size - 1)) if end == len(data) else end)
        elif how == "double" and base.keys:
            _double(data, base, dice)
        elif how == "splice":
            other = dice.choice(all_bases).data
            length = min(dice.randint(1, 4096), len(other))
            start = dice.randrange(len(other) - length + 1)
            at = dice.randrange(len(data))
            data[at : at + length] = other[start : start + length]
        elif how == "shift":
            at = dice.randrange(len(data))
            data[at : at + dice.randint(0, 8)] = dice.randbytes(dice.randint(0, 8))
        else:
            at, length = dice.randrange(len(data)), dice.randint(1, 64)
            data[at : at + length] = bytes([dice.choice((0, 0xFF, 0x20, dice.randrange(256)))]) * min(
                length, len(data) - at
            )
    return bytes(data), max(size + len(data) - len(base.data), len(data))


def _value(dice: random.Random, data: bytearray, at: int, width: int) -> int:
    if at + width <= len(data) and dice.random() < 0.3:
        return int.from_bytes(data[at : at + width], "little") + dice.choice((-1, 1, 8, -8, 32, 256))
    if dice.random() < 0.1:
        return int.from_bytes(bytes(data[at : at + width])[::-1], "little")  # as the other byte order has it
    return dice.choice(EVIL)


def _put(data: bytearray, at: int, width: int, value: int) -> None:
    if at + width <= len(data):
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _double(data: bytearray, base: Base, dice: random.Random) -> None:
    """A key or a tensor a second time, with the count that goes with it."""
    place, entries = dice.choice(((16, base.keys), (8, base.tensors)))
    start, end = dice.choice(entries)
    if end - start > 1 << 20:
        return
    data[end:end] = data[start:end]
    _put(data, place, 8, len(entries) + 1)


def swept(base: Base) -> list[tuple[bytes, int]]:
    """Every number of a small header, set to every evil value."""
    found = []
    for at, width in base.numbers:
        for value in EVIL:
            data = bytearray(base.data)
            _put(data, at, width, value)
            found.append((bytes(data), base.size))
    return found


def greedy(file: BinaryIO) -> Iterator[str]:
    """Files that are as long as they say, and ask for as much as they may: each is written to `file` when its name
    comes."""
    emoji, tokens = "\U0001f600".encode() * 1024, 2_500_000
    pattern = b"gemma2.attention.sliding_window_pattern"
    own = {"block_count": 2, "context_length": 512, "embedding_length": 64, "attention.head_count": 2,
           "attention.sliding_window": 64}  # fmt: skip

    def begin(tensors: int, keys: int) -> None:
        file.seek(0)
        file.truncate()
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, tensors, 1 + len(own) + keys))
        file.write(tiny_gguf.text("general.architecture") + tiny_gguf.pair("gemma2"))
        file.writelines(tiny_gguf.text(f"gemma2.{key}") + tiny_gguf.pair(value) for key, value in own.items())

    def array(key: bytes, kind: int, count: int, item: bytes) -> None:
        file.write(tiny_gguf.text(key) + struct.pack("<IIQ", tiny_gguf.ARRAY, kind, count))
        file.writelines(item * 1000 for _ in range(count // 1000))
        file.write(item * (count % 1000))

    for name, fill in (("wide texts", emoji), ("long texts", b"a" * len(emoji))):
        begin(0, 3)
        for index in range(3):
            file.write(tiny_gguf.text(f"text{index}") + struct.pack("<IQ", tiny_gguf.STRING, 3000 * len(fill)))
            file.writelines(fill for _ in range(3000))
        yield name
    begin(0, 16_384 - 1 - len(own))
    for index in range(16_384 - 1 - len(own)):
        file.write(tiny_gguf.text(f"{index:0>250}") + tiny_gguf.pair("x" * 2000))
    yield "keys"
    begin(65_536, 0)
    for index in range(65_536):
        file.write(tiny_gguf.text(f"{index:0>63}") + struct.pack("<I4QIQ", 4, 1, 1, 1, 1, 0, 32 * index))
    file.truncate(file.tell() + 32 * 65_537)
    yield "tensors"
    begin(0, 1)
    array(pattern, tiny_gguf.BOOL, 4 << 20, b"\1")
    yield "marks"
    for name, kind in (("bytes", 6), ("words", 1)):
        begin(0, 3)
        array(b"tokenizer.ggml.tokens", tiny_gguf.STRING, tokens, b"\0" * 8)
        array(b"tokenizer.ggml.token_type", tiny_gguf.INT32, tokens, struct.pack("<i", kind))
        file.write(tiny_gguf.text("tokenizer.ggml.eos_token_id") + tiny_gguf.pair(tokens - 1))
        yield name


class Trial:
    """Puts headers to the reader, and keeps account."""

    def __init__(self, keep: Path | None) -> None:
        self.keep = keep
        self.count = 0
        self.passed = 0
        self.kept = 0
        self.slowest = 0.0
        self.slowest_case = ""
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- as long as the process

    def judge(self, data: bytes, size: int, what: str, whole: Path | None = None) -> None:
        """One file: `data`, and nothing behind it as far as `size` says."""
        fd = self._file.fileno()
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, min(size, 1 << 40))
        if self._read(fd, what):
            self._hand_on(data, size, whole)

    def judge_greedy(self) -> None:
        """Every greedy file."""
        with os.fdopen(os.dup(self._file.fileno()), "r+b") as file:
            for name in greedy(file):
                file.flush()
                self._read(file.fileno(), name)

    def _read(self, fd: int, what: str) -> bool:
        self.count += 1
        began = time.process_time()
        try:
            check(read_header(fd))
        except (BadGGUF, UnsupportedModel) as error:
            self.outcomes[type(error).__name__] += 1
        except Exception:  # noqa: BLE001 -- whatever it is, it is what is looked for
            self.failures.append(f"{what}: {traceback.format_exc(limit=-3)}")
        else:
            self.passed += 1
            return True
        finally:
            took = time.process_time() - began
            if took > self.slowest:
                self.slowest, self.slowest_case = took, what
        return False

    def _hand_on(self, data: bytes, size: int, whole: Path | None) -> None:
        if whole is None or self.keep is None or self.kept >= _KEPT:
            return
        weights = whole.read_bytes()
        behind = weights[len(weights) - max(0, size - len(data)) :]  # shifted along with the header's end
        (self.keep / f"passed-{self.kept:02}.gguf").write_bytes(data + behind)
        self.kept += 1


def _peak() -> int:
    """The most bytes that this process has ever held. On Linux getrusage's word would include whoever started it."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Sweep, mutate, print."""
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    keep = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    found = bases()
    trial = Trial(keep)
    for base in found:  # once as they are: what that takes is no growth
        trial.judge(base.data, base.size, f"{base.name} as it is")
    sound = trial.passed
    before = _peak()
    for number, (data, size) in enumerate(swept(found[0])):
        trial.judge(data, size, f"sweep {number}")
    trial.judge_greedy()
    weights = [base.weight for base in found]
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        (base,) = dice.choices(found, weights)
        trial.judge(*mutated(base, dice, found), f"seed {seed}, case {number} ({base.name})", base.whole)
    about = {
        "count": trial.count,
        "passed": trial.passed,
        "sound": sound,
        "outcomes": trial.outcomes,
        "slowest": trial.slowest,
        "slowest_case": trial.slowest_case,
        "grown": _peak() - before,
        "failures": trial.failures[:10],
        "kept": trial.kept,
    }
    sys.stdout.write(json.dumps(about) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
