"""Pull a GGUF by its URL: no digest but the one that it turns out to have, or that a person gave."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from registry.digests import digest_of
from registry.errors import BadDigest, BadGGUF, BadSource, Denied, HashMismatch, NotFound, RegistryError, Unreachable
from registry.manifest import REVISION, SOURCE
from registry.names import Name
from registry.origins import Reach, open_source
from registry.progress import Progress
from registry.pull import PullSettings, pull
from registry.resolve import Pin, Wanted, refer
from registry.store import Store
from registry.transfer.http import Http
from tests import tiny_gguf
from tests.oci_registry import Blob, Registry, running
from tests.registry.registries import name_hosts
from tests.registry.test_pull_registries import gguf
from tests.registry.trees import contents, unfinished


@pytest.fixture
def web() -> Iterator[Registry]:
    with running(Registry()) as server:
        yield server


@pytest.fixture
def settings() -> PullSettings:
    return PullSettings(reach=Reach(timeout=5.0), waits=(0.0,) * 3)


def put(web: Registry, name: str, data: bytes, etag: str = '"1"', **options: object) -> str:
    """A file at a URL."""
    headers = {"ETag": etag} if etag else {}
    web.blobs[name] = Blob(data, headers=headers, **options)  # type: ignore[arg-type]
    return f"{web.url}/cdn/{name}"


def test_a_file_is_what_its_url_gives(store: Store, web: Registry, settings: PullSettings) -> None:
    data = gguf(megabytes=3)
    url = put(web, "sub folder/Tiny-Q8_0.gguf", data).replace(" ", "%20")
    pulled = pull(store, f"{url}?key=1", settings=settings)
    assert str(pulled.name) == f"{web.host}/cdn/sub-folder/Tiny-Q8_0:latest"
    assert pulled.weights[0] == store.blobs.path(digest_of(data))
    assert pulled.config.quantization == "Q8_0"
    assert pulled.manifest.annotations[SOURCE] == url
    assert pulled.manifest.annotations[REVISION] == '"1"'
    assert pulled.manifest.layers[0].title == "Tiny-Q8_0.gguf"
    assert unfinished(store.root) == []
    store.check(pulled)


def test_all_shards_lie_beside_the_first(store: Store, web: Registry, settings: PullSettings) -> None:
    shards = tiny_gguf.shards(3)
    urls = [put(web, f"tiny-0000{index}-of-00003.gguf", each) for index, each in enumerate(shards, 1)]
    pulled = pull(store, f"{urls[1]}?key=1", settings=settings)
    assert [each.read_bytes() for each in pulled.weights] == shards
    assert {each.query.get("key", [""])[0] for each in web.requests} == {"1"}
    del web.blobs["tiny-00003-of-00003.gguf"]
    with pytest.raises(NotFound, match="00003-of-00003"):
        pull(store, urls[0], settings=settings)
    with pytest.raises(BadSource, match="makes no sense"):
        pull(store, put(web, "x-00009-of-00003.gguf", gguf()), settings=settings)


def test_a_digest_after_the_url_is_kept_to(store: Store, web: Registry, settings: PullSettings) -> None:
    data = gguf(megabytes=1)
    url = put(web, "x.gguf", data)
    pulled = pull(store, f"{url}#sha256={digest_of(data).hex}", settings=settings)
    before = contents(store.root, ignored=("lock", "stamps", "quarantine", "ingest"))
    with pytest.raises(HashMismatch):
        pull(store, f"{url}#sha256={digest_of(b'other').hex}", settings=settings)
    with pytest.raises(BadDigest):
        pull(store, f"{url}#sha256=../../x", settings=settings)
    assert contents(store.root, ignored=("lock", "stamps", "quarantine", "ingest")) == before
    assert store.show(pulled.name) == pulled


@pytest.mark.parametrize("etag", ['"2"', 'W/"1"', ""])
def test_parts_of_another_state_are_not_gone_on_with(
    store: Store, web: Registry, settings: PullSettings, etag: str
) -> None:
    old, new = gguf("old", 2), gguf("new", 2)
    assert len(old) == len(new)
    first = '"1"' if etag == '"2"' else etag
    url = put(web, "x.gguf", old, first, cuts=[4, 700_000, 0, 0, 0, 0])
    with pytest.raises(Unreachable, match=r"ended after|peer closed"):
        pull(store, url, settings=settings)
    put(web, "x.gguf", new, etag)
    assert pull(store, url, settings=settings).weights[0].read_bytes() == new


@pytest.mark.parametrize("etag", ['"5f3a-1"', ""])
@pytest.mark.parametrize("there", ["x.gguf", "elsewhere/x.gguf"])
def test_bytes_of_another_file_are_not_gone_on_with(
    store: Store, web: Registry, settings: PullSettings, etag: str, there: str
) -> None:
    old, new = gguf("old", 2), gguf("new", 2)
    once = replace(settings, waits=())
    with pytest.raises(Unreachable):
        pull(store, put(web, "x.gguf", old, etag, cuts=[4, 700_000]), settings=once)
    if there == "x.gguf" and etag:
        new = old  # the server's word is that it is the same
    assert pull(store, put(web, there, new, etag), settings=once).weights[0].read_bytes() == new


def test_what_is_being_fetched_without_a_hash_is_nobodys_garbage(
    store: Store, web: Registry, settings: PullSettings
) -> None:
    data = gguf(megabytes=3)

    def prune(step: Progress) -> None:
        if step.completed:
            assert store.prune(grace=0).removed == ()

    assert pull(store, put(web, "x.gguf", data), settings=settings, progress=prune).weights[0].read_bytes() == data


@pytest.mark.parametrize("etag", ['"1"', ""])
def test_a_file_that_changes_while_it_comes_is_not_mixed(
    store: Store, web: Registry, settings: PullSettings, etag: str
) -> None:
    old, new = gguf("old", 2), gguf("new", 2)
    then = Blob(new, headers={"ETag": '"2"'} if etag else {})
    url = put(web, "x.gguf", old, etag, cuts=[4, 1_500_000], then=then)
    if etag:
        with pytest.raises(Unreachable, match="changed"):
            pull(store, url, settings=settings)
        assert store.list() == ()
    else:
        assert pull(store, url, settings=settings).weights[0].read_bytes() == new


def test_a_revision_that_is_gone_is_told(store: Store, web: Registry, settings: PullSettings) -> None:
    url = put(web, "x.gguf", gguf())
    pull(store, Wanted(reference=url, pin=Pin('"1"')), settings=settings)
    put(web, "x.gguf", gguf("y"), '"2"')
    with pytest.raises(NotFound, match='at "2" now'):
        pull(store, Wanted(reference=url, pin=Pin('"1"')), settings=settings)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((200, {"Content-Type": "text/html"}, b"<html>sign in</html>"), BadSource, "but a web page"),
        ((200, {}, b"PK\3\4"), BadSource, "another kind of file"),
        ((200, {}, b""), BadSource, "not a GGUF"),
        ((206, {"Content-Range": "bytes 0-3/*"}, b"GGUF"), Unreachable, "how long"),
        ((206, {"Content-Range": "bytes 0-3/" + "9" * 30}, b"GGUF"), Unreachable, "how long"),
        ((206, {}, b"GGUF"), Unreachable, "how long"),
        ((200, {"Content-Encoding": "gzip"}, b"GGUF"), Unreachable, "compressed"),
        ((403, {}, b""), Denied, "no credentials"),
        ((410, {}, b""), NotFound, "410"),
        ((500, {}, b""), Unreachable, "status 500"),
        ((302, {"Location": "http://169.254.169.254/x"}, b""), Unreachable, "no public address"),
        ((302, {"Location": "http://localhost:1/x"}, b""), Unreachable, "no public address"),
    ],
)
def test_answers_that_are_no_file(
    store: Store,
    web: Registry,
    settings: PullSettings,
    answer: tuple[int, dict[str, str], bytes],
    error: type[RegistryError],
    words: str,
) -> None:
    web.answers["/x.gguf"] = answer
    before = contents(store.root)
    with pytest.raises(error, match=words) as caught:
        pull(store, f"{web.url}/x.gguf?signature=s3cret", settings=settings)
    assert "s3cret" not in str(caught.value)
    assert contents(store.root) == before


def test_bytes_that_only_begin_like_a_gguf_leave_nothing(store: Store, web: Registry, settings: PullSettings) -> None:
    url = put(web, "x.gguf", b"GGUF" + b"\xff" * 3_000_000)
    before = contents(store.root)
    with pytest.raises(BadGGUF):
        pull(store, url, settings=settings)
    assert contents(store.root) == before
    small = put(web, "y.gguf", b"GGUF" + b"\xff" * 300)
    with pytest.raises(BadGGUF):
        pull(store, small, settings=settings)
    assert [each for each in contents(store.root) if each.startswith("blobs")] == []


def test_plain_http_is_for_this_machine(store: Store, settings: PullSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    name_hosts(monkeypatch, "files.example")
    with running(Registry(), name="files.example") as server:
        url = put(server, "x.gguf", gguf())
        with pytest.raises(BadSource, match="--insecure"):
            pull(store, url, settings=settings)
        assert server.requests == []
        assert pull(store, Wanted(reference=url, insecure=True, name="mine"), settings=settings).name == Name.parse(
            "mine"
        )


def test_there_is_one_build(web: Registry, settings: PullSettings) -> None:
    url = put(web, "x-Q8_0.gguf", gguf())
    with Http() as http:
        source = open_source(refer(url), http, settings.reach)
        offer = source.look()
        (build,) = source.builds()
    assert (build.quantization, build.files) == ("Q8_0", offer.weights)
