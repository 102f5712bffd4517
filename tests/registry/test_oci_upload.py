"""Uploads to a registry with planned troubles: what arrives, what is sent twice, and what never gets there."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.digests import digest_of
from registry.errors import Cancelled, Corrupt, HashMismatch, Unreachable
from registry.oci.client import RegistryClient
from registry.oci.sending import Blob
from registry.oci.upload import Uploader
from registry.progress import never
from registry.transfer.http import Http
from tests.registry.shelf import Shelf, running

MEGABYTE = 1 << 20
DATA = random.Random(5).randbytes(3 * MEGABYTE + 12_345)
DIGEST = digest_of(DATA)
WHOLE = ("a/b", str(DIGEST))


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with running(Shelf()) as shelf:
        yield shelf


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(timeout=5.0) as http:
        yield http


def uploader(shelf: Shelf, http: Http, part: int = MEGABYTE, waits: tuple[float, ...] = (0.0,) * 3) -> Uploader:
    return Uploader(RegistryClient(http, shelf.host, "a/b", write=True, anonymous=True), waits, part)


def blob(folder: Path, data: bytes = DATA, origin: str = "") -> Blob:
    path = folder / "blob"
    path.write_bytes(data)
    return Blob(DIGEST, len(DATA), path, origin)


def test_in_parts_and_only_once(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    told: list[int] = []
    assert uploader(shelf, http).bring(blob(tmp_path), told.append, never)
    assert shelf.blobs == {WHOLE: DATA}
    assert len(shelf.ranges()) == 4
    assert told == sorted(told)
    assert told[-1] == len(DATA)
    assert not uploader(shelf, http).bring(blob(tmp_path), told.append, never)
    assert shelf.received == len(DATA)


def test_what_is_small_goes_in_one_request(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    uploader(shelf, http, 4 * MEGABYTE).bring(blob(tmp_path), lambda done: None, never)
    assert shelf.blobs == {WHOLE: DATA}
    assert shelf.ranges() == []
    empty = Blob(digest_of(b""), 0, b"")
    uploader(shelf, http).bring(empty, lambda done: None, never)
    assert shelf.blobs["a/b", str(empty.digest)] == b""


def test_a_broken_upload_goes_on_where_the_registry_says(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    shelf.cuts = [400_000, 700_000]
    shelf.statuses["GET"] = [(200, {}), (503, {}), (502, {})]  # after the one that asks whether anybody is there
    uploader(shelf, http).bring(blob(tmp_path), lambda done: None, never)
    assert shelf.blobs == {WHOLE: DATA}
    assert shelf.received == len(DATA), "bytes were sent twice"
    assert [each and each.partition("-")[0] for each in shelf.ranges()[:3]] == ["0", "400000", "1100000"]


def test_an_upload_that_the_registry_forgot_begins_anew(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    shelf.cuts, shelf.forgets = [MEGABYTE, 10], True
    uploader(shelf, http).bring(blob(tmp_path), lambda done: None, never)
    assert shelf.blobs == {WHOLE: DATA}
    assert len(shelf.asked("POST")) == 3


def test_only_the_answer_was_lost(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    shelf.mute = True
    uploader(shelf, http).bring(blob(tmp_path), lambda done: None, never)
    assert shelf.received == len(DATA)


@pytest.mark.parametrize("trouble", [{"largest": MEGABYTE}, {"parts": 0}, {"parts": 1}])
def test_a_registry_that_takes_uploads_another_way(
    shelf: Shelf, http: Http, tmp_path: Path, trouble: dict[str, int]
) -> None:
    for name, value in trouble.items():
        setattr(shelf, name, value)
    uploader(shelf, http, part=2 * MEGABYTE).bring(blob(tmp_path), lambda done: None, never)
    assert shelf.blobs == {WHOLE: DATA}


def test_a_busy_registry_is_given_the_time_that_it_asks_for(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    shelf.statuses["POST"] = [(429, {"Retry-After": "1"}), (503, {})]
    began = time.monotonic()
    uploader(shelf, http).bring(blob(tmp_path), lambda done: None, never)
    assert time.monotonic() - began >= 1.0
    assert shelf.blobs == {WHOLE: DATA}


@pytest.mark.parametrize("planned", [[(503, {})] * 4, [(429, {"Retry-After": "3600"})]])
def test_one_that_stays_busy_is_given_up(
    shelf: Shelf, http: Http, tmp_path: Path, planned: list[tuple[int, dict[str, str]]]
) -> None:
    shelf.statuses["PATCH"] = list(planned)
    with pytest.raises(Unreachable, match=str(DIGEST)):
        uploader(shelf, http).bring(blob(tmp_path), lambda done: None, never)
    assert shelf.statuses["PATCH"] == []
    assert shelf.blobs == {}


@pytest.mark.parametrize("part", [MEGABYTE, 8 * MEGABYTE])
@pytest.mark.parametrize("wrong", [DATA[:-1] + b"?", DATA[:-1], b"?" + DATA[1:]])
def test_a_rotten_blob_is_never_completed(shelf: Shelf, http: Http, tmp_path: Path, part: int, wrong: bytes) -> None:
    with pytest.raises(Corrupt, match=str(DIGEST)):
        uploader(shelf, http, part).bring(blob(tmp_path, wrong), lambda done: None, never)
    assert shelf.blobs == {}
    assert shelf.received < len(DATA)
    assert shelf.uploads == {}, "the upload was left behind"


def test_cancelled_on_the_way(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    far: list[int] = []
    with pytest.raises(Cancelled):
        uploader(shelf, http).bring(blob(tmp_path), far.append, lambda: bool(far) and far[-1] > MEGABYTE)
    assert shelf.blobs == {}
    assert shelf.uploads == {}


@pytest.mark.parametrize("mounts", [True, False])
def test_another_repository_of_the_registry_has_it(shelf: Shelf, http: Http, tmp_path: Path, mounts: bool) -> None:
    shelf.mounts = mounts
    shelf.blobs["ai/model", str(DIGEST)] = DATA
    sent = uploader(shelf, http).bring(blob(tmp_path, origin="ai/model"), lambda done: None, never)
    assert sent == (not mounts)
    assert shelf.blobs[WHOLE] == DATA
    assert shelf.received == (0 if mounts else len(DATA))
    assert "from=ai%2Fmodel" in shelf.asked("POST")[0]


def test_a_place_elsewhere_is_told_no_secret(shelf: Shelf, http: Http, tmp_path: Path) -> None:
    with running(Shelf()) as other:
        shelf.elsewhere = f"http://{other.host}"
        client = RegistryClient(http, shelf.host, "a/b", write=True, anonymous=True)
        client._authority.header = lambda scopes: "Bearer secret"  # type: ignore[method-assign]
        with pytest.raises(Unreachable):
            Uploader(client, (), MEGABYTE).bring(blob(tmp_path), lambda done: None, never)
        assert shelf.requests[-1][3] == "Bearer secret"
        assert other.requests
        assert {secret for _, _, _, secret in other.requests} == {None}


def test_a_tag_is_read_back(shelf: Shelf, http: Http) -> None:
    uploader(shelf, http).name("v1", b'{"schemaVersion":2}', never)
    assert shelf.manifests["a/b", "v1"] == b'{"schemaVersion":2}'
    shelf.served = b"{}"
    with pytest.raises(HashMismatch, match="a/b:v1"):
        uploader(shelf, http).name("v1", b'{"schemaVersion":2}', never)
