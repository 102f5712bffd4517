"""A stored model in the forms of container registries: what other programs look for in them, byte for byte the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.parse import parse
from registry import manifest as media
from registry.create import create
from registry.digests import digest_of
from registry.manifest import Layer, Manifest
from registry.oci.read import Image, read_manifest, read_pieces
from registry.oci.write import Artifact, write
from registry.resolve import Form
from registry.store import Store
from registry.stored import StoredModel
from tests import tiny_gguf
from tests.registry.models import make

FORMS: tuple[Form, ...] = ("docker", "cncf")
FILEPATH = "org.cncf.model.filepath"
JINJA = "{% for message in messages %}{{ message.content }}{% endfor %}"


def full(store: Store, folder: Path, template: str = JINJA) -> StoredModel:
    """A model in shards with a projector, an adapter and every kind of text."""
    for index, data in enumerate(tiny_gguf.shards(3)):
        (folder / f"tiny-{index + 1:05d}-of-00003.gguf").write_bytes(data)
    (folder / "vision.gguf").write_bytes(tiny_gguf.projector())
    (folder / "style.gguf").write_bytes(tiny_gguf.adapter(target="blk.0.weight", height=4))
    text = (
        "FROM ./tiny-00001-of-00003.gguf\nFROM ./vision.gguf\nADAPTER ./style.gguf\n"
        f'TEMPLATE """{template}"""\nSYSTEM Be brief.\nPARAMETER num_ctx 512\nPARAMETER stop x\n'
        'MESSAGE user Hi\nLICENSE """MIT"""\nLICENSE """and more"""\n'
    )
    return create(store, "full", parse(text), base=folder, taking="copy")


def read(artifact: Artifact) -> tuple[Any, Any]:
    """Manifest and config as JSON."""
    return json.loads(artifact.manifest), json.loads(artifact.config)


def kinds(artifact: Artifact) -> list[tuple[str, str]]:
    """Media type and file of each layer."""
    return [(each.media_type, each.annotations[FILEPATH]) for each in artifact.layers]


def test_dockers_form(store: Store, tmp_path: Path) -> None:
    artifact = write(full(store, tmp_path), "docker")
    manifest, config = read(artifact)
    assert "artifactType" not in manifest
    assert manifest["config"]["mediaType"] == "application/vnd.docker.ai.model.config.v0.1+json"
    assert manifest["config"]["digest"] == str(digest_of(artifact.config))
    assert kinds(artifact) == [
        ("application/vnd.docker.ai.gguf.v3", "tiny-00001-of-00003.gguf"),
        ("application/vnd.docker.ai.gguf.v3", "tiny-00002-of-00003.gguf"),
        ("application/vnd.docker.ai.gguf.v3", "tiny-00003-of-00003.gguf"),
        ("application/vnd.docker.ai.mmproj", "mmproj-vision.gguf"),
        ("application/vnd.runner.image.adapter", "adapters/style.gguf"),
        ("application/vnd.docker.ai.chat.template.jinja", "chat_template.jinja"),
        ("application/vnd.runner.image.system", "runner/system"),
        ("application/vnd.runner.image.params", "runner/params.json"),
        ("application/vnd.runner.image.messages", "runner/messages.json"),
        ("application/vnd.docker.ai.license", "LICENSE"),
        ("application/vnd.docker.ai.license", "LICENSE-2"),
        ("application/vnd.runner.model.config.v1+json", "runner/config.json"),
    ]
    assert config["config"]["format"] == "gguf"
    assert config["config"]["context_size"] == 512
    assert config["descriptor"]["created"] == "1970-01-01T00:00:00Z"
    assert config["rootfs"] == {"type": "rootfs", "diff_ids": [each["digest"] for each in manifest["layers"]]}


def test_modelpacks_form(store: Store, tmp_path: Path) -> None:
    artifact = write(full(store, tmp_path), "cncf")
    manifest, config = read(artifact)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    by_type = [kind for kind, _ in kinds(artifact) if "cncf" in kind]
    raw = "application/vnd.cncf.model.{}.v1.raw"
    assert by_type == [raw.format(each) for each in ("weight",) * 4 + ("weight.config",) + ("doc",) * 2]
    assert config["modelfs"] == {"type": "layers", "diffIds": [each["digest"] for each in manifest["layers"]]}
    assert config["config"]["paramSize"] == "768"
    for layer in manifest["layers"]:
        about = json.loads(layer["annotations"]["org.cncf.model.file.metadata+json"])
        assert (about["size"], about["mtime"]) == (layer["size"], "1970-01-01T00:00:00Z")


@pytest.mark.parametrize("form", FORMS)
def test_gos_template_is_for_us_alone(store: Store, tmp_path: Path, form: Form) -> None:
    artifact = write(full(store, tmp_path, "{{ .Prompt }}"), form)
    assert ("application/vnd.runner.image.template", "runner/template") in kinds(artifact)
    assert not any("jinja" in path for _, path in kinds(artifact))


@pytest.mark.parametrize("form", FORMS)
def test_neither_name_nor_time_nor_origin_shows(store: Store, tmp_path: Path, form: Form) -> None:
    model = make(store, "one", tmp_path)
    pulled = replace(model.manifest, annotations={media.SOURCE: "https://hf.co/x", media.REVISION: "abc"})
    other = store.publish("somewhere.example/else:v1", pulled)
    assert other.digest != model.digest
    assert write(other, form) == write(model, form)


TITLES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "a.gguf", "mmproj-a.gguf", "ammproj.gguf", "../a.gguf", "A.GGUF", "x/y.gguf", "m-00002-of-00002.gguf"]
    ),
)


@given(weights=st.lists(TITLES, min_size=1, max_size=3), projector=TITLES, adapters=st.lists(TITLES, max_size=3))
def test_files_have_paths_of_their_own(weights: list[str], projector: str, adapters: list[str]) -> None:
    given = [(media.MODEL, each) for each in weights]
    given += [(media.PROJECTOR, projector)] + [(media.ADAPTER, each) for each in adapters]
    layers = [
        Layer(kind, digest_of(bytes([index])), 1, {media.TITLE: title}) for index, (kind, title) in enumerate(given)
    ]
    config = Layer(media.CONFIG_TYPE, digest_of(b"config"), 2)
    artifact = write(_stored(Manifest(config, tuple(layers))), "cncf")
    paths = [path for _, path in kinds(artifact)]
    image = read_manifest(artifact.manifest, "x")
    assert isinstance(image, Image)
    roles = [piece.role for piece in read_pieces(image, "x")]
    assert roles == ["weights"] * len(weights) + ["projector"] + ["adapter"] * len(adapters) + ["config"]
    assert len({path.lower() for path in paths}) == len(paths)
    for path, (kind, _) in zip(paths, given, strict=False):
        assert path.isascii()
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert path.lower().endswith(".gguf")
        if kind != media.ADAPTER:
            assert ("mmproj" in path.lower()) == (kind == media.PROJECTOR)


def _stored(manifest: Manifest) -> StoredModel:
    from tests.api.fakes import stored

    return replace(stored("demo"), manifest=manifest)
