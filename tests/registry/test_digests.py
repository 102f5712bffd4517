"""Digests: one accepted form, and hashing that can be watched and stopped."""

import hashlib
from pathlib import Path

import pytest

from registry.digests import CHUNK, Digest, digest_of, hash_file
from registry.errors import BadDigest, Cancelled

GOOD = "0123456789abcdef" * 4


def test_the_one_good_form() -> None:
    digest = Digest.parse(f"sha256:{GOOD}")
    assert (digest.hex, str(digest), digest.file_name) == (GOOD, f"sha256:{GOOD}", f"sha256-{GOOD}")
    assert digest.short == GOOD[:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        GOOD,
        f"sha256:{GOOD[:-1]}",
        f"sha256:{GOOD}0",
        f"sha256:{GOOD.upper()}",
        f"sha256:{GOOD}\n",
        f"sha256:{GOOD}\0",
        f" sha256:{GOOD}",
        f"sha256-{GOOD}",
        f"SHA256:{GOOD}",
        f"sha512:{GOOD}",
        "sha256:" + "../" * 21 + "x",
        "sha256:..%2f" + GOOD[5:],
        "../../x",
        f"sha256:{GOOD[:-1]}g",
        f"sha256:{GOOD[:-1]}\u0661",
    ],
)
def test_every_other_form_is_refused(text: str) -> None:
    with pytest.raises(BadDigest, match="must be sha256: and 64"):
        Digest.parse(text)


def test_hashing_a_file_tells_how_far_it_is(tmp_path: Path) -> None:
    data = bytes(range(256)) * (CHUNK // 100)
    path = tmp_path / "file"
    path.write_bytes(data)
    seen: list[int] = []
    assert hash_file(path, seen.append).hex == hashlib.sha256(data).hexdigest() == digest_of(data).hex
    assert seen == sorted(seen)
    assert seen[-1] == len(data)


def test_hashing_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * CHUNK * 3)
    with pytest.raises(Cancelled):
        hash_file(path, cancelled=lambda: True)
