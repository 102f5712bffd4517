"""What people type after `pull`, and where it leads."""

import pytest

from registry.digests import digest_of
from registry.errors import BadDigest, BadName, BadSource, NotFound, RegistryError
from registry.names import Name
from registry.resolve import HubPlace, OciPlace, OllamaPlace, Place, UrlPlace, refer

DIGEST = digest_of(b"x")
OLLAMA, DOCKER = "registry.ollama.ai", "registry-1.docker.io"


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("hf.co/org/repo:Q4_K_M", "hf.co/org/repo:Q4_K_M", HubPlace("org/repo", "Q4_K_M")),
        ("hf://org/repo", "hf.co/org/repo:latest", HubPlace("org/repo", "latest")),
        ("https://huggingface.co/org/repo", "hf.co/org/repo:latest", HubPlace("org/repo", "latest")),
        (
            "https://huggingface.co/org/repo/resolve/main/q4/Model-Q4_K_M.gguf?download=true",
            "hf.co/org/repo:Model-Q4_K_M.gguf",
            HubPlace("org/repo", "Model-Q4_K_M.gguf"),
        ),
        (
            "ollama.com/qwen3:8b",
            "ollama.com/library/qwen3:8b",
            OllamaPlace(OLLAMA, "library/qwen3", "8b"),
        ),
        (
            "ollama://qwen3",
            "ollama.com/library/qwen3:latest",
            OllamaPlace(OLLAMA, "library/qwen3", "latest"),
        ),
        ("ollama://hf.co/org/repo:Q8_0", "hf.co/org/repo:Q8_0", OllamaPlace("huggingface.co", "org/repo", "Q8_0")),
        ("docker.io/smollm2", "docker.io/ai/smollm2:latest", OciPlace(DOCKER, "ai/smollm2", "latest")),
        (
            "docker://ai/smollm2:360M",
            "docker.io/ai/smollm2:360M",
            OciPlace(DOCKER, "ai/smollm2", "360M"),
        ),
        ("localhost:5000/demo:1", "localhost:5000/demo:1", OciPlace("localhost:5000", "demo", "1")),
        ("ghcr.io/Org/Repo:Tag", "ghcr.io/Org/Repo:Tag", OciPlace("ghcr.io", "org/repo", "Tag")),
        ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest", OciPlace("ghcr.io", "a/b/c", "latest")),
        (f"ghcr.io/a/b:1@{DIGEST}", "ghcr.io/a/b:1", OciPlace("ghcr.io", "a/b", "1", DIGEST)),
        (
            "https://example.com:8443/some%20models/Tiny-Q8_0-00001-of-00002.gguf?key=1",
            "example.com:8443/some-models/Tiny-Q8_0:latest",
            UrlPlace("https://example.com:8443/some%20models/Tiny-Q8_0-00001-of-00002.gguf?key=1"),
        ),
        (
            f"http://127.0.0.1:8000/tiny.gguf#sha256={DIGEST.hex}",
            "127.0.0.1:8000/tiny:latest",
            UrlPlace("http://127.0.0.1:8000/tiny.gguf", DIGEST),
        ),
    ],
)
def test_a_text_leads_to_one_place(text: str, name: str, place: Place) -> None:
    found = refer(text)
    assert (str(found.name), found.place) == (name, place)
    assert refer(found.text).place == place


def test_short_names_are_the_catalogs() -> None:
    assert isinstance(refer("qwen3:0.6b").place, HubPlace)
    assert refer("qwen3:0.6b").name == Name.parse("qwen3:0.6b")
    with pytest.raises(NotFound, match="did you mean"):
        refer("qwen33")
    with pytest.raises(NotFound, match=r"hf\.co/org/repo"):
        refer("org/repo")


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("https://example.com/a/b", BadSource, "without a scheme"),
        ("https://me:secret@example.com/a.gguf", BadSource, "user or a password"),
        ("https://example.com/a.gguf#part", BadSource, "only #sha256"),
        ("https://example.com/a.gguf#sha256=12", BadDigest, "64"),
        ("https://huggingface.co/org/repo/resolve/abc/x.gguf", BadSource, "follow the branch main"),
        (f"hf.co/org/repo@{DIGEST}", BadSource, "container registry"),
        ("ghcr.io/a/b@sha256:12", BadDigest, "64"),
        ("ftp://example.com/a.gguf", BadName, "isn't a source"),
        ("https://example.com", BadSource, "must lead to a .gguf file"),
        ("http://example.com/?a.gguf", BadSource, "must lead to a .gguf file"),
        ("https://", BadSource, "must lead to a .gguf file"),
        ("https:///a.gguf", BadSource, "must lead to a .gguf file"),
        ("https://:99999/a.gguf", BadSource, "not a URL"),
    ],
)
def test_what_leads_nowhere_is_said_to(text: str, error: type[RegistryError], complaint: str) -> None:
    with pytest.raises(error, match=complaint) as caught:
        refer(text)
    assert "secret" not in str(caught.value)
