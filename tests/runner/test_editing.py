"""config.yaml edited as a text: what is asked for is changed, and nothing else; and the names that lead into it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner.config import ConfigError, load
from runner.config.editing import CannotEdit, drop, put
from runner.config.naming import named

TEXT = """\
# mine
keep_alive:   30m   # long
options: {num_ctx: 8192}

per_model:
  qwen3:0.6b:   # small
    options: {num_ctx: 32768, temperature: 0.2}
    keep_alive: 2h
  # the other
  nomic-embed:
    pin: true
pin:
- a
- b
max_queue:
# the end
"""


@pytest.mark.parametrize(
    ("path", "value", "was", "now"),
    [
        ("keep_alive", "5m", "keep_alive:   30m   # long", "keep_alive:   5m   # long"),
        ("options seed", 4, "{num_ctx: 8192}", "{num_ctx: 8192, seed: 4}"),
        ("options num_ctx", 1, "{num_ctx: 8192}", "{num_ctx: 1}"),
        ("per_model qwen3:0.6b options num_ctx", 1, "{num_ctx: 32768, t", "{num_ctx: 1, t"),
        ("per_model qwen3:0.6b pin", True, "    keep_alive: 2h\n", "    keep_alive: 2h\n    pin: true\n"),
        ("per_model new options seed", 1, "    pin: true\n", "    pin: true\n  new:\n    options: {seed: 1}\n"),
        ("pin", "a", "pin:\n- a\n- b\n", "pin: a\n"),
        ("max_queue", 7, "max_queue:\n", "max_queue: 7\n"),
        ("api_key", "0123", "max_queue:\n", "max_queue:\napi_key: '0123'\n"),
        ("aliases gpt-4.*", "demo", "max_queue:\n", "max_queue:\naliases: {gpt-4.*: demo}\n"),
        ("sandbox", "off", "max_queue:\n", "max_queue:\nsandbox: 'off'\n"),
    ],
)
def test_one_entry_is_put_in_and_the_rest_stays(path: str, value: Any, was: str, now: str) -> None:
    assert put(TEXT, path.split(), value) == TEXT.replace(was, now, 1)


@pytest.mark.parametrize(
    ("path", "was", "now"),
    [
        ("keep_alive", "keep_alive:   30m   # long\n", ""),
        ("options num_ctx", "options: {num_ctx: 8192}\n", ""),
        ("per_model qwen3:0.6b options num_ctx", "{num_ctx: 32768, t", "{t"),
        ("per_model qwen3:0.6b options temperature", ", temperature: 0.2}", "}"),
        ("per_model nomic-embed pin", "  nomic-embed:\n    pin: true\n", ""),
        ("pin", "pin:\n- a\n- b\n", ""),
        ("nothing", "", ""),
        ("pin a", "", ""),
    ],
)
def test_one_entry_is_taken_out_and_the_rest_stays(path: str, was: str, now: str) -> None:
    assert drop(TEXT, path.split()) == TEXT.replace(was, now, 1)


def test_other_ways_to_write_a_file() -> None:
    assert put("", ["a", "b"], 1) == "a: {b: 1}\n"
    assert put("# only words", ["a"], 1) == "# only words\na: 1\n"
    assert put("{}", ["a"], 1) == "{a: 1}"
    assert put("a: 1\r\n", ["b"], [1]) == "a: 1\r\nb: [1]\r\n"
    assert put("a: |\n  x\n  y\nb: 1\n", ["a"], "z") == "a: z\nb: 1\n"
    for text in ("a: [", "- a", "x: &x {k: 1}\na: *x\n"):
        with pytest.raises(CannotEdit):
            put(text, ["a", "k"], 2)


_NAMES = st.sampled_from(["a", "b", "qwen3:0.6b", "c d", "yes", "1", "#x"])
_LEAVES = st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=8), st.lists(st.integers(), max_size=3))
_TREES = st.dictionaries(_NAMES, st.one_of(_LEAVES, st.dictionaries(_NAMES, _LEAVES, max_size=3)), max_size=4)


@given(_TREES, st.lists(_NAMES, min_size=1, max_size=3), _LEAVES, st.sampled_from([True, False, None]))
def test_what_comes_out_says_what_was_asked_or_nothing(
    tree: dict[str, Any], path: list[str], value: Any, flow: bool | None
) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    after = put(text, path, value)
    there: Any = yaml.safe_load(after)
    for name in path:
        there = there[name]
    assert there == value
    gone: Any = yaml.safe_load(drop(after, path)) or {}
    for name in path[:-1]:
        gone = gone.get(name) or {}
    assert path[-1] not in gone


def test_names_lead_into_settings() -> None:
    assert named("RUNNER_KEEP_ALIVE").path == ("keep_alive",)
    assert named("keep-alive").path == ("keep_alive",)
    assert named("per_model.qwen2.5:0.5b.options.num_ctx").path == ("per_model", "qwen2.5:0.5b", "options", "num_ctx")
    assert named("per_model.hf.co/org/x.options").path == ("per_model", "hf.co/org/x", "options")
    assert named("aliases.gpt-4.1").path == ("aliases", "gpt-4.1")
    assert named("per_model.qwen2.5").path == ("per_model", "qwen2.5")
    for wrong, hint in (("keepalive", "keep_alive"), ("max_queue.x", "did you mean max_queue"), ("zzz", "names all")):
        with pytest.raises(ConfigError, match=hint):
            named(wrong)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("keep_alive", "30m", "30m"),
        ("max_queue", "7", 7),
        ("queue_timeout", "-1", -1),
        ("api_key", "0123", "0123"),
        ("api_key", "123", "123"),
        ("autostart", "off", False),
        ("sandbox", "off", "off"),
        ("options", "num_ctx=4096,temperature=0", {"num_ctx": 4096, "temperature": 0}),
        ("options.stop", "a,b", ["a,b"]),
        ("aliases.gpt-4", "demo", "demo"),
        ("per_model.demo.keep_alive", "-1", -1),
        ("per_model.demo.pin", "yes", True),
        ("per_model.demo", '{"options": {"num_ctx": 64}}', {"options": {"num_ctx": 64}}),
    ],
)
def test_what_is_typed_becomes_what_is_written(name: str, text: str, value: Any) -> None:
    read = named(name).read(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("keep_alive", "soon", "keep_alive takes seconds"),
        ("options.num_ctx", "many", "options.num_ctx takes"),
        ("options.num_ctxx", "1", "num_ctxx"),
        ("per_model.demo.options.num_ctx", "-3", "num_ctx"),
        ("per_model.demo", "x", "takes JSON"),
        ("per_model.de mo", "{}", "by name"),
    ],
)
def test_what_cannot_be_a_value_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        named(name).read(text)


def test_values_are_found_under_either_name_of_a_model() -> None:
    found = load({"per_model": '{"demo": {"options": {"num_ctx": 64}, "pin": true}}'})
    assert named("per_model.Demo:latest.options.num_ctx").of(found) == 64
    assert named("per_model.demo.keep_alive").of(found) is None
    assert named("per_model.other.pin").of(found) is None
