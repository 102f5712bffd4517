"""Adopting: another tool's model becomes one of ours; its files stay what and where they are, and take space once."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.adopt.found import Found
from registry.adopt.places import chosen, look_in, nearby
from registry.adopt.take import adopt, here_as
from registry.create import create
from registry.digests import digest_of
from registry.disk import Disk
from registry.errors import BadSource, Cancelled, Corrupt, NotFound, UnsupportedModel
from registry.manifest import SYSTEM
from registry.progress import Progress
from registry.pull import PullSettings, pull
from registry.store import Store
from registry.stored import StoredModel
from tests import tiny_gguf
from tests.hub import Hub
from tests.oci_registry import Registry, running
from tests.registry.layouts import DOCKER, docker_model, ollama_model
from tests.registry.models import gguf_file, make
from tests.registry.strangers import Apart, Linking, look, make_read_only, make_writable
from tests.registry.trees import contents, unfinished

GGUF = tiny_gguf.model().build()


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    root = tmp_path / "ollama"
    ollama_model(
        root,
        "library/tiny/latest",
        [("model", GGUF), ("template", b"{{ .Prompt }}"), ("system", b"be nice"), ("license", b"MIT"),
         ("params", b'{"temperature": 0.5, "stop": ["a", "b"], "unheard_of": 1}'),
         ("messages", b'[{"role": "user", "content": "hi"}]')],
        {"parser": "qwen3", "file_type": "Q8_0"},
    )  # fmt: skip
    return root


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than the tests' where the machine has one; else the same."""
    import shutil
    import tempfile

    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(dir=base))
    yield folder
    shutil.rmtree(folder)


def one(place: Path, name: str = "") -> Found:
    found = look_in(str(place))
    return chosen(found, [name])[0] if name else found.models[0]


def space(*folders: Path) -> int:
    """Bytes on the disk, each file once."""
    files = {}
    for folder in folders:
        for path in folder.rglob("*"):
            status = path.lstat()
            files[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(files.values())


def test_an_ollama_model_with_all_that_it_sets(store: Store, ollama: Path) -> None:
    said: list[Progress] = []
    model = adopt(store, one(ollama), said.append)
    assert str(model.name) == "ollama.com/library/tiny:latest"
    assert model.weights[0].read_bytes() == GGUF
    assert (model.template, model.system, model.licenses) == ("{{ .Prompt }}", "be nice", ("MIT",))
    assert dict(model.parameters) == {"temperature": 0.5, "stop": ("a", "b")}
    assert [each.content for each in model.messages] == ["hi"]
    assert (model.config.parser, model.config.quantization) == ("qwen3", "Q8_0")
    assert model.manifest.annotations["org.runner.reference"] == "ollama.com/library/tiny:latest"
    assert said[0].status == "adopting ollama.com/library/tiny:latest of Ollama"
    hashing = [each.completed for each in said if each.status.startswith("hashing")]
    assert hashing == sorted(hashing)
    assert hashing[-1] == len(GGUF)
    assert said[-1].status == "adopted ollama.com/library/tiny:latest"


@pytest.mark.parametrize("disk", [Linking(), Apart()])
def test_a_read_only_tree_stays_as_it_is_whatever_is_done(root: Path, ollama: Path, disk: Disk) -> None:
    make_read_only(ollama)
    before = look(ollama)
    try:
        with Store.open(root, disk) as store:
            model = adopt(store, one(ollama))
            store.check(model)
            assert model.weights[0].samefile(ollama / "blobs" / digest_of(GGUF).file_name)
            assert model.weights[0].stat().st_mode & 0o777 == 0o444
            store.copy(model.name, "mine")
            store.remove(model.name)
            store.prune(grace=0)
            store.check(store.show("mine"))
            store.remove("mine")
            store.prune(grace=0)
            assert list(store.blobs.all()) == []
        assert look(ollama) == before
    finally:
        make_writable(ollama)


def test_a_linked_inode_keeps_its_mode(root: Path, ollama: Path) -> None:
    blob = ollama / "blobs" / digest_of(GGUF).file_name
    blob.chmod(0o640)
    before = look(ollama)
    with Store.open(root, Linking()) as store:
        adopt(store, one(ollama))
    assert blob.stat().st_nlink == 2
    assert look(ollama) == before


def test_on_another_file_system_files_stay_there(store: Store, elsewhere: Path, root: Path) -> None:
    docker_model(elsewhere, ["ai/tiny"], [(DOCKER + "gguf.v3", GGUF, "")])
    before, said = look(elsewhere), list[Progress]()
    model = adopt(store, one(elsewhere), said.append)
    store.check(model)
    if elsewhere.stat().st_dev == root.stat().st_dev:
        assert model.weights[0].samefile(elsewhere / "blobs" / "sha256" / digest_of(GGUF).hex)
    else:
        assert model.weights == (elsewhere / "blobs" / "sha256" / digest_of(GGUF).hex,)
        assert "stay where Docker Model Runner has them" in said[-1].status
        model.weights[0].unlink()
        with pytest.raises(Corrupt, match=r"docker\.io/ai/tiny:latest.*Docker Model Runner, .*, which is gone"):
            store.show(model.name)
        model.weights[0].write_bytes(GGUF)
        store.check(store.show(model.name))
    assert {path: each[0] for path, each in look(elsewhere).items()}.keys() == before.keys()


@pytest.mark.parametrize("disk", [Linking(), Apart()])
def test_a_large_sparse_file_adds_no_bytes(root: Path, tmp_path: Path, disk: Disk) -> None:
    size = 256 << 20
    header = tiny_gguf.model(tensors=[tiny_gguf.Tensor("token_embd.weight", (1 << 16, size // (4 << 16)))])
    path = tmp_path / "theirs" / "big-Q8_0.gguf"
    path.parent.mkdir()
    path.write_bytes(header.header())
    os.truncate(path, size + (1 << 16))
    with Store.open(root, disk) as store:
        before = space(root, path.parent)
        said: list[Progress] = []
        model = adopt(store, one(path.parent), said.append)
        assert space(root, path.parent) - before < 100_000
        assert model.size >= size
        counts = [each.completed for each in said if each.total]
        assert counts == sorted(counts)
        assert len(counts) > 100  # it was told on the way, not only at the end


def test_adopting_again_reads_nothing(
    root: Path, ollama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf_file(tmp_path / "folder", "tiny-Q8_0.gguf", "f")
    for disk in (Linking(), Apart()):
        with Store.open(root / type(disk).__name__, disk) as store:
            for place in (ollama, tmp_path / "folder"):
                assert here_as(store.list(), one(place)) is None
                first = adopt(store, one(place))
                assert here_as(store.list(), one(place)) == first.name
                with monkeypatch.context() as patched:
                    patched.setattr("registry.blobs.take_in", lambda *_: pytest.fail("read again"))
                    assert adopt(store, one(place)) == first


def test_a_model_of_another_origin_is_not_replaced(store: Store, ollama: Path, tmp_path: Path) -> None:
    mine = make(store, "ollama.com/library/tiny", tmp_path, "mine")
    with pytest.raises(BadSource, match="another model of this name"):
        adopt(store, one(ollama))
    assert store.show("ollama.com/library/tiny") == mine
    folder = gguf_file(tmp_path / "folder", "same-Q8_0.gguf", "a").parent
    kept = make(store, "same:Q8_0", tmp_path, "b")  # as long, so that only hashing tells
    before = contents(store.root)
    with pytest.raises(BadSource, match="another model of this name"):
        adopt(store, one(folder))
    assert store.show("same:Q8_0") == kept
    assert contents(store.root) == before


@pytest.mark.parametrize("hurt", ["text", "config", "manifest"])
def test_a_broken_model_of_other_files_is_not_replaced(store: Store, tmp_path: Path, hurt: str) -> None:
    found = one(gguf_file(tmp_path / "folder", "mine.gguf", "theirs"))
    mine = make(store, str(found.name), tmp_path, "precious", "SYSTEM hello")
    if hurt == "manifest":
        next((store.root / "manifests").rglob(found.name.tag)).write_bytes(b"{}")
    else:
        broken = mine.manifest.config if hurt == "config" else mine.manifest.of(SYSTEM)[0]
        store.blobs.path(broken.digest).unlink()
    before = contents(store.root)
    assert store.broken()
    with pytest.raises(BadSource, match="another model of this name"):
        adopt(store, found)
    assert contents(store.root) == before


def test_a_broken_model_of_the_same_files_and_more_is_not_replaced(store: Store, tmp_path: Path) -> None:
    file = gguf_file(tmp_path / "folder", "mine.gguf")
    mine = create(store, one(file).name, parse("FROM ./mine.gguf\nSYSTEM hello"), base=file.parent)
    store.blobs.path(mine.manifest.of(SYSTEM)[0].digest).unlink()
    before = contents(store.root)
    with pytest.raises(BadSource, match="another model of this name"):
        adopt(store, one(file))
    assert contents(store.root) == before


@pytest.mark.parametrize("moment", ["hashing", "writing manifest"])
def test_a_model_made_meanwhile_is_not_replaced(store: Store, tmp_path: Path, moment: str) -> None:
    found = one(gguf_file(tmp_path / "folder", "mine.gguf", "theirs"))
    made: list[StoredModel] = []

    def say(progress: Progress) -> None:
        if progress.status.startswith(moment) and not made:
            made.append(make(store, str(found.name), tmp_path, "precious"))

    with pytest.raises(BadSource, match="another model of this name"):
        adopt(store, found, say)
    assert store.list() == (made[0],)
    store.check(made[0])


def test_a_broken_model_is_made_whole(root: Path, ollama: Path) -> None:
    with Store.open(root, Linking()) as store:
        model = adopt(store, one(ollama))
        model.weights[0].unlink()
        assert store.broken()
        adopt(store, one(ollama))
        assert store.list() == (store.show(model.name),)


@pytest.mark.parametrize("disk", [Linking(), Apart()])
def test_wrong_bytes_under_a_digest_are_found_and_left(root: Path, ollama: Path, disk: Disk) -> None:
    blob = ollama / "blobs" / digest_of(GGUF).file_name
    blob.write_bytes(GGUF[:-1] + b"!")
    before = look(ollama)
    with Store.open(root, disk) as store:
        with pytest.raises(BadSource, match=r"has other bytes than Ollama says"):
            adopt(store, one(ollama))
        assert store.list() == ()
        assert list(store.blobs.all()) == []
        assert unfinished(root) == []
    assert not (root / "quarantine").exists()
    assert look(ollama) == before


def test_a_text_with_wrong_bytes_is_found(store: Store, ollama: Path) -> None:
    (ollama / "blobs" / digest_of(b"be nice").file_name).write_bytes(b"be evil")
    with pytest.raises(BadSource, match="other bytes than Ollama says"):
        adopt(store, one(ollama))
    assert list(store.blobs.all()) == []


def test_what_cannot_run_is_refused_before_it_is_hashed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.blobs.take_in", lambda *_: pytest.fail("hashed"))
    odd = tmp_path / "odd-Q8_0.gguf"
    odd.write_bytes(tiny_gguf.model("not-yet-known").build())
    with pytest.raises(UnsupportedModel):
        adopt(store, one(odd))


@pytest.mark.parametrize("disk", [Linking(), Apart()])
def test_cancelling_leaves_the_store_as_it_was(root: Path, ollama: Path, disk: Disk) -> None:
    before = look(ollama)
    with Store.open(root, disk) as store:
        empty = contents(root)
        stop = threading.Event()

        def say(progress: Progress) -> None:
            if progress.status.startswith("hashing") and progress.completed:
                stop.set()

        with pytest.raises(Cancelled):
            adopt(store, one(ollama), say, stop.is_set)
        assert contents(root) == empty
        with pytest.raises(NotFound):
            store.show("ollama.com/library/tiny")
    assert look(ollama) == before


def test_what_the_hubs_client_fetched_takes_its_space_once(
    root: Path, hub: Hub, tmp_path: Path, settings: PullSettings
) -> None:
    from huggingface_hub import hf_hub_download

    data = tiny_gguf.model(extra={"general.description": "x" * 4_000_000}).build()
    hub.add("org/tiny-GGUF", {"tiny-Q8_0.gguf": data})
    cache = settings.reach.hub_cache
    assert cache is not None
    hf_hub_download("org/tiny-GGUF", "tiny-Q8_0.gguf", cache_dir=cache, endpoint=hub.endpoint)
    for disk in (Linking(), Apart()):
        place = root / type(disk).__name__
        with Store.open(place, disk) as store:
            before, alone = look(cache), space(cache)
            model = adopt(store, one(cache))
            assert space(cache, place) - alone < 100_000
            assert alone > 4_000_000
            # A pull finds all that it needs.
            sent = hub.sent
            assert pull(store, str(model.name), settings=settings).weights == model.weights
            assert hub.sent == sent
            assert look(cache) == before


@pytest.mark.parametrize("disk", [Linking(), Apart()])
def test_a_pull_takes_what_another_tool_has(
    root: Path, hub: Hub, settings: PullSettings, ollama: Path, disk: Disk
) -> None:
    from dataclasses import replace

    hub.add("org/tiny-GGUF", {"tiny-Q8_0.gguf": GGUF})
    before = look(ollama)
    with_ollama = replace(settings, nearby=nearby(("ollama",), {"OLLAMA_MODELS": str(ollama)}))
    with Store.open(root, disk) as store:
        model = pull(store, "hf.co/org/tiny-GGUF:Q8_0", settings=with_ollama)
        assert hub.downloads() == []
        assert model.weights[0].samefile(ollama / "blobs" / digest_of(GGUF).file_name)
        assert look(ollama) == before
        # What lies there with other bytes isn't taken.
        store.remove(model.name)
        (ollama / "blobs" / digest_of(GGUF).file_name).write_bytes(b"\0" * len(GGUF))
        assert pull(store, "hf.co/org/tiny-GGUF:Q8_0", settings=with_ollama).weights[0].read_bytes() == GGUF
        assert len(hub.downloads()) == 1
        assert (ollama / "blobs" / digest_of(GGUF).file_name).read_bytes() == b"\0" * len(GGUF)


def test_shards_and_their_projector(store: Store, tmp_path: Path) -> None:
    one_half, other_half = tiny_gguf.shards(2)
    projector = tiny_gguf.Gguf(
        {"general.architecture": "clip", "general.type": "mmproj", "clip.has_vision_encoder": True,
         "clip.projector_type": "mlp"},
        [tiny_gguf.Tensor("v.patch_embd.weight", (8, 8))],
    ).build()  # fmt: skip
    folder = tmp_path / "lm" / "org" / "repo"
    folder.mkdir(parents=True)
    (folder / "m-Q8_0-00001-of-00002.gguf").write_bytes(one_half)
    (folder / "m-Q8_0-00002-of-00002.gguf").write_bytes(other_half)
    (folder / "mmproj-m-F16.gguf").write_bytes(projector)
    model = adopt(store, one(folder))
    assert [each.read_bytes() for each in model.weights] == [one_half, other_half]
    assert model.projector is not None


def test_an_adopted_model_is_the_one_that_a_pull_would_have_brought(
    root: Path, tmp_path: Path, settings: PullSettings
) -> None:
    theirs = tmp_path / "docker"
    with running(Registry()) as registry:
        layers = [(DOCKER + "gguf.v3", GGUF, "tiny.gguf"), (DOCKER + "license", b"MIT", "LICENSE"),
                  (DOCKER + "chat.template.jinja", b"{{ messages }}", "")]  # fmt: skip
        docker_model(theirs, [f"{registry.host}/ai/tiny:1"], layers, {"quantization": "MOSTLY_Q8_0"})
        for path in (theirs / "blobs" / "sha256").iterdir():
            registry.add_blob(path.read_bytes())
        registry.add_manifest("ai/tiny", "1", next((theirs / "manifests" / "sha256").iterdir()).read_bytes())
        with Store.open(root / "one", Linking()) as store:
            adopted = adopt(store, one(theirs))
        with Store.open(root / "two", Linking()) as store:
            pulled = pull(store, f"{registry.host}/ai/tiny:1", settings=settings)
    assert adopted.name == pulled.name
    assert adopted.manifest == pulled.manifest
