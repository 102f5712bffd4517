"""The lock file: equal locks are equal bytes, what was written is read back, and anything odd is named by its line."""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.errors import FileError
from modelfiles.lockfile import (
    Lock,
    Locked,
    LockedCreate,
    LockedFile,
    LockedPull,
    differences,
    folded,
    read,
    same_reference,
    write,
)

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
PULLED = LockedPull(
    reference="hf.co/org/repo:Q8_0",
    source="https://hf.co/org/repo/tree/0123456789",
    revision="0a1b2c3d4e0a1b2c3d4e0a1b2c3d4e0a1b2c3d4e",
    digest=DIGEST,
    files=(LockedFile("a-00001-of-00002.gguf", DIGEST, 7), LockedFile("a-00002-of-00002.gguf", OTHER, 8)),
)
CREATED = LockedCreate(base="hf.co/org/repo:Q8_0", modelfile=OTHER, digest=DIGEST)

names = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z]{2}/[A-Za-z0-9]{1,5})?(:[A-Za-z0-9_.]{1,8})?", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30)
entries: st.SearchStrategy[Locked] = st.one_of(
    st.builds(
        LockedPull,
        reference=words,
        source=words,
        revision=words,
        digest=digests,
        files=st.lists(st.builds(LockedFile, words, digests, st.integers(0, 2**50)), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(LockedCreate, base=st.one_of(st.just(""), names), modelfile=digests, quantize=st.just("Q4_K_M")),
)


@given(
    st.dictionaries(names, entries, max_size=4).filter(lambda each: len({folded(name) for name in each}) == len(each))
)
def test_what_is_written_is_read_back_and_order_doesnt_count(models: dict[str, Locked]) -> None:
    text = write(Lock(models))
    assert read("f", text).models == models
    assert write(Lock(dict(reversed(models.items())))) == text
    assert differences(Lock(models), read("f", text)) == ()


def test_one_change_is_a_small_difference() -> None:
    before = Lock({"b:latest": PULLED, "mine:latest": CREATED})
    after = before.with_entries({"B": LockedCreate(base="x", modelfile=DIGEST)})
    assert list(after.models) == ["mine:latest", "B"], "a name in another case is the same name"
    changed = LockedPull(
        reference=PULLED.reference, source=PULLED.source, revision="new", digest=OTHER, files=PULLED.files
    )
    lines = [write(each).splitlines() for each in (before, before.with_entries({"b:latest": changed}))]
    assert sum(one != other for one, other in zip(*lines, strict=True)) == 2
    [line] = differences(before, before.with_entries({"b:latest": changed}))
    assert line == f"b:latest: revision {PULLED.revision} became new, digest {DIGEST} became {OTHER}"
    assert differences(Lock(), Lock({"x": CREATED})) == ("x isn't in it",)
    assert differences(Lock({"x": CREATED}), Lock()) == ("x is in it, and shouldn't be",)


def test_names_are_found_as_people_type_them() -> None:
    lock = Lock({"hf.co/Org/Repo:latest": PULLED, "mine:v1": CREATED})
    assert lock.find("hf.co/org/repo") == ("hf.co/Org/Repo:latest", PULLED)
    assert lock.find("mine") is None
    assert lock.near("mine:v2") == ("mine:v1",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 1", "version: 2", "f, line 3: version: this version of Runner knows 1; a later one wrote this file"),
        ("version: 1\n", "", "version: is missing"),
        (
            "revision: ",
            "revison: ",
            "f, line 8: models.b:latest.revison: there is no such field; did you mean revision?",
        ),
        (DIGEST, "sha256:AB", "f, line 9: models.b:latest.digest: 'sha256:AB' is no digest"),
        ("size: 7", "size: -7", "f, line 13: models.b:latest.files[0].size: must be a whole number"),
        ("size: 7", "size: true", "must be a whole number"),
        ("    reference:", "    source: x\n    reference:", "models.b:latest.source: is given twice"),
        ("  mine:latest:", "  B:", "f, line 17: models.B: is the same name as b:latest"),
        ("  mine:latest:", "  b:latest:", "models.b:latest: is given twice"),
        ("from: ", "form: ", "models.mine:latest.form: there is no such field; did you mean from?"),
        ("models:", "<<<<<<< HEAD\nmodels:", "f, line 5: not YAML"),
        (f"modelfile: {OTHER}", "modelfile: [1]", "it must be a text"),
        ("revision: 0a1b2c3d4e0a1b2c3d4e0a1b2c3d4e0a1b2c3d4e", "revision: 123", "it must be a text; put it in quotes"),
    ],
)
def test_what_is_odd_is_named_with_its_line(old: str, new: str, said: str) -> None:
    text = write(Lock({"b:latest": PULLED, "mine:latest": CREATED}))
    assert old in text
    with pytest.raises(FileError) as caught:
        read("f", text.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "1", "a: [", "[" * 5000, "\x00", "&a [*a]", "models: {}\nversion: 1e9"])
def test_no_text_is_a_crash(text: str) -> None:
    with pytest.raises(FileError, match=r"^f"):
        read("f", text)


@pytest.mark.parametrize("level", ["[", "{a: ", "- ", "? "])
def test_no_depth_is_a_crash(level: str) -> None:
    with pytest.raises(FileError, match="nested too deeply"):
        read("f", level * 200_000)


@given(st.text(max_size=60))
def test_any_text_is_a_lock_or_an_error(text: str) -> None:
    with suppress(FileError):
        assert isinstance(read("f", text), Lock)


def test_files_without_names_are_read_back() -> None:
    """Registries need not name their files."""
    nameless = LockedPull(
        reference="a", source="b", revision='W/"1"', digest=DIGEST, files=(LockedFile("", DIGEST, 0),) * 2
    )
    assert read("f", write(Lock({"x": nameless}))).models == {"x": nameless}


def test_it_is_plain_yaml_for_others() -> None:
    found = yaml.safe_load(write(Lock({"b:latest": PULLED})))
    assert found["models"]["b:latest"]["files"][0] == {"title": "a-00001-of-00002.gguf", "digest": DIGEST, "size": 7}
    assert read("f", "version: 1\nmodels:\n") == Lock({})


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("hf.co/Org/Repo:Q8_0", "hf.co/org/repo:q8_0", True),
        ("ghcr.io/a/b", "oci://GHCR.io/A/b:latest", True),
        ("docker://ai/smollm2", "docker.io/ai/smollm2:latest", True),
        ("hf.co/org/repo", "hf.co/org/repo:Q8_0", False),
        ("https://example.com/A.gguf", "https://example.com/a.gguf", False),
        ("ollama://a", "a", False),
    ],
)
def test_references_to_one_place(one: str, other: str, is_same: bool) -> None:
    assert same_reference(one, other) is is_same
    assert same_reference(other, one) is is_same
