"""Create: a Modelfile becomes a model, or the store stays byte for byte as it was."""

import errno
import os
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.create import create
from registry.digests import digest_of
from registry.errors import (
    BadGGUF,
    BadSource,
    Cancelled,
    Corrupt,
    NoSpace,
    NotFound,
    RegistryError,
    Unreadable,
    UnsupportedModel,
)
from registry.gguf.reader import read_header
from registry.progress import Progress
from registry.sources.local import gguf_files
from registry.store import Store
from tests import tiny_gguf
from tests.registry.faulty_disk import FaultyDisk
from tests.registry.models import gguf_file, make
from tests.registry.trees import contents, unfinished


def test_from_a_file_beside_the_modelfile(store: Store, tmp_path: Path) -> None:
    path = gguf_file(tmp_path, "tiny.gguf")
    seen: list[Progress] = []
    made = create(store, "mine", parse("FROM ./tiny.gguf"), base=tmp_path, progress=seen.append)
    assert made.weights[0].read_bytes() == path.read_bytes()
    assert made.config.family == "llama"
    assert made.config.quantization == "Q8_0"
    assert made.config.context_length == 512
    assert made.manifest.layers[0].title == "tiny.gguf"
    assert seen[0].status == "gathering model components"
    assert seen[-1].status == "writing manifest"
    reading = [each for each in seen if each.status == "reading tiny.gguf"]
    assert [each.completed for each in reading] == sorted(each.completed for each in reading)
    assert reading[-1].completed == reading[-1].total == path.stat().st_size


@pytest.mark.parametrize("source", ["{path}", "./tiny.gguf", "tiny.gguf", ".", "./", "sub/../tiny.gguf"])
def test_ways_to_name_a_file(store: Store, tmp_path: Path, source: str) -> None:
    folder = tmp_path / "folder"
    path = gguf_file(folder, "tiny.gguf")
    (folder / "sub").mkdir()
    made = create(store, "mine", parse(f"FROM {source.format(path=path)}"), base=folder)
    assert made.weights[0].read_bytes() == path.read_bytes()


def test_the_users_file_is_not_copied_where_it_can_be_shared(store: Store, tmp_path: Path) -> None:
    path = gguf_file(tmp_path)
    mode = path.stat().st_mode
    made = create(store, "mine", parse("FROM ./tiny.gguf"), base=tmp_path)
    blob = made.weights[0].stat()
    shared = blob.st_ino == path.stat().st_ino
    cloned = blob.st_ino != path.stat().st_ino and blob.st_mode & 0o222 == 0
    assert shared or cloned
    assert path.stat().st_mode == mode
    store.remove("mine")
    assert path.exists()


def test_from_an_uploaded_blob(store: Store) -> None:
    data = tiny_gguf.model().build()
    digest = store.blobs.write(data)
    for source in ("FROM model.gguf", "FROM ./model.gguf", "FROM .", ""):
        made = create(store, "mine", parse(source) if source else _no_from(), files={"model.gguf": digest})
        assert made.weights == (store.blobs.path(digest),)
        assert made.manifest.layers[0].title == "model.gguf"


def _no_from():  # type: ignore[no-untyped-def]  # a Modelfile without instructions
    from modelfiles.instructions import Modelfile

    return Modelfile(())


def test_an_upload_that_never_arrived(store: Store) -> None:
    with pytest.raises(BadSource, match="upload it first"):
        create(store, "mine", parse("FROM model.gguf"), files={"model.gguf": digest_of(b"x")})


def test_uploaded_safetensors_are_refused_with_what_to_do(store: Store) -> None:
    digest = store.blobs.write(b"x" * 100)
    with pytest.raises(BadSource, match="convert it to GGUF first"):
        create(store, "mine", parse("FROM model.safetensors"), files={"model.safetensors": digest})


def test_from_a_stored_model_everything_is_inherited_and_overridden(store: Store, tmp_path: Path) -> None:
    more = (
        "SYSTEM old\nPARAMETER temperature 0.5\nPARAMETER top_k 3\nLICENSE one\nMESSAGE user hi\nTEMPLATE {{ .Tools }}"
    )
    base = make(store, "base", tmp_path, more=more)
    plain = create(store, "same", parse("FROM base"))
    assert (plain.system, plain.parameters, plain.messages) == (base.system, base.parameters, base.messages)
    assert plain.config.parent == "base:latest"
    changed = create(
        store, "changed", parse("FROM base\nSYSTEM new\nPARAMETER temperature 1\nLICENSE two\nMESSAGE user yo")
    )
    assert changed.system == "new"
    assert changed.parameters == {"temperature": 1.0, "top_k": 3}
    assert changed.licenses == ("one", "two")
    assert [each.content for each in changed.messages] == ["yo"]
    assert changed.template == "{{ .Tools }}"
    assert changed.weights == base.weights
    assert "tools" in changed.config.capabilities
    store.remove("base")
    store.check(store.show("changed"))


def test_renderer_parser_and_requires_are_kept(store: Store, tmp_path: Path) -> None:
    made = make(store, "one", tmp_path, more="RENDERER qwen3-coder\nPARSER qwen3-coder\nREQUIRES 0.14.0")
    inherited = create(store, "two", parse("FROM one"))
    for each in (made, inherited):
        assert (each.config.renderer, each.config.parser, each.config.requires) == (
            "qwen3-coder",
            "qwen3-coder",
            "0.14.0",
        )


def test_a_model_can_be_made_from_itself(store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path)
    assert create(store, "one", parse("FROM one\nSYSTEM hi")).system == "hi"


@pytest.mark.parametrize("naming", ["first", "all", "folder"])
def test_all_shards_are_taken_in_order(store: Store, tmp_path: Path, naming: str) -> None:
    names = [f"big-{index:05}-of-00003.gguf" for index in (1, 2, 3)]
    for name, data in zip(names, tiny_gguf.shards(3), strict=True):
        (tmp_path / name).write_bytes(data)
    said = {"first": [names[0]], "all": [names[2], names[0], names[1]], "folder": ["."]}[naming]
    made = create(store, "big", parse("\n".join(f"FROM {each}" for each in said)), base=tmp_path)
    assert [path.read_bytes() for path in made.weights] == [(tmp_path / name).read_bytes() for name in names]
    assert made.config.parameter_count == 3 * 256
    assert parse_again(store, made.modelfile()) == 3


def parse_again(store: Store, modelfile) -> int:  # type: ignore[no-untyped-def]  # a Modelfile
    """How many weights a shown Modelfile leads to when it is created anew."""
    return len(create(store, "again", modelfile, base=store.root).weights)


def test_a_missing_shard_is_named(store: Store, tmp_path: Path) -> None:
    for index, data in enumerate(tiny_gguf.shards(3)[:2], 1):
        (tmp_path / f"big-{index:05}-of-00003.gguf").write_bytes(data)
    with pytest.raises(BadSource, match=r"big-00003-of-00003\.gguf: no such file"):
        create(store, "big", parse("FROM ./big-00001-of-00003.gguf"), base=tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps users apart by other means than a mode")
def test_a_file_in_a_home_that_only_its_owner_enters_is_unreadable(tmp_path: Path) -> None:
    """What a daemon of another user is asked for, such as the machine's service."""
    gguf_file(tmp_path, "model.gguf")
    was = os.geteuid()
    tmp_path.chmod(0)
    try:
        if was == 0:
            os.seteuid(65534)
        with pytest.raises(Unreadable, match=r"/model\.gguf: can't be (read|opened): Permission denied"):
            [read_header(path) for path in gguf_files("./model.gguf", tmp_path)]
    finally:
        os.seteuid(was)
        tmp_path.chmod(0o700)


def test_a_projector_gives_sight(store: Store, tmp_path: Path) -> None:
    gguf_file(tmp_path, "model.gguf")
    (tmp_path / "mmproj.gguf").write_bytes(tiny_gguf.projector())
    made = create(store, "seeing", parse("FROM ./model.gguf\nFROM ./mmproj.gguf"), base=tmp_path)
    assert made.projector is not None
    assert made.projector.read_bytes() == tiny_gguf.projector()
    assert "vision" in made.config.capabilities
    assert made.config.families == ("llama", "clip")
    assert create(store, "heir", parse("FROM seeing")).projector == made.projector


def test_adapters_and_drafts(store: Store, tmp_path: Path) -> None:
    gguf_file(tmp_path, "model.gguf")
    gguf_file(tmp_path, "small.gguf", "small")
    (tmp_path / "lora.gguf").write_bytes(tiny_gguf.adapter())
    text = "FROM ./model.gguf\nADAPTER ./lora.gguf\nDRAFT ./small.gguf"
    made = create(store, "tuned", parse(text), base=tmp_path)
    assert [path.read_bytes() for path in made.adapters] == [tiny_gguf.adapter()]
    assert [path.read_bytes() for path in made.draft] == [(tmp_path / "small.gguf").read_bytes()]
    assert create(store, "heir", parse("FROM tuned")).adapters == made.adapters
    drafted = create(store, "drafted", parse("FROM tuned\nDRAFT heir"))
    assert drafted.draft == made.weights


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


BAD: dict[str, tuple[str, type[RegistryError], str]] = {
    "no FROM": ("", BadSource, "needs a FROM"),
    "a model that isn't there": ("FROM lama", NotFound, "model 'lama:latest' not found"),
    "a file that isn't there": ("FROM ./gone.gguf", BadSource, "no such file"),
    "a path that no disk takes": (f"FROM ./{'x' * 300}", BadSource, "File name too long"),
    "a name that no disk takes": (f"FROM {'x' * 300}", BadSource, "x: "),
    "neither name nor file": ("FROM what is this", BadSource, "neither a file nor a model's name"),
    "a text": ("FROM ./text.gguf", BadGGUF, "text.gguf: not a GGUF file"),
    "cut short": ("FROM ./cut.gguf", BadGGUF, "it is cut short"),
    "lying": ("FROM ./lying.gguf", BadGGUF, "metadata keys are more"),
    "a vocabulary": ("FROM ./vocabulary.gguf", BadGGUF, "no tensors"),
    "an unknown architecture": ("FROM ./carpet.gguf", UnsupportedModel, "carpet.gguf: architecture 'flying-carpet'"),
    "a projector alone": ("FROM ./mmproj.gguf", BadSource, "no model among"),
    "two models": ("FROM ./one.gguf\nFROM ./two.gguf", BadSource, "several models"),
    "two projectors": ("FROM ./one.gguf\nFROM ./mmproj.gguf\nFROM ./mmproj2.gguf", BadSource, "several projectors"),
    "safetensors": ("FROM ./model.safetensors", BadSource, "convert it to GGUF first"),
    "a folder of safetensors": ("FROM ./tensors", BadSource, "convert it to GGUF first"),
    "an empty folder": ("FROM ./empty", BadSource, "no GGUF file"),
    "a pipe": ("FROM ./pipe.gguf", BadSource, "not a regular file"),
    "a device": ("FROM /dev/zero", BadSource, "not a regular file"),
    "one shard of a wrong count": ("FROM ./x-00009-of-00003.gguf", BadSource, "makes no sense"),
    "an adapter that is a model": ("FROM ./one.gguf\nADAPTER ./two.gguf", BadSource, "not an adapter but a model"),
    "an adapter for another": ("FROM ./one.gguf\nADAPTER ./other-lora.gguf", BadSource, "an adapter for qwen3"),
    "an adapter that isn't there": ("FROM ./one.gguf\nADAPTER ./gone.gguf", BadSource, "no such file"),
    "an adapter as safetensors": ("FROM ./one.gguf\nADAPTER ./lora.safetensors", BadSource, "convert_lora_to_gguf.py"),
    "a folder of them": ("FROM ./one.gguf\nADAPTER ./tuned", BadSource, "convert_lora_to_gguf.py"),
    "an adapter for another width": ("FROM ./one.gguf\nADAPTER ./wide-lora.gguf", BadGGUF, "is 64 by 1 here, and"),
    "an adapter for more": ("FROM ./one.gguf\nADAPTER ./deep-lora.gguf", BadGGUF, "no blk.9.ffn_up.weight in"),
    "a draft that is text": ("FROM ./one.gguf\nDRAFT ./text.gguf", BadGGUF, "not a GGUF file"),
}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of good and bad files."""
    folder = tmp_path / "shelf"
    gguf_file(folder, "one.gguf", "one")
    gguf_file(folder, "two.gguf", "two")
    sound = tiny_gguf.model().build()
    _write(folder / "text.gguf", b"this is a text and no model at all")
    _write(folder / "cut.gguf", sound[:-10])
    _write(folder / "lying.gguf", tiny_gguf.Gguf(key_count=2**60).build())
    _write(folder / "vocabulary.gguf", tiny_gguf.model(tensors=[]).build())
    _write(folder / "carpet.gguf", tiny_gguf.model("flying-carpet").build())
    _write(folder / "mmproj.gguf", tiny_gguf.projector())
    _write(folder / "mmproj2.gguf", tiny_gguf.projector({"general.name": "2"}))
    _write(folder / "model.safetensors", b"x" * 100)
    _write(folder / "other-lora.gguf", tiny_gguf.adapter("qwen3"))
    _write(folder / "wide-lora.gguf", tiny_gguf.adapter(width=96))
    _write(folder / "deep-lora.gguf", tiny_gguf.adapter(target="blk.9.ffn_up.weight"))
    (folder / "tuned").mkdir()
    _write(folder / "tuned" / "adapter_model.safetensors", b"{}")
    (folder / "tensors").mkdir()
    _write(folder / "tensors" / "model-00001-of-00002.safetensors", b"x" * 100)
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe.gguf")
    return folder


@pytest.mark.parametrize(("text", "kind", "complaint"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_named_and_leaves_no_trace(
    store: Store, shelf: Path, text: str, kind: type[RegistryError], complaint: str
) -> None:
    make(store, "other", shelf.parent, "other")
    before, files = contents(store.root), contents(shelf)
    with pytest.raises(kind) as caught:
        create(store, "mine", parse(text) if text else _no_from(), base=shelf)
    assert complaint in str(caught.value)
    assert contents(store.root) == before
    assert contents(shelf) == files


def test_without_a_base_no_file_is_opened_and_nothing_is_told(store: Store, shelf: Path) -> None:
    told = set()
    for source in (shelf / "one.gguf", shelf / "gone.gguf", "/etc/passwd.gguf", "/dev/zero"):
        with pytest.raises(BadSource) as caught:
            create(store, "mine", parse(f"FROM {source}"))
        told.add(str(caught.value).replace(str(source), "X"))
    assert told == {"FROM X: files can't be read from here; upload it first"}
    digest = store.blobs.write(tiny_gguf.model().build())
    with pytest.raises(BadSource, match="files can't be read from here"):
        create(store, "mine", parse(f"FROM m.gguf\nADAPTER {shelf}/lora.gguf"), files={"m.gguf": digest})


def test_an_uploaded_blob_survives_a_failed_create(store: Store) -> None:
    digest = store.blobs.write(b"no model at all, but uploaded with care")
    with pytest.raises(BadGGUF, match=r"model\.gguf: not a GGUF"):
        create(store, "mine", parse("FROM model.gguf"), files={"model.gguf": digest})
    assert store.blobs.has(digest)
    assert store.list() == ()


def test_cancelling_leaves_no_trace(store: Store, tmp_path: Path) -> None:
    gguf_file(tmp_path)
    before = contents(store.root)
    for after in range(2):
        answers = iter([False] * after + [True] * 100)
        with pytest.raises(Cancelled):
            create(store, "mine", parse("FROM ./tiny.gguf"), base=tmp_path, cancelled=lambda it=answers: next(it))
        assert contents(store.root) == before


def test_a_full_disk_at_any_step_leaves_no_trace(root: Path, tmp_path: Path) -> None:
    gguf_file(tmp_path)
    modelfile = parse("FROM ./tiny.gguf\nSYSTEM hi")
    counting = FaultyDisk()
    with Store.open(tmp_path / "count", counting) as store:
        opened = counting.count
        create(store, "mine", modelfile, base=tmp_path, taking="copy")
        ended = counting.count
    removals = 0
    for at in range(opened + 1, ended + 1):
        disk = FaultyDisk(at, OSError(errno.ENOSPC, "No space left on device"))
        with Store.open(tmp_path / f"at{at}", disk) as store:
            before = contents(store.root)
            try:
                create(store, "mine", modelfile, base=tmp_path, taking="copy")
            except NoSpace:
                assert contents(store.root) == before or _published_early(store)
            else:
                removals += not counting.steps[at - 1].is_optional  # clearing away something that was in nobody's way
            assert unfinished(store.root) == []
            # No restart needed: the same command works once there is room.
            create(store, "mine", modelfile, base=tmp_path, taking="copy")
            store.check(store.show("mine"))
    assert removals <= 4


def _published_early(store: Store) -> bool:
    """The very last step makes a manifest's name durable; failing there, the model may be seen already."""
    return [each.name.model for each in store.list()] == ["mine"] and store.broken() == ()


def test_a_corrupt_parent_is_not_passed_on(store: Store, tmp_path: Path) -> None:
    base = make(store, "base", tmp_path)
    base.weights[0].chmod(0o644)
    base.weights[0].write_bytes(b"\0" * base.weights[0].stat().st_size)
    with pytest.raises(Corrupt):
        create(store, "child", parse("FROM base"))
    assert not store.has("child")
