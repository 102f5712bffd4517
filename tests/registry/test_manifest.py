"""Manifests and configs: the same value gives the same bytes, and bad bytes say what is wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from registry import manifest as media
from registry.digests import digest_of
from registry.errors import BadManifest
from registry.manifest import Layer, Manifest, ModelConfig

CONFIG = ModelConfig(
    family="llama",
    families=("llama",),
    architecture="llama",
    parameter_count=4_262_144,
    parameter_size="4.3M",
    quantization="Q8_0",
    context_length=1024,
    embedding_length=256,
    capabilities=("completion", "tools"),
    created=datetime(2026, 5, 17, tzinfo=UTC),
)
MANIFEST = Manifest(
    Layer(media.CONFIG_TYPE, digest_of(b"config"), 6),
    (
        Layer(media.MODEL, digest_of(b"one"), 3, {media.TITLE: "one.gguf"}),
        Layer(media.MODEL, digest_of(b"two"), 3),
        Layer(media.SYSTEM, digest_of(b"be nice"), 7),
    ),
    {media.SOURCE: "https://hf.co/org/repo"},
)


def test_a_manifest_survives_its_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert Manifest.from_json(MANIFEST.to_json()).to_json() == MANIFEST.to_json()


def test_it_is_an_oci_image_manifest() -> None:
    value = json.loads(MANIFEST.to_json())
    assert value["schemaVersion"] == 2
    assert value["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert value["layers"][0]["mediaType"] == "application/vnd.runner.image.model"
    assert value["layers"][0]["digest"] == str(digest_of(b"one"))


def test_layers_by_kind_keep_their_order() -> None:
    assert [each.size for each in MANIFEST.of(media.MODEL)] == [3, 3]
    assert MANIFEST.of(media.MODEL)[0].title == "one.gguf"
    assert MANIFEST.blobs[-1] == MANIFEST.config


def test_a_config_survives_its_json() -> None:
    assert ModelConfig.from_json(CONFIG.to_json()) == CONFIG
    assert "renderer" not in json.loads(CONFIG.to_json())


def test_a_config_of_a_later_version_can_be_read() -> None:
    value = json.loads(CONFIG.to_json()) | {"new": 1, "capabilities": ["completion", "telepathy"]}
    read = ModelConfig.from_json(json.dumps(value).encode())
    assert read.capabilities == ("completion",)


def _with(**changes: Any) -> bytes:
    return json.dumps(json.loads(MANIFEST.to_json()) | changes).encode()


LAYER = json.loads(MANIFEST.to_json())["layers"][0]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "a key occurs twice"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not JSON"),
        (b" " * (media.SIZE_LIMIT + 1), "more than"),
        (_with(schemaVersion=1), "schemaVersion"),
        (_with(mediaType="text/html"), "unknown mediaType"),
        (_with(layers={}), "layers must be a list"),
        (_with(layers=[]), "no model layer"),
        (_with(layers=[1]), r"layers[0] must be an object"),
        (_with(layers=[LAYER | {"mediaType": "x"}]), "unknown layer type"),
        (_with(layers=[LAYER | {"digest": "sha256:../../x"}]), "invalid digest"),
        (_with(layers=[LAYER | {"digest": LAYER["digest"] + "\n"}]), "invalid digest"),
        (_with(layers=[LAYER | {"digest": 1}]), "digest must be a text"),
        (_with(layers=[LAYER | {"size": -1}]), "size must not be negative"),
        (_with(layers=[LAYER | {"size": True}]), "size must be a whole number"),
        (_with(layers=[LAYER | {"size": "3"}]), "size must be a whole number"),
        (_with(layers=[LAYER | {"annotations": {"a": 1}}]), "must be texts"),
        (_with(config=None), "config must be an object"),
        (_with(config=LAYER), "unknown config type"),
    ],
)
def test_bad_manifests_say_which_field(data: bytes, complaint: str) -> None:
    with pytest.raises(BadManifest) as caught:
        Manifest.from_json(data)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", 1),
        ("families", "llama"),
        ("parameter_count", -1),
        ("parameter_count", True),
        ("context_length", None),
        ("capabilities", [1]),
        ("created", "yesterday"),
        ("renderer", 5),
    ],
)
def test_bad_configs_say_which_field(field: str, value: object) -> None:
    data = json.dumps(json.loads(CONFIG.to_json()) | {field: value}).encode()
    with pytest.raises(BadManifest, match=field):
        ModelConfig.from_json(data)
