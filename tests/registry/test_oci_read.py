"""Manifests of models in container registries: which layer is what, in every form that publishers use."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import manifest as ours
from registry.digests import digest_of
from registry.errors import BadManifest, BadSource, RegistryError
from registry.oci.read import Facts, Image, Index, candidates, read_facts, read_manifest, read_pieces

DOCKER = "application/vnd.docker.ai."
PACK = "application/vnd.cncf.model."
OLLAMA = "application/vnd.ollama.image."
DOCKER_CONFIG = f"{DOCKER}model.config.v0.1+json"


def layer(kind: str, path: str = "", seed: str = "", key: str = "org.cncf.model.filepath") -> dict[str, Any]:
    value: dict[str, Any] = {"mediaType": kind, "digest": str(digest_of((kind + path + seed).encode())), "size": 7}
    return value | ({"annotations": {key: path}} if path else {})


def manifest(*layers: dict[str, Any], config: str = DOCKER_CONFIG, **more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layer(config),
        "layers": list(layers),
    } | more


def image(value: object) -> Image:
    found = read_manifest(json.dumps(value).encode(), "x")
    assert isinstance(found, Image)
    return found


def roles(value: object) -> list[tuple[str, str]]:
    return [(each.role, each.title) for each in read_pieces(image(value), "x")]


FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "docker 0.1": (
        manifest(
            layer(f"{DOCKER}gguf.v3"),
            layer(f"{DOCKER}mmproj"),
            layer(f"{DOCKER}chat.template.jinja"),
            layer(f"{DOCKER}license", seed="1"),
            layer(f"{DOCKER}license", seed="2"),
        ),
        [
            ("weights", "model.gguf"),
            ("projector", "mmproj-model.gguf"),
            ("template", "template.jinja"),
            ("license", "LICENSE"),
            ("license", "LICENSE"),
        ],
    ),
    "docker's specification": (
        manifest(layer(f"{DOCKER}gguf.v3"), layer(f"{DOCKER}gguf.v3.lora"), layer(f"{DOCKER}gguf.v3.mmproj")),
        [("weights", "model.gguf"), ("adapter", "adapter.gguf"), ("projector", "mmproj-model.gguf")],
    ),
    "docker, shards without names": (
        manifest(*(layer(f"{DOCKER}gguf.v3", seed=str(each)) for each in range(3))),
        [("weights", f"model-{each:05}-of-00003.gguf") for each in (1, 2, 3)],
    ),
    "docker 0.2": (
        manifest(
            layer(f"{DOCKER}gguf.v3", "weights/tiny-00001-of-00002.gguf"),
            layer(f"{DOCKER}gguf.v3", "weights/tiny-00002-of-00002.gguf"),
            layer(f"{DOCKER}model.file", "docs/LICENSE.txt"),
            layer(f"{DOCKER}model.file", "chat_template.jinja"),
            layer(f"{DOCKER}model.file", "tokenizer.json"),
            layer(f"{DOCKER}dir.tar"),
            config=f"{DOCKER}model.config.v0.2+json",
        ),
        [
            ("weights", "tiny-00001-of-00002.gguf"),
            ("weights", "tiny-00002-of-00002.gguf"),
            ("license", "LICENSE.txt"),
            ("template", "chat_template.jinja"),
        ],
    ),
    "modelpack": (
        manifest(
            layer(f"{PACK}weight.v1.raw", "tiny.gguf"),
            layer(f"{PACK}weight.v1.raw", "mmproj-tiny-f16.gguf"),
            layer(f"{PACK}weight.config.v1.raw", "tokenizer_config.json"),
            layer(f"{PACK}weight.config.v1.raw", "chat_template.jinja"),
            layer(f"{PACK}doc.v1.raw", "README.md"),
            layer(f"{PACK}doc.v1.raw", "LICENSE"),
            layer(f"{PACK}code.v1.tar"),
            config=f"{PACK}config.v1+json",
            artifactType=f"{PACK}manifest.v1+json",
        ),
        [
            ("weights", "tiny.gguf"),
            ("projector", "mmproj-tiny-f16.gguf"),
            ("template", "chat_template.jinja"),
            ("license", "LICENSE"),
        ],
    ),
    "modelpack by its older name": (
        manifest(
            layer("application/vnd.cnai.model.weight.v1.raw", "tiny.gguf", key="org.cnai.model.filepath"),
            layer("application/vnd.cnai.model.weight.v1.raw", "b.mmproj", key="org.cnai.model.filepath"),
            config="application/vnd.cnai.model.config.v1+json",
        ),
        [("weights", "tiny.gguf"), ("projector", "b.mmproj")],
    ),
    "modelpack as Docker first wrote it": (
        manifest(layer(f"{PACK}weight.v1.gguf"), config=f"{PACK}config.v1+json"),
        [("weights", "model.gguf")],
    ),
    "an artifact made by podman": (
        manifest(
            layer("application/octet-stream", "tiny.gguf"),
            layer("application/octet-stream", "tiny.mmproj"),
            layer("text/plain; charset=utf-8", "notes.txt"),
            config="application/vnd.oci.empty.v1+json",
            artifactType=f"{PACK}manifest.v1+json",
        ),
        [("weights", "tiny.gguf"), ("projector", "tiny.mmproj")],
    ),
    "a plain file, as oras pushes it": (
        manifest(
            layer("application/vnd.oci.image.layer.v1.tar", "tiny.gguf", key=ours.TITLE),
            config="application/vnd.oci.empty.v1+json",
        ),
        [("weights", "tiny.gguf")],
    ),
    "ollama": (
        manifest(
            layer(f"{OLLAMA}model"),
            *(
                layer(f"{OLLAMA}{each}")
                for each in "projector adapter draft template system params messages license embed".split()
            ),
            config="application/vnd.docker.container.image.v1+json",
            mediaType="application/vnd.docker.distribution.manifest.v2+json",
        ),
        [
            ("weights", "model.gguf"),
            ("projector", "mmproj-model.gguf"),
            ("adapter", "adapter.gguf"),
            ("draft", "draft.gguf"),
            ("template", "template.jinja"),
            ("system", "system"),
            ("params", "params.json"),
            ("messages", "messages.json"),
            ("license", "LICENSE"),
        ],
    ),
    "ours": (
        manifest(layer(ours.MODEL, "a.gguf", key=ours.TITLE), layer(ours.SYSTEM), config=ours.CONFIG_TYPE),
        [("config", "config.json"), ("weights", "a.gguf"), ("system", "system")],
    ),
    "Docker's form with our config in a layer": (
        manifest(layer(f"{DOCKER}gguf.v3"), layer(ours.CONFIG_TYPE)),
        [("weights", "model.gguf"), ("config", "config")],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str) -> None:
    value, expected = FORMS[form]
    assert roles(value) == expected


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "it has no layers"),
        ([layer(f"{DOCKER}safetensors", "a.safetensors")], "aren't in GGUF"),
        ([layer(f"{OLLAMA}tensor")], "aren't in GGUF"),
        ([layer(f"{PACK}weight.v1.raw", "model.safetensors")], "aren't in GGUF"),
        ([layer("application/vnd.oci.image.layer.v1.tar+gzip")], "lie in archives .*tar\\+gzip"),
        ([layer("application/vnd.docker.image.rootfs.diff.tar.gzip")], "lie in archives"),
        ([layer(f"{PACK}weight.v1.tar", "a.gguf")], "lie in archives"),
        ([layer(f"{PACK}weight.v1.tar+zstd", "a.gguf")], "lie in archives"),
        ([layer("application/x-mystery"), layer("image/png")], "its layers are application/x-mystery, image/png"),
        (
            [layer(f"{PACK}weight.v1.raw", "a.gguf"), layer(f"{PACK}weight.v1.raw", "b.gguf")],
            "several models.*a.gguf, b",
        ),
        ([layer(f"{PACK}weight.v1.raw", "a-00002-of-00003.gguf")], "only 1 of 3 shards"),
    ],
)
def test_what_is_no_model_of_ours_is_named(layers: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(BadSource, match=words):
        roles(manifest(*layers))


@pytest.mark.parametrize(
    "path",
    ["../x.gguf", "/etc/x.gguf", "a/../../x.gguf", "a//x.gguf", "C:\\x.gguf", "c:x.gguf", "a\\x.gguf", "a\0.gguf",
     "a\n.gguf", "..", "a/.", "a" * 2000 + ".gguf"],
)  # fmt: skip
def test_paths_stay_within_the_model(path: str) -> None:
    for kind in (f"{PACK}weight.v1.raw", f"{DOCKER}gguf.v3", "application/x-whatever"):
        with pytest.raises(BadManifest, match="leads out"):
            roles(manifest(layer(kind, path), layer(f"{DOCKER}gguf.v3")))


def test_two_files_at_one_path_are_refused() -> None:
    twice = [layer(f"{PACK}weight.v1.raw", "./a.gguf", seed=str(each)) for each in range(2)]
    with pytest.raises(BadManifest, match="two layers"):
        roles(manifest(*twice))


BAD_DIGESTS = [
    "../../x", "sha256:..%2f", "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:" + "A" * 64, "sha256-" + "a" * 64,
    "sha256:" + "a" * 64 + "\n", "sha256:" + "a" * 63 + "\0", "sha512:" + "a" * 128, "", None, 7, "sha256:/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("digest", BAD_DIGESTS)
@pytest.mark.parametrize("place", ["layer", "config", "index"])
def test_digests_have_one_form(digest: object, place: str) -> None:
    value = manifest(layer(f"{DOCKER}gguf.v3"))
    if place == "index":
        value = {"schemaVersion": 2, "manifests": [layer("application/vnd.oci.image.manifest.v1+json")]}
    (value["layers"][0] if place == "layer" else value["config"] if place == "config" else value["manifests"][0])[
        "digest"
    ] = digest
    with pytest.raises(BadManifest, match="digest"):
        read_manifest(json.dumps(value).encode(), "x")


@pytest.mark.parametrize(
    "changed",
    [
        {"schemaVersion": 1},
        {"schemaVersion": None},
        {"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
        {"mediaType": 5},
        {"layers": None},
        {"layers": {}},
        {"layers": [1]},
        {"layers": [layer("x") | {"size": -1}]},
        {"layers": [layer("x") | {"size": True}]},
        {"layers": [layer("x") | {"size": 2**63}]},
        {"layers": [layer("x") | {"size": "7"}]},
        {"layers": [layer("x") | {"mediaType": 3}]},
        {"layers": [layer("x") | {"annotations": {"a": 1}}]},
        {"layers": [layer("x")] * 5000},
        {"config": None},
        {"annotations": []},
        {"artifactType": []},
    ],
)
def test_manifests_that_make_no_sense_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadManifest):
        read_manifest(json.dumps(manifest(layer(f"{DOCKER}gguf.v3")) | changed).encode(), "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
MANIFESTS = st.fixed_dictionaries(
    {"schemaVersion": st.just(2)},
    optional=dict.fromkeys(("mediaType", "config", "layers", "manifests", "annotations", "artifactType"), JSON)
    | {"layers": st.lists(st.sampled_from([each for form in FORMS.values() for each in form[0]["layers"]]), max_size=5)}
    | {"config": st.just(layer(DOCKER_CONFIG))},
)


@given(MANIFESTS | JSON, JSON)
def test_anything_is_read_or_refused(value: object, config: object) -> None:
    try:
        found = read_manifest(json.dumps(value).encode(), "x")
        if isinstance(found, Image):
            read_pieces(found, "x")
            read_facts(found, json.dumps(config).encode(), "x")
    except RegistryError:
        pass


def test_configs_tell_what_they_know() -> None:
    when = datetime(2026, 5, 17, 8, 30, tzinfo=UTC)
    docker = image(manifest(layer(f"{DOCKER}gguf.v3")))
    config = {"config": {"quantization": "MOSTLY_Q4_K_M"}, "descriptor": {"created": "2026-05-17T08:30:00Z"}}
    assert read_facts(docker, json.dumps(config).encode(), "x") == Facts(quantization="Q4_K_M", created=when)
    mixed = {"config": {"quantization": "IQ2_XXS/Q4_K_M"}}
    assert read_facts(docker, json.dumps(mixed).encode(), "x") == Facts()
    pack = image(manifest(layer(f"{PACK}weight.v1.raw", "a.gguf"), config=f"{PACK}config.v1+json"))
    packed = {
        "config": {"quantization": "Q8_0", "paramSize": "8b"},
        "descriptor": {"createdAt": "2026-05-17T10:30:00+02:00", "licenses": ["Apache-2.0", "MIT"]},
    }
    facts = read_facts(pack, json.dumps(packed).encode(), "x")
    assert facts == Facts(quantization="Q8_0", created=when, licence="Apache-2.0, MIT")
    ollama = image(manifest(layer(f"{OLLAMA}model"), config="application/vnd.docker.container.image.v1+json"))
    told = {"file_type": "Q4_K_M", "renderer": "qwen3-vl", "parser": "qwen3", "requires": "0.12.7"}
    assert read_facts(ollama, json.dumps(told).encode(), "x") == Facts(
        quantization="Q4_K_M", renderer="qwen3-vl", parser="qwen3", requires="0.12.7"
    )
    assert read_facts(docker, json.dumps(told).encode(), "x") == Facts()
    assert read_facts(docker, b"", "x") == Facts()


@pytest.mark.parametrize("name", ["rootfs.diff_ids", "modelfs.diffIds", "modelfs.diff_ids"])
def test_weights_that_a_config_lists_otherwise_are_refused(name: str) -> None:
    pack = image(manifest(layer(f"{PACK}weight.v1.raw", "a.gguf"), config=f"{PACK}config.v1+json"))
    outer, inner = name.split(".")
    right = json.dumps({outer: {inner: [str(pack.layers[0].digest)]}}).encode()
    assert read_facts(pack, right, "x") == Facts()
    with pytest.raises(BadManifest, match="but the config lists"):
        read_facts(pack, json.dumps({outer: {inner: [str(digest_of(b""))]}}).encode(), "x")


def test_a_list_of_images_leaves_out_what_only_attests() -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    attests = layer(kind, "x", key="vnd.docker.reference.type")
    inner = layer("application/vnd.oci.image.index.v1+json")
    found = read_manifest(json.dumps({"schemaVersion": 2, "manifests": [attests, inner, layer(kind)]}).encode(), "x")
    assert isinstance(found, Index)
    assert [str(each.digest) for each in candidates(found)] == [layer(kind)["digest"]]


def test_a_time_outside_of_the_calendar_is_none() -> None:
    config = json.dumps({"descriptor": {"createdAt": "0001-01-01T00:00:00+14:00"}}).encode()
    assert read_facts(image(manifest(layer(f"{DOCKER}gguf.v3"))), config, "x").created is None
