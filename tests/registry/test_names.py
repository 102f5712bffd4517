"""Names: what is accepted, what it means, and that nothing leads out of the store."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadName
from registry.names import Name

PART = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9_-])?", fullmatch=True)
HOST = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\.[a-z]{2,5}(:[0-9]{1,5})?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "full", "shortest"),
    [
        ("demo", ("runner.local", "library", "demo", "latest"), "demo:latest"),
        ("Demo:Q8_0", ("runner.local", "library", "Demo", "Q8_0"), "Demo:Q8_0"),
        ("me/demo", ("runner.local", "me", "demo", "latest"), "me/demo:latest"),
        ("library/demo", ("runner.local", "library", "demo", "latest"), "demo:latest"),
        ("hf.co/org/repo", ("hf.co", "org", "repo", "latest"), "hf.co/org/repo:latest"),
        ("HF.co/Org/Repo-GGUF:Q4_K_M", ("hf.co", "Org", "Repo-GGUF", "Q4_K_M"), "hf.co/Org/Repo-GGUF:Q4_K_M"),
        ("huggingface.co/org/repo:x", ("hf.co", "org", "repo", "x"), "hf.co/org/repo:x"),
        ("https://huggingface.co/org/repo", ("hf.co", "org", "repo", "latest"), "hf.co/org/repo:latest"),
        ("https://hf.co/org/repo/", ("hf.co", "org", "repo", "latest"), "hf.co/org/repo:latest"),
        ("hf://org/repo:Q8_0", ("hf.co", "org", "repo", "Q8_0"), "hf.co/org/repo:Q8_0"),
        ("localhost:5000/me/demo:1", ("localhost:5000", "me", "demo", "1"), "localhost:5000/me/demo:1"),
        ("hf.co/org/repo:Model-Q4_K_M.gguf", ("hf.co", "org", "repo", "Model-Q4_K_M.gguf"), None),
        ("runner.local/a.b/demo", ("runner.local", "a.b", "demo", "latest"), "runner.local/a.b/demo:latest"),
        ("localhost:5000/demo", ("localhost:5000", "", "demo", "latest"), "localhost:5000/demo:latest"),
        ("ghcr.io/org/team/demo:1", ("ghcr.io", "org/team", "demo", "1"), "ghcr.io/org/team/demo:1"),
        ("ollama.com/qwen3:8b", ("ollama.com", "library", "qwen3", "8b"), "ollama.com/library/qwen3:8b"),
        ("registry.ollama.ai/me/x", ("ollama.com", "me", "x", "latest"), "ollama.com/me/x:latest"),
        ("docker.io/smollm2", ("docker.io", "ai", "smollm2", "latest"), "docker.io/ai/smollm2:latest"),
    ],
)
def test_names_mean_what_people_type(text: str, full: tuple[str, ...], shortest: str | None) -> None:
    name = Name.parse(text)
    assert (name.host, name.namespace, name.model, name.tag) == full
    assert str(name) == (shortest or text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        (":latest", "the model is empty"),
        ("demo:", "the tag is empty"),
        ("/demo", "the namespace is empty"),
        ("a//b", "the namespace is empty"),
        ("hf.co/b/c/d", "at most host/namespace/model"),
        ("ghcr.io/" + "a/" * 9 + "d", "at most host/namespace/model"),
        ("hf.co/repo", "a namespace must follow"),
        ("demo@sha256:" + "0" * 64, "no digest"),
        ("..", "may hold"),
        ("../../etc/passwd", "isn't a host"),
        ("../../etc", "a host"),
        ("../etc", "isn't a host"),
        ("ghcr.io/../etc", "may hold"),
        ("demo:..", "may hold"),
        (".hidden", "may hold"),
        ("-x", "may hold"),
        ("demo.", "may hold"),
        ("de mo", "may hold"),
        ("demo\n", "may hold"),
        ("demo\0", "may hold"),
        ("démo", "may hold"),
        ("a\\b", "may hold"),
        ("x" * 129, "more than 128"),
        ("x" * 5000, "too long"),
        ("con", "reserved"),
        ("hf.co/NUL.x/demo", "reserved"),
        ("http://hf.co/a/b", "isn't a source"),
        ("https://example.com/a/b", "leave out https://"),
        ("ho st/a/b", "isn't a host"),
        ("a..b/c/d", "isn't a host"),
        ("%2e%2e/c/d", "isn't a host"),
    ],
)
def test_bad_names_say_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(BadName, match="invalid model name") as caught:
        Name.parse(text)
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 400


@given(host=HOST, namespace=PART | st.lists(PART, min_size=2, max_size=4).map("/".join), model=PART, tag=PART)
def test_printing_and_parsing_agree(host: str, namespace: str, model: str, tag: str) -> None:
    try:
        name = Name.parse(f"{host}/{namespace}/{model}:{tag}")
    except BadName as error:
        assert "reserved" in str(error)  # noqa: PT017  # the one thing that the patterns above can't rule out
        return
    assert Name.parse(str(name)) == name
    assert Name.from_parts(*name.parts) == name


@given(model=PART, tag=PART)
def test_short_names_too(model: str, tag: str) -> None:
    try:
        name = Name.parse(f"{model}:{tag}")
    except BadName:
        return
    assert str(name) == f"{model}:{tag}"
    assert Name.parse(name.short).key == Name.parse(model).key


@given(st.text(max_size=60) | st.text(alphabet="./\\:%~aA0-_\0\n ", max_size=40))
def test_no_text_leads_out_of_the_root(text: str) -> None:
    try:
        name = Name.parse(text)
    except BadName:
        return
    root = Path("/store/manifests")
    path = root.joinpath(*name.parts)
    assert path.parents[3] == root
    assert Name.from_parts(*name.parts) == name
    assert all(part not in ("", ".", "..") and "/" not in part and "\\" not in part for part in name.parts)
    assert all(part.isascii() and part.isprintable() and ":" not in part for part in name.parts)


def test_case_does_not_count() -> None:
    assert Name.parse("Demo:Latest").key == Name.parse("demo").key
    assert Name.parse("Demo") != Name.parse("demo")
