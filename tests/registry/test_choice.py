"""Which file a tag means, over the ways in which publishers name them."""

import pytest

from registry.digests import digest_of
from registry.errors import BadSource, UnknownTag
from registry.sources.choice import candidates, choose, label_of, projector_for, why
from registry.sources.source import RemoteFile

GB = 10**9


def files(*names: str, size: int = GB) -> list[RemoteFile]:
    return [RemoteFile(name, size, digest_of(name.encode())) for name in names]


BARTOWSKI = files("Model-Q8_0.gguf", "Model-Q4_K_M.gguf", "Model-Q4_K_L.gguf", "Model-IQ4_XS.gguf", "README.md")
UNSLOTH = files(
    "Model-UD-Q4_K_XL.gguf", "Model-Q4_K_M.gguf", "Model-UD-Q4_K_M.gguf", "Model-BF16.gguf", "mmproj-F16.gguf",
    "mmproj-BF16.gguf", "imatrix_unsloth.gguf",
)  # fmt: skip
MRADERMACHER = files("Model.i1-IQ3_S.gguf", "Model.i1-Q4_K_M.gguf", "Model.imatrix.gguf")
THEBLOKE = files("model-7b.Q4_K_M.gguf", "model-7b.Q4_0.gguf", "model-7b.Q5_K_S.gguf")
NESTED = files(
    "Q4_K_M/Model-Q4_K_M-00001-of-00002.gguf", "Q4_K_M/Model-Q4_K_M-00002-of-00002.gguf", "Model-Q8_0.gguf",
    "UD-IQ1_M/big-00001-of-00001.gguf",
)  # fmt: skip


@pytest.mark.parametrize(
    ("repository", "tag", "chosen"),
    [
        (BARTOWSKI, "latest", "Model-Q4_K_M.gguf"),
        (BARTOWSKI, "Q4_K_M", "Model-Q4_K_M.gguf"),
        (BARTOWSKI, "q8_0", "Model-Q8_0.gguf"),
        (BARTOWSKI, "Model-IQ4_XS.gguf", "Model-IQ4_XS.gguf"),
        (BARTOWSKI, "model-iq4_xs", "Model-IQ4_XS.gguf"),
        (UNSLOTH, "Q4_K_XL", "Model-UD-Q4_K_XL.gguf"),
        (UNSLOTH, "UD-Q4_K_XL", "Model-UD-Q4_K_XL.gguf"),
        (UNSLOTH, "Q4_K_M", "Model-Q4_K_M.gguf"),
        (UNSLOTH, "ud-q4_k_m", "Model-UD-Q4_K_M.gguf"),
        (UNSLOTH, "BF16", "Model-BF16.gguf"),
        (UNSLOTH, "latest", "Model-Q4_K_M.gguf"),
        (MRADERMACHER, "IQ3_S", "Model.i1-IQ3_S.gguf"),
        (MRADERMACHER, "i1-Q4_K_M", "Model.i1-Q4_K_M.gguf"),
        (MRADERMACHER, "latest", "Model.i1-Q4_K_M.gguf"),
        (THEBLOKE, "Q4_0", "model-7b.Q4_0.gguf"),
        (NESTED, "Q4_K_M", "Q4_K_M/Model-Q4_K_M-00001-of-00002.gguf"),
        (NESTED, "IQ1_M", "UD-IQ1_M/big-00001-of-00001.gguf"),
        (files("only.gguf"), "latest", "only.gguf"),
        (files("gpt-oss-20b-MXFP4.gguf", "gpt-oss-20b-F16.gguf"), "latest", "gpt-oss-20b-MXFP4.gguf"),
        (files("m-fp16.gguf", "m-q4_0.gguf"), "F16", "m-fp16.gguf"),
        (files("a-imatrix-Q4_K_M.gguf"), "Q4_K_M", "a-imatrix-Q4_K_M.gguf"),
        (files("m-v2-Q8_0.gguf", "m-v3-Q8_0.gguf"), "m-v3-Q8_0", "m-v3-Q8_0.gguf"),
    ],
)
def test_a_tag_means_one_file(repository: list[RemoteFile], tag: str, chosen: str) -> None:
    assert choose("hf.co/o/r", candidates(repository), tag).files[0].path == chosen


@pytest.mark.parametrize(
    ("repository", "tag"),
    [
        (BARTOWSKI, "Q4_K"),  # a shorter tag never hits inside a longer one
        (BARTOWSKI, "4_K_M"),
        (BARTOWSKI, "Q4"),
        (BARTOWSKI, "Q2_K"),
        (files("Model-IQ4_0.gguf"), "Q4_0"),
        (UNSLOTH, "F16"),  # only the projector has it
        (MRADERMACHER, "imatrix"),
        (files("mmproj-F16.gguf", "gemma-mmproj-Q8_0.gguf", "mtp-x.gguf", "eagle3-x.gguf"), "latest"),
        ([], "latest"),
    ],
)
def test_what_isnt_there_is_refused_with_what_is(repository: list[RemoteFile], tag: str) -> None:
    with pytest.raises(UnknownTag) as caught:
        choose("hf.co/o/r", candidates(repository), tag)
    offered = {each.tag for each in candidates(repository)}
    assert {tag for tag, _ in caught.value.available} == offered
    for name in offered:
        assert f"{name} (1.0 GB)" in str(caught.value)


def test_near_tags_are_suggested() -> None:
    with pytest.raises(UnknownTag) as caught:
        choose("hf.co/o/r", candidates(BARTOWSKI), "Q4_KM")
    assert "Q4_K_M" in caught.value.near


@pytest.mark.parametrize("tag", ["Q8_0", "latest"])
def test_several_matches_are_listed_rather_than_guessed(tag: str) -> None:
    two = candidates(files("m-v2-Q8_0.gguf", "m-v3-Q8_0.gguf"))
    with pytest.raises(
        UnknownTag, match=r"^hf.co/o/r: several builds fit: m-v2-Q8_0 \(1.0 GB\), m-v3-Q8_0 \(1.0 GB\); say one$"
    ) as caught:
        choose("hf.co/o/r", two, tag)
    assert caught.value.available == (("m-v2-Q8_0", GB), ("m-v3-Q8_0", GB))


def test_latest_is_what_fits_and_leaves_room() -> None:
    sizes = {"Q2_K": 3, "Q3_K_M": 4, "Q4_K_M": 5, "Q8_0": 9}
    found = candidates([RemoteFile(f"m-{name}.gguf", size * GB) for name, size in sizes.items()])
    picked = {memory: choose("x", found, "latest", memory and memory * GB).label for memory in (None, 100, 7, 6, 4, 1)}
    assert picked == {None: "Q4_K_M", 100: "Q4_K_M", 7: "Q4_K_M", 6: "Q3_K_M", 4: "Q2_K", 1: "Q2_K"}
    told = {
        memory: why(found, choose("x", found, "latest", memory), "latest", memory) for memory in (7 * GB, 6 * GB, GB)
    }
    assert told == {
        7 * GB: "the usual quantization, and it fits into 7.0 GB of memory",
        6 * GB: "the largest that fits into 6.0 GB of memory",
        GB: "the smallest there is, though it leaves too little of the 1.0 GB of memory",
    }


def test_a_choice_is_told_only_where_there_was_one() -> None:
    found = candidates(UNSLOTH)
    assert why(found, choose("x", found, "Q4_K_M"), "Q4_K_M") == ""
    assert "the only one with that quantization" in why(found, choose("x", found, "Q4_K_XL"), "Q4_K_XL")
    only = candidates(files("only.gguf"))
    assert why(only, choose("x", only, "latest"), "latest") == "it is the only build there"


def test_one_name_in_two_folders_is_one_build() -> None:
    """No tag could tell them apart, and they are the same: once whole, once in shards."""
    found = candidates(
        files("Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf", "m-Q8_0.gguf", "m-Q4_K_M.gguf")
    )
    assert choose("x", found, "Q8_0").stem == "m-Q8_0"


def test_a_whole_build_goes_before_one_under_way() -> None:
    found = candidates(files("a-Q8_0-00001-of-00002.gguf", "b-Q8_0.gguf"))
    assert choose("x", found, "Q8_0").stem == "b-Q8_0"


@pytest.mark.parametrize(
    ("tag", "near"),
    [("Q4_KM", "Q4_K_M"), ("Q4", "Q4_K_M"), ("Q5_K_M", "Q4_K_M"), ("IQ8", "Q8_0"), ("IQ4_XXS", "IQ4_XS")],
)
def test_suggestions_are_by_spelling_or_bits(tag: str, near: str) -> None:
    with pytest.raises(UnknownTag) as caught:
        choose("hf.co/o/r", candidates(BARTOWSKI), tag)
    assert near in caught.value.near


def test_shards_are_one_build_in_order() -> None:
    names = [f"big-Q8_0-0000{index}-of-00003.gguf" for index in (3, 1, 2)]
    (build,) = candidates(files(*names))
    assert [each.path[10] for each in build.files] == [
        each.path[10] for each in sorted(build.files, key=lambda f: f.path)
    ]
    assert (build.size, build.label, build.tag) == (3 * GB, "Q8_0", "Q8_0")
    assert choose("x", (build,), "latest") == build


def test_missing_shards_matter_only_to_who_wants_them() -> None:
    found = candidates(files("m-Q4_K_M-00001-of-00002.gguf", "m-Q8_0.gguf"))
    assert choose("x", found, "latest").label == "Q8_0"
    assert choose("x", found, "Q8_0").label == "Q8_0"
    with pytest.raises(BadSource, match="only 1 of 2 shards"):
        choose("x", found, "Q4_K_M")
    with pytest.raises(UnknownTag) as caught:
        choose("x", found, "Q5_K_M")
    assert caught.value.available == (("Q8_0", GB),)


@pytest.mark.parametrize(
    ("build", "projectors", "chosen"),
    [
        ("m-Q4_K_M.gguf", ["mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf"], "mmproj-F16.gguf"),
        ("m-Q4_K_M.gguf", ["mmproj-F16.gguf", "mmproj-Q8_0.gguf"], "mmproj-Q8_0.gguf"),
        ("m-BF16.gguf", ["mmproj-F16.gguf", "mmproj-Q8_0.gguf"], "mmproj-F16.gguf"),
        ("q4/m-Q4_K_M.gguf", ["mmproj-Q8_0.gguf", "q4/m-mmproj-F16.gguf"], "q4/m-mmproj-F16.gguf"),
        ("m-Q4_K_M.gguf", [], None),
    ],
)
def test_the_nearest_projector_goes_with_a_build(build: str, projectors: list[str], chosen: str | None) -> None:
    everything = files(build, *projectors)
    (only,) = candidates(everything)
    found = projector_for(everything, only)
    assert (found.path if found else None) == chosen


def test_labels() -> None:
    assert label_of("DeepSeek-R1-UD-IQ1_S") == ("UD-IQ1_S", "IQ1_S")
    assert label_of("model.i1-q4_k_m") == ("i1-Q4_K_M", "Q4_K_M")
    assert label_of("Model-Q4_K_M-F16-out") == ("F16", "F16")
    assert label_of("bge-m3") == ("", "")
