"""Pull from container registries and from Ollama's: the whole way from a name to a model in the store."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry import manifest as ours
from registry.digests import digest_of
from registry.errors import BadGGUF, BadSource, Denied, HashMismatch, NotFound, RegistryError, Unreachable
from registry.look import LookSettings, look
from registry.manifest import REFERENCE, REVISION, SOURCE, ModelConfig
from registry.origins import Reach, open_source
from registry.pull import PullSettings, pull
from registry.resolve import OllamaPlace, Pin, Wanted, refer
from registry.sources.ollama import Ollama
from registry.store import Store
from registry.transfer.http import Http
from tests import tiny_gguf
from tests.oci_registry import Registry, running
from tests.registry.registries import docker_config, name_hosts
from tests.registry.test_oci_read import BAD_DIGESTS
from tests.registry.trees import contents
from tests.tiny_gguf import Tensor

DOCKER = "application/vnd.docker.ai."
PACK = "application/vnd.cncf.model."
OLLAMA = "application/vnd.ollama.image."


def gguf(seed: str = "x", megabytes: int = 0) -> bytes:
    extra: dict[str, object] = {"general.version": seed}
    if not megabytes:
        return tiny_gguf.model(extra=extra).build()
    return tiny_gguf.model(extra=extra, tensors=[Tensor("t", (megabytes * 2**18,))]).build()


@pytest.fixture
def served() -> Iterator[Registry]:
    with running(Registry()) as registry:
        yield registry


@pytest.fixture
def settings(tmp_path: Path) -> PullSettings:
    return PullSettings(reach=Reach(docker_config=tmp_path / "docker", timeout=5.0), waits=(0.0,) * 3)


def test_a_docker_model_comes_whole(store: Store, served: Registry, settings: PullSettings) -> None:
    data = gguf()
    layers = [
        served.layer(f"{DOCKER}gguf.v3", data),
        served.layer(f"{DOCKER}chat.template.jinja", b"{{ messages }}"),
        served.layer(f"{DOCKER}license", b"one"),
        served.layer(f"{DOCKER}license", b"two"),
    ]
    created = {"config": {"quantization": "MOSTLY_Q8_0"}, "descriptor": {"created": "2026-05-17T08:30:00Z"}}
    digest = served.add("ai/tiny", "1", layers, config=created)
    pulled = pull(store, f"{served.host}/ai/tiny:1", settings=settings)
    assert pulled.weights[0].read_bytes() == data
    assert (pulled.template, pulled.licenses) == ("{{ messages }}", ("one", "two"))
    assert pulled.config.quantization == "Q8_0"
    assert pulled.config.created is not None
    assert pulled.config.created.isoformat() == "2026-05-17T08:30:00+00:00"
    assert pulled.manifest.annotations == {
        SOURCE: f"{served.host}/ai/tiny@{digest}",
        REVISION: digest,
        REFERENCE: f"{served.host}/ai/tiny:1",
    }
    again = pull(store, f"{served.host}/ai/tiny:1", settings=settings)
    assert again.digest == pulled.digest
    assert len(served.asked(f"/blobs/{digest_of(data)}")) == 1


def test_a_sharded_modelpack_with_its_projector(store: Store, served: Registry, settings: PullSettings) -> None:
    shards = tiny_gguf.shards(2)
    projector = tiny_gguf.projector()
    layers = [
        served.layer(f"{PACK}weight.v1.raw", each, path=f"tiny-0000{index}-of-00002.gguf")
        for index, each in enumerate(shards, 1)
    ]
    layers.append(served.layer(f"{PACK}weight.v1.raw", projector, path="mmproj-tiny.gguf"))
    served.add("team/tiny", "1", layers, config_type=f"{PACK}config.v1+json", artifactType=f"{PACK}manifest.v1+json")
    pulled = pull(store, f"oci://{served.host}/team/tiny:1", settings=settings)
    assert [each.read_bytes() for each in pulled.weights] == shards
    assert pulled.projector is not None
    assert pulled.projector.read_bytes() == projector
    assert [each.title for each in pulled.manifest.layers] == [
        "tiny-00001-of-00002.gguf",
        "tiny-00002-of-00002.gguf",
        "mmproj-tiny.gguf",
    ]


def test_what_runner_published_comes_back_as_it_was(store: Store, served: Registry, settings: PullSettings) -> None:
    config = ModelConfig(
        family="llama", families=("llama",), architecture="llama", parameter_count=1, parameter_size="1",
        quantization="Q8_0", context_length=64, embedding_length=8, capabilities=("completion",), renderer="qwen3",
        parser="qwen3", requires="0.5.0", parent="demo:latest",
    )  # fmt: skip
    layers = [
        served.layer(ours.MODEL, gguf()),
        served.layer(ours.SYSTEM, b"Be brief."),
        served.layer(ours.PARAMS, b'{"temperature": 0.5, "stop": ["a"]}'),
        served.layer(ours.MESSAGES, b'[{"role": "user", "content": "hi"}]'),
    ]
    served.add("a", "1", layers, config=config.to_json(), config_type=ours.CONFIG_TYPE)
    pulled = pull(store, f"{served.host}/a:1", settings=settings)
    assert (pulled.system, pulled.parameters) == ("Be brief.", {"temperature": 0.5, "stop": ("a",)})
    assert [each.content for each in pulled.messages] == ["hi"]
    assert (pulled.config.renderer, pulled.config.requires, pulled.config.parent) == ("qwen3", "0.5.0", "demo:latest")
    served.add("a", "2", layers, config=b'{"format": 1}', config_type=ours.CONFIG_TYPE)
    with pytest.raises(Unreachable, match="format must be a text"):
        pull(store, f"{served.host}/a:2", settings=settings)


def test_the_first_image_of_a_list_that_is_a_model_is_taken(
    store: Store, served: Registry, settings: PullSettings
) -> None:
    kind = "application/vnd.oci.image.manifest.v1+json"
    image = served.add("a", "image", [served.layer("application/vnd.oci.image.layer.v1.tar+gzip", b"x")])
    model = served.add("a", "model", [served.layer(f"{DOCKER}gguf.v3", gguf())])
    listed = [{"mediaType": kind, "digest": each, "size": 1} for each in (image, model)]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": listed}
    digest = served.add_manifest("a", "1", index)
    assert pull(store, f"{served.host}/a:1", settings=settings).manifest.annotations[REVISION] == digest
    served.add_manifest("a", "2", index | {"manifests": listed[:1]})
    with pytest.raises(BadSource, match="lie in archives"):
        pull(store, f"{served.host}/a:2", settings=settings)
    served.add_manifest("a", "3", index | {"manifests": []})
    with pytest.raises(BadSource, match="none of which is a model"):
        pull(store, f"{served.host}/a:3", settings=settings)


def test_a_digest_and_a_revision_hold_the_pull_to_a_manifest(
    store: Store, served: Registry, settings: PullSettings
) -> None:
    old = served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", gguf("old"))])
    new = served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", gguf("new"))])
    reference = f"{served.host}/a:1"
    assert pull(store, f"{reference}@{old}", settings=settings).weights[0].read_bytes() == gguf("old")
    assert pull(store, reference, settings=settings).weights[0].read_bytes() == gguf("new")
    pinned = Wanted(reference=reference, pin=Pin(old))
    assert pull(store, pinned, settings=settings).weights[0].read_bytes() == gguf("old")
    with pytest.raises(BadSource, match="locked to"):
        pull(store, Wanted(reference=f"{reference}@{new}", pin=Pin(old)), settings=settings)
    with pytest.raises(BadSource, match="revisions are digests"):
        pull(store, Wanted(reference=reference, pin=Pin("main")), settings=settings)
    served.manifests["a", old] = served.manifests["a", new]
    with pytest.raises(HashMismatch):
        pull(store, pinned, settings=settings)


def test_of_tags_with_the_same_files_the_one_that_was_asked_for_is_chosen(
    store: Store, served: Registry, settings: PullSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tag in ("a", "b", "c"):
        served.add("org/x", tag, [served.layer("application/vnd.docker.ai.gguf.v3", gguf())])

    def chosen() -> list[tuple[str, bool, int]]:
        seen = look(store, f"{served.host}/org/x:c", settings=LookSettings(reach=settings.reach))
        return sorted((each.tag, each.chosen, each.files) for each in seen.builds)

    assert chosen() == [("a", False, 1), ("b", False, 1), ("c", True, 1)]
    monkeypatch.setattr("registry.sources.oci._COUNTING", {served.host})
    assert chosen() == [("a", False, 0), ("b", False, 0), ("c", True, 1)], "where only the tags are known"


def test_tags_that_are_there_are_told(store: Store, served: Registry, settings: PullSettings) -> None:
    served.add("a", "8B-Q4_K_M", [served.layer(f"{DOCKER}gguf.v3", gguf(megabytes=1))])
    served.add("a", "8B-Q8_0", [served.layer("application/x-other", b"")])
    with pytest.raises(NotFound, match=r"did you mean 8B-Q4_K_M.*Its tags: 8B-Q4_K_M, 8B-Q8_0"):
        pull(store, f"{served.host}/a:8B-Q4_K_S", settings=settings)
    with pytest.raises(NotFound, match="not found"):
        pull(store, f"{served.host}/nowhere:1", settings=settings)
    with Http() as http:
        source = open_source(refer(f"{served.host}/a:8B-Q4_K_M"), http, settings.reach)
        source.look()
        (build,) = source.builds()
    assert (build.tag, build.quantization, build.size) == ("8B-Q4_K_M", "Q4_K_M", len(gguf(megabytes=1)))


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_manifests_with_bad_digests_leave_everything_as_it_is(
    tmp_path: Path, store: Store, served: Registry, settings: PullSettings, digest: object
) -> None:
    served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", gguf("kept"))])
    pull(store, f"{served.host}/a:1", settings=settings)
    before = contents(tmp_path, ignored=())
    for layer in (served.layer(f"{DOCKER}gguf.v3", gguf()), served.layer(f"{DOCKER}license", b"x")):
        served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", gguf()), layer | {"digest": digest}])
        with pytest.raises(Unreachable, match="digest"):
            pull(store, f"{served.host}/a:1", settings=settings)
    assert contents(tmp_path, ignored=()) == before


@pytest.mark.parametrize("lie", ["flipped", "longer", "shorter", "empty", "other path", "no model", "config"])
def test_a_registry_that_lies_changes_nothing(
    store: Store, served: Registry, settings: PullSettings, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    data = gguf(megabytes=1)
    served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", gguf("kept"))])
    kept = pull(store, f"{served.host}/a:1", settings=settings)
    before = contents(store.root, ignored=("lock", "stamps", "ingest", "quarantine"))
    wrong = {"flipped": data[:-1] + b"\1", "longer": data + b"x", "shorter": data[:-7], "empty": b""}.get(lie)
    layer = served.layer(f"{DOCKER}gguf.v3", data, served=wrong)
    if lie == "other path":
        layer = served.layer(f"{DOCKER}gguf.v3", data, path="../../../../etc/cron.d/x.gguf")
    if lie == "no model":
        layer = served.layer(f"{DOCKER}gguf.v3", b"MZ" + b"\0" * 2_000_000)
    if lie == "longer":
        layer["size"] = len(data) + 1
    served.add("a", "1", [layer], config={"x": 1})
    if lie == "config":
        served.blobs[str(digest_of(b'{"x": 1}'))].served = b'{"x": 2}'
    with pytest.raises((HashMismatch, Unreachable, BadGGUF)):
        pull(store, f"{served.host}/a:1", settings=settings)
    assert contents(store.root, ignored=("lock", "stamps", "ingest", "quarantine")) == before
    assert store.show(kept.name) == kept


def test_a_torn_download_goes_on_even_where_ranges_are_ignored(
    store: Store, served: Registry, settings: PullSettings
) -> None:
    data = gguf(megabytes=2)
    served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", data, cuts=[500_000, 700_000])])
    served.add("b", "1", [served.layer(f"{DOCKER}gguf.v3", gguf("b", 1), cuts=[300_000], ranges=False)])
    assert pull(store, f"{served.host}/a:1", settings=settings).weights[0].read_bytes() == data
    ranges = [each.headers.get("range") for each in served.asked(str(digest_of(data)))]
    assert ranges == [None, "bytes=500000-", "bytes=1200000-"]
    assert pull(store, f"{served.host}/b:1", settings=settings).weights[0].read_bytes() == gguf("b", 1)


def test_a_blob_may_lie_elsewhere_but_not_at_a_private_address(
    store: Store, served: Registry, settings: PullSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(Registry(), name="cdn.example") as cdn:
        layer = served.layer(f"{DOCKER}gguf.v3", gguf())
        cdn.blobs = served.blobs
        served.blobs[layer["digest"]].moved = f"{cdn.url}/cdn/{layer['digest']}"
        served.add("a", "1", [layer])
        name_hosts(monkeypatch, "cdn.example", public=False)
        with pytest.raises(Unreachable, match="no public address"):
            pull(store, f"{served.host}/a:1", settings=settings)
        assert cdn.requests == []
        name_hosts(monkeypatch, "cdn.example")
        pull(store, f"{served.host}/a:1", settings=settings)
        assert len(cdn.asked("/cdn/")) == 1


def test_a_private_repository_is_pulled_with_dockers_login(
    store: Store, served: Registry, settings: PullSettings
) -> None:
    served.auth, served.users, served.public = "bearer", {"alice": "s3cret"}, False
    served.add("a", "1", [served.layer(f"{DOCKER}gguf.v3", gguf())])
    with pytest.raises(Denied, match=f"docker login {served.host}"):
        pull(store, f"{served.host}/a:1", settings=settings)
    assert settings.reach.docker_config is not None
    docker_config(settings.reach.docker_config, served.host)
    pull(store, f"{served.host}/a:1", settings=settings)


def test_insecure_is_said_with_the_pull(store: Store, settings: PullSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    name_hosts(monkeypatch, "registry.example")
    with running(Registry(), name="registry.example") as registry:
        registry.add("a", "1", [registry.layer(f"{DOCKER}gguf.v3", gguf())])
        with pytest.raises(Unreachable):
            pull(store, f"{registry.host}/a:1", settings=settings)
        pull(store, Wanted(reference=f"{registry.host}/a:1", insecure=True), settings=settings)
    only = replace(settings, reach=replace(settings.reach, registries=("hf.co",)))
    with pytest.raises(BadSource, match=r"hf\.co only"):
        pull(store, "ghcr.io/a/b", settings=only)


def ollama(registry: Registry, tag: str = "1", config: dict[str, Any] | None = None, **more: bytes) -> str:
    """A model as Ollama's registry has it."""
    layers = [registry.layer(f"{OLLAMA}{kind.rstrip('2')}", data) for kind, data in more.items()]
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    named = "application/vnd.docker.container.image.v1+json"
    return registry.add("library/tiny", tag, layers, config=config or {}, config_type=named, mediaType=kind)


def test_a_model_of_ollamas(store: Store, served: Registry, settings: PullSettings) -> None:
    ollama(
        served,
        config={"model_format": "gguf", "file_type": "Q8_0", "parser": "qwen3", "architecture": "amd64"},
        model=gguf(),
        template=b"{{ .Prompt }}",
        system=b"Be brief.",
        params=b'{"stop": ["<end>"], "temperature": 0.5, "unheard_of": 1}',
        messages=b'[{"role": "user", "content": "hi"}]',
        license=b"one",
        license2=b"two",
    )
    pulled = pull(store, f"ollama://{served.host}/library/tiny:1", settings=settings)
    assert (pulled.template, pulled.system) == ("{{ .Prompt }}", "Be brief.")
    assert pulled.parameters == {"stop": ("<end>",), "temperature": 0.5}
    assert pulled.licenses == ("one", "two")
    assert (pulled.config.quantization, pulled.config.parser) == ("Q8_0", "qwen3")
    assert [each.content for each in pulled.messages] == ["hi"]


def test_where_ollamas_own_code_renders_the_weights_template_is_meant(
    store: Store, served: Registry, settings: PullSettings
) -> None:
    ollama(served, config={"renderer": "qwen3-vl"}, model=gguf(), template=b"{{ .Prompt }}")
    pulled = pull(store, f"ollama://{served.host}/library/tiny:1", settings=settings)
    assert (pulled.template, pulled.config.renderer) == (None, "qwen3-vl")


def test_ollamas_registry_is_told_nothing_and_wants_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: PullSettings
) -> None:
    name_hosts(monkeypatch, "registry.ollama.ai", "huggingface.co")
    with running(Registry(auth="bearer", public=False), name="registry.ollama.ai") as registry:
        monkeypatch.setattr("registry.sources.ollama._OLLAMA", registry.host)
        with Http() as http:
            config = docker_config(tmp_path, registry.host)
            source = Ollama(http, OllamaPlace(registry.host, "me/x", "1"), docker_config=config, insecure=True)
            with pytest.raises(Denied, match="doesn't sign requests with Ollama's key"):
                source.look()
        assert all("s3cret" not in each.secrets and each.authorization is None for each in registry.requests)
    with running(Registry(auth="bearer"), name="huggingface.co") as hub:
        monkeypatch.setattr("registry.sources.ollama._HUGGING_FACE", hub.host)
        hub.tokens.add("hf_good")
        hub.add("org/x", "Q8_0", [hub.layer(f"{OLLAMA}model", gguf())])
        with Http() as http:
            source = Ollama(http, OllamaPlace(hub.host, "org/x", "Q8_0"), insecure=True, hf_token="hf_good")
            assert source.look().weights[0].digest == digest_of(gguf())
            source = Ollama(http, OllamaPlace(hub.host, "org/x", "Q8_0"), insecure=True, hf_token="hf_bad")
            with pytest.raises(Denied, match="HF_TOKEN"):
                source.look()


def test_ollamas_registries_keep_no_older_state(store: Store, served: Registry, settings: PullSettings) -> None:
    old = ollama(served, model=gguf())
    reference = f"ollama://{served.host}/library/tiny:1"
    pinned = Wanted(reference=reference, pin=Pin(old))
    pull(store, pinned, settings=settings)
    new = ollama(served, model=gguf("new"))
    with pytest.raises(NotFound, match=f"at {new} now"):
        pull(store, pinned, settings=settings)


def test_what_ollama_runs_elsewhere_is_no_model(store: Store, served: Registry, settings: PullSettings) -> None:
    ollama(served, config={"remote_host": "https://ollama.com", "remote_model": "big"})
    with pytest.raises(BadSource, match="no layers"):
        pull(store, f"ollama://{served.host}/library/tiny:1", settings=settings)


def test_texts_that_would_fill_the_memory_are_refused(store: Store, served: Registry, settings: PullSettings) -> None:
    many = [served.layer(f"{DOCKER}license", b"x" * (4 << 20)) for _ in range(9)]
    for tag, texts in (("1", many), ("2", [served.layer(f"{DOCKER}license", b"x" * (5 << 20))])):
        served.add("a", tag, [served.layer(f"{DOCKER}gguf.v3", gguf()), *texts])
        with pytest.raises(BadSource, match="too much"):
            pull(store, f"{served.host}/a:{tag}", settings=settings)


def test_json_of_the_wrong_shape_is_an_error_of_the_source(
    store: Store, served: Registry, settings: PullSettings
) -> None:
    for data in (b"", b"[]", b"null", b'{"schemaVersion": 2}', b"\xff", json.dumps({"schemaVersion": 1}).encode()):
        served.add_manifest("a", "1", data)
        with pytest.raises(RegistryError) as caught:
            pull(store, f"{served.host}/a:1", settings=settings)
        assert isinstance(caught.value, Unreachable)
