"""Looking into other tools' places: what is found under which name, and what is passed over with which reason."""

import json
import os
import socket
from pathlib import Path

import pytest

from registry.adopt.folder import Folder
from registry.adopt.found import Look
from registry.adopt.lmstudio import LmStudio
from registry.adopt.places import KINDS, chosen, look_in, nearby, place_at, places
from registry.digests import Digest, digest_of
from registry.errors import BadSource, NotFound
from registry.resolve import refer
from registry.sources.local import gguf_files
from tests import tiny_gguf
from tests.hub import COMMIT, Hub
from tests.registry.layouts import DOCKER, docker_model, ollama_blob, ollama_model
from tests.registry.models import gguf_file

GGUF = tiny_gguf.model().build()
OTHER = tiny_gguf.model(extra={"general.version": "2"}).build()


def names(look: Look) -> list[str]:
    return sorted(str(each.name) for each in look.models)


def reasons(look: Look) -> dict[str, str]:
    return {each.what.rpartition("/")[2]: each.reason for each in look.passed_over}


@pytest.fixture
def hub_cache(hub: Hub, tmp_path: Path) -> Path:
    """A cache filled by the hub's own client."""
    from huggingface_hub import hf_hub_download

    one, two = tiny_gguf.shards(2)
    hub.add(
        "org/many-GGUF",
        {
            "many-Q8_0.gguf": GGUF,
            "many-F16-00001-of-00002.gguf": one,
            "many-F16-00002-of-00002.gguf": two,
            "mmproj-many-F16.gguf": OTHER,
            "params": b'{"temperature": 0.5}',
        },
    )
    hub.add("org/half-GGUF", {"half-Q4_K_M-00001-of-00002.gguf": one, "half-Q4_K_M-00002-of-00002.gguf": two})
    hub.add("org/safe", {"model.safetensors": b"weights"})
    for repository, files in {
        "org/many-GGUF": hub.repositories["org/many-GGUF"].files,
        "org/half-GGUF": ["half-Q4_K_M-00001-of-00002.gguf"],
        "org/safe": ["model.safetensors"],
    }.items():
        for file in files:
            hf_hub_download(repository, file, cache_dir=tmp_path / "hub", endpoint=hub.endpoint)
    return tmp_path / "hub"


def test_the_hub_cache_as_its_own_client_fills_it(hub_cache: Path) -> None:
    look = look_in(str(hub_cache))
    assert names(look) == ["hf.co/org/many-GGUF:F16", "hf.co/org/many-GGUF:Q8_0"]
    [single] = chosen(look, ["hf.co/org/many-gguf:q8_0"])
    assert [each.title for each in single.files] == ["many-Q8_0.gguf", "mmproj-many-F16.gguf"]
    assert [each.digest for each in single.files] == [digest_of(GGUF), digest_of(OTHER)]
    assert single.files[0].path == hub_cache / "models--org--many-GGUF" / "blobs" / digest_of(GGUF).hex
    assert (single.revision, single.origin) == (COMMIT, f"https://hf.co/org/many-GGUF/tree/{COMMIT}")
    assert [each.kind for each in single.texts] == ["params"]
    assert len(chosen(look, ["hf.co/org/many-GGUF:F16"])[0].files) == 3
    assert reasons(look) == {"half-Q4_K_M": "only 1 of its 2 shards are there"}
    # HF_HOME is as good as the cache in it.
    assert names(look_in(str(hub_cache.parent))) == names(look)


def test_a_name_that_is_no_text_is_left_out_with_a_reason(tmp_path: Path) -> None:
    good = gguf_file(tmp_path, "good-Q8_0.gguf")
    os.rename(gguf_file(tmp_path, "a.gguf"), os.fsencode(tmp_path) + b"/t\xe9st-Q8_0.gguf")
    os.mkdir(os.fsencode(tmp_path) + b"/f\xe9")
    os.link(good, os.fsencode(tmp_path) + b"/f\xe9/b-Q8_0.gguf")
    look = look_in(str(tmp_path))
    assert names(look) == ["good:Q8_0"]
    left = {each.what.removeprefix(f"{tmp_path}/"): each.reason for each in look.passed_over}
    assert left == dict.fromkeys(("t\ufffdst-Q8_0.gguf", "f\ufffd/b-Q8_0.gguf"), "its name isn't UTF-8; rename it")
    with pytest.raises(BadSource, match=r"st-Q8_0\.gguf: its name isn't UTF-8"):
        gguf_files(".", tmp_path)


def test_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert [place for kind in KINDS for place in places(kind, {})] == []
    assert nearby(KINDS, {"OLLAMA_MODELS": "~nobody-of-this-name/x"})(digest_of(b"x")) == []


def test_texts_that_would_fill_the_memory_are_left_out(tmp_path: Path) -> None:
    path = ollama_model(tmp_path, "library/tiny/latest", [("model", GGUF), ("license", b"L" * (4 << 20))])
    manifest = json.loads(path.read_bytes())
    manifest["layers"] += [manifest["layers"][1]] * 7
    path.write_text(json.dumps(manifest))
    assert len(look_in(str(tmp_path)).models) == 1  # 32 MiB may be
    manifest["layers"] += [manifest["layers"][1]]
    path.write_text(json.dumps(manifest))
    look = look_in(str(tmp_path))
    assert look.models == []
    assert "too much" in look.passed_over[0].reason


def test_what_is_wrong_in_a_hub_cache_is_passed_over(hub_cache: Path, tmp_path: Path) -> None:
    folder = hub_cache / "models--org--many-GGUF"
    snapshot = folder / "snapshots" / COMMIT
    (folder / "blobs" / f"{'a' * 64}.incomplete").write_bytes(b"half")
    (snapshot / "escape-Q5_K_M.gguf").symlink_to(gguf_file(tmp_path, "secret.gguf"))
    (snapshot / "gone-Q6_K.gguf").symlink_to("../../blobs/nothing")
    os.mkfifo(snapshot / "fifo-Q4_0.gguf")
    look = look_in(str(hub_cache))
    assert names(look) == ["hf.co/org/many-GGUF:F16", "hf.co/org/many-GGUF:Q8_0"]
    found = reasons(look)
    assert found[f"{'a' * 64}.incomplete"] == "an unfinished download"
    assert found["escape-Q5_K_M.gguf"].startswith("a link that leads out of")
    assert found["gone-Q6_K.gguf"] == "No such file or directory"
    assert found["fifo-Q4_0.gguf"] == "not a regular file"


def test_an_ollama_store(tmp_path: Path) -> None:
    root = tmp_path / "models"
    manifest = ollama_model(
        root,
        "library/tiny/1b",
        [("model", GGUF), ("projector", OTHER), ("template", b"{{ .Prompt }}"), ("params", b'{"stop": ["x"]}'),
         ("system", b"be nice"), ("license", b"MIT"), ("messages", b"[]")],
        {"renderer": "qwen3", "parser": "qwen3"},
    )  # fmt: skip
    ollama_model(root, "somebody/tuned/latest", [("model", OTHER), ("adapter", GGUF)])
    ollama_model(root, "org/repo-GGUF/Q8_0", [("model", GGUF)], host="hf.co")
    look = look_in(str(root))
    assert names(look) == [
        "hf.co/org/repo-GGUF:Q8_0", "ollama.com/library/tiny:1b", "ollama.com/somebody/tuned:latest",
    ]  # fmt: skip
    assert look.passed_over == []
    for said in ("tiny:1b", "ollama.com/library/tiny:1b", "registry.ollama.ai/library/tiny:1b", "TINY"):
        [tiny] = chosen(look, [said])
    assert (tiny.renderer, tiny.parser, tiny.quantization) == ("qwen3", "qwen3", "Q8_0")
    assert [each.digest for each in tiny.files] == [digest_of(GGUF), digest_of(OTHER)]
    # Ollama renders it by code of its own: its template says nothing then.
    assert [each.kind for each in tiny.texts] == ["system", "params", "messages", "license"]
    assert tiny.revision == str(digest_of(manifest.read_bytes()))
    [tuned] = chosen(look, ["somebody/tuned"])
    assert len(tuned.adapters) == 1
    for found in look.models:  # what is noted leads back to where it came from
        assert refer(found.reference).name == found.name
    [hubs] = chosen(look, ["hf.co/org/repo-GGUF:Q8_0"])
    assert hubs.reference == "ollama://hf.co/org/repo-GGUF:Q8_0"
    # ~/.ollama is as good as the store in it.
    assert names(look_in(str(tmp_path))) == names(look)
    with pytest.raises(NotFound, match="tinny"):
        chosen(look, ["tinny"])


def _manifest(layers: object) -> bytes:
    config = {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 1}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()


def test_what_is_wrong_in_an_ollama_store_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path
    ollama_model(root, "library/good/latest", [("model", GGUF)])
    ollama_model(root, "library/cloud/latest", [], {"remote_host": "https://ollama.com", "model_format": ""})
    ollama_model(root, "library/safe/latest", [("tensor", b"t")])
    ollama_model(root, "library/future/latest", [("wormhole", b"t")])
    ollama_model(root, "library/short/latest", [("model", OTHER)])
    (root / "blobs" / digest_of(OTHER).file_name).write_bytes(OTHER[:-1])
    lost = ollama_model(root, "library/lost/latest", [("model", b"lost")])
    (root / "blobs" / digest_of(b"lost").file_name).unlink()
    folder = lost.parent.parent
    for name, content in {
        "nojson": b"{", "nolist": _manifest(5), "nolayer": _manifest(["x"]), "noobject": b"[]", "oldest": b"{}",
        "nodigest": _manifest([{"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}]),
        "list": b'{"schemaVersion": 2, "manifests": []}',
        "huge": b"{" + b" " * (5 << 20) + b"}",
    }.items():  # fmt: skip
        (folder / name).mkdir()
        (folder / name / "latest").write_bytes(content)
    (folder / "fifo").mkdir()
    os.mkfifo(folder / "fifo" / "latest")
    (folder / "escape").mkdir()
    (folder / "escape" / "latest").symlink_to("/etc/passwd")
    (folder / "stray").write_text("no tag")
    secret = gguf_file(tmp_path.parent, f"{tmp_path.name}-secret.gguf", "secret")
    escaped = ollama_model(root, "library/leak/latest", [("model", secret.read_bytes())])
    blob = root / "blobs" / digest_of(secret.read_bytes()).file_name
    blob.unlink()
    blob.symlink_to(secret)
    assert escaped.exists()
    with socket.socket(socket.AF_UNIX) as listening:
        (folder / "socket").mkdir()
        monkeypatch.chdir(folder / "socket")  # a socket's path may not be long
        listening.bind("latest")
        look = look_in(str(root))
    assert names(look) == ["ollama.com/library/good:latest"]
    found = {each.what: each.reason for each in look.passed_over}
    expected = {
        "cloud": "no model: it has no layers",
        "safe": "its weights aren't in GGUF",
        "future": "no model, as far as Runner knows",
        "list": "a list of manifests",
        "short": f"it has {len(OTHER) - 1} of {len(OTHER)} bytes",
        "lost": "is missing from it",
        "nojson": "not JSON",
        "nolist": "layers must be a list",
        "nolayer": "must be an object",
        "noobject": "must be a JSON object",
        "oldest": "schemaVersion must be 2",
        "nodigest": "invalid digest",
        "huge": "too many for a small file",
        "fifo": "not a regular file",
        "socket": "not a regular file",
        "escape": "a link that leads out of",
        "leak": "a link that leads out of",
    }
    for model, reason in expected.items():
        assert reason in found[f"registry.ollama.ai/library/{model}/latest"], model
    assert found["registry.ollama.ai/library/stray"] == "not host/namespace/model/tag"
    assert len(found) == len(expected) + 1
    with pytest.raises(BadSource, match=r"can't be adopted.*missing"):
        chosen(look, ["library/lost"])


def test_dockers_store(tmp_path: Path) -> None:
    raw = "application/vnd.cncf.model.weight.v1.raw"
    docker_model(
        tmp_path,
        ["ai/tiny:1B-Q8_0", "docker.io/ai/tiny:latest"],
        [(DOCKER + "gguf.v3", GGUF, ""), (DOCKER + "mmproj", OTHER, ""), (DOCKER + "license", b"MIT", ""),
         (DOCKER + "chat.template.jinja", b"{{ messages }}", "")],
    )  # fmt: skip
    docker_model(
        tmp_path,
        ["ghcr.io/org/deep/packed"],
        [(raw, OTHER, "models/packed.gguf"), ("application/vnd.cncf.model.doc.v1.raw", b"readme", "README")],
    )
    docker_model(tmp_path, ["hf.co/org/repo"], [(DOCKER + "safetensors", b"t", "")])
    docker_model(tmp_path, [], [(DOCKER + "gguf.v3", GGUF, "")])
    index = json.loads((tmp_path / "models.json").read_text())
    index["models"] += ["odd", {"id": "sha256:odd", "tags": ["odd"]}, {"id": f"sha256:{'0' * 64}", "tags": ["gone"]}]
    (tmp_path / "models.json").write_text(json.dumps(index))
    look = look_in(str(tmp_path))
    assert names(look) == ["docker.io/ai/tiny:1B-Q8_0", "docker.io/ai/tiny:latest", "ghcr.io/org/deep/packed:latest"]
    [tiny] = chosen(look, ["tiny:1B-Q8_0"])
    assert [each.digest for each in tiny.files] == [digest_of(GGUF), digest_of(OTHER)]
    assert [each.kind for each in tiny.texts] == ["template", "license"]
    assert chosen(look, ["ghcr.io/org/deep/packed"])[0].files[0].title == "packed.gguf"
    assert [each.reason.partition(":")[0] for each in look.passed_over] == [
        "its weights aren't in GGUF (application/vnd.docker.ai.safetensors); pull a GGUF build of the same model",
        "it has no tag to call it by", "not a model with an id",
        "invalid digest 'sha256", f"{tmp_path / 'manifests' / 'sha256' / ('0' * 64)}",
    ]  # fmt: skip


def test_lm_studios_folder(tmp_path: Path) -> None:
    folder = tmp_path / "somebody" / "Tiny-GGUF"
    gguf_file(folder, "Tiny-Q8_0.gguf")
    gguf_file(folder, "Tiny-Q4_K_M.gguf", "y")
    gguf_file(folder, "mmproj-Tiny-F16.gguf", "z")
    (folder / "downloading_Tiny-Q2_K.gguf.part").write_bytes(b"half")
    gguf_file(tmp_path / "loose", "loose.gguf")
    look = LmStudio(tmp_path).look()
    assert names(look) == ["hf.co/somebody/Tiny-GGUF:Q4_K_M", "hf.co/somebody/Tiny-GGUF:Q8_0"]
    assert [each.title for each in look.models[0].files] == ["Tiny-Q4_K_M.gguf", "mmproj-Tiny-F16.gguf"]
    assert reasons(look) == {"downloading_Tiny-Q2_K.gguf.part": "an unfinished download"}


def test_a_folder_of_files(tmp_path: Path) -> None:
    gguf_file(tmp_path, "Llama-3.2-1B-Instruct-Q8_0.gguf")
    gguf_file(tmp_path, "two words.gguf")
    gguf_file(tmp_path / "Phi" / "deeper", "model.gguf")
    for index, data in enumerate(tiny_gguf.shards(2), 1):
        (tmp_path / f"split-Q4_K_M-0000{index}-of-00002.gguf").write_bytes(data)
    (tmp_path / ".hidden").mkdir()
    gguf_file(tmp_path / ".hidden", "no.gguf")
    (tmp_path / "loop").symlink_to(tmp_path)
    look = Folder(tmp_path).look()
    assert names(look) == ["Llama-3.2-1B-Instruct:Q8_0", "deeper:latest", "split:Q4_K_M", "two-words:latest"]
    assert look.passed_over == []
    assert names(look_in(str(tmp_path / "split-Q4_K_M-00002-of-00002.gguf"))) == ["split:Q4_K_M"]
    assert len(look_in(str(tmp_path / "split-Q4_K_M-00002-of-00002.gguf")).models[0].files) == 2
    # A link that leads out of its folder is followed only where it is named itself.
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart" / "linked-Q8_0.gguf").symlink_to(tmp_path / "two words.gguf")
    assert "leads out of" in Folder(tmp_path / "apart").look().passed_over[0].reason
    [named] = Folder(tmp_path / "apart" / "linked-Q8_0.gguf").look().models
    assert (str(named.name), named.files[0].path) == ("linked:Q8_0", tmp_path / "two words.gguf")
    with pytest.raises(BadSource, match="nothing is there"):
        place_at(tmp_path / "nothing.gguf")
    (tmp_path / "torch.safetensors").write_bytes(b"x")
    assert "convert it" in look_in(str(tmp_path / "torch.safetensors")).passed_over[0].reason


def test_several_of_one_quantization_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "org" / "repo"
    gguf_file(folder, "base-Q8_0.gguf")
    gguf_file(folder, "chat-Q8_0.gguf", "y")
    assert names(LmStudio(tmp_path).look()) == ["hf.co/org/repo:base-Q8_0", "hf.co/org/repo:chat-Q8_0"]


def test_where_tools_keep_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("registry.adopt.ollama._SYSTEM_ROOTS", ())
    here = {
        "huggingface": tmp_path / ".cache" / "huggingface" / "hub",
        "ollama": tmp_path / ".ollama" / "models",
        "lmstudio": tmp_path / ".cache" / "lm-studio" / "models",
        "docker": tmp_path / ".docker" / "models",
    }
    for kind, folder in here.items():
        assert places(kind, {}) == ()
        folder.mkdir(parents=True)
        assert [each.root for each in places(kind, {})] == [folder]
        assert look_in(kind, {}).models == []
    chosen_one = tmp_path / "chosen"
    chosen_one.mkdir()
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".lmstudio" / "settings.json").write_text(json.dumps({"downloadsFolder": str(chosen_one)}))
    assert [each.root for each in places("lmstudio", {})] == [chosen_one, here["lmstudio"]]
    for variable, kind in (("HF_HUB_CACHE", "huggingface"), ("OLLAMA_MODELS", "ollama"), ("MODELS_PATH", "docker")):
        assert [each.root for each in places(kind, {variable: str(chosen_one)})] == [chosen_one]
    with pytest.raises(BadSource, match="none of huggingface, ollama, lmstudio, docker"):
        places("gpt4all")


def test_files_are_found_by_the_digest_that_a_place_calls_them_by(tmp_path: Path, hub_cache: Path) -> None:
    ollama, docker = tmp_path / "ollama", tmp_path / "docker"
    ollama_blob(ollama, GGUF)
    docker_model(docker, ["ai/x"], [(DOCKER + "gguf.v3", GGUF, "")])
    environ = {"HF_HUB_CACHE": str(hub_cache), "OLLAMA_MODELS": str(ollama), "MODELS_PATH": str(docker)}
    find = nearby(("huggingface", "ollama", "lmstudio", "docker"), environ)
    assert [owner for owner, _ in find(digest_of(GGUF))] == ["Hugging Face's cache", "Ollama", "Docker Model Runner"]
    assert all(path.read_bytes() == GGUF for _, path in find(digest_of(GGUF)))
    assert list(find(Digest("0" * 64))) == []
    blob = ollama / "blobs" / digest_of(GGUF).file_name
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    assert [owner for owner, _ in find(digest_of(GGUF))] == ["Hugging Face's cache", "Docker Model Runner"]
    assert list(nearby((), environ)(digest_of(GGUF))) == []
