"""Edits of text, as properties: it reads as was meant, comments stay, and what was set comes out again."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import tomlkit
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from runner.assistants import jsonc, places, toml, yamltext
from runner.assistants.editing import Setting, applied, merged, undone
from runner.assistants.errors import Clash, Unreadable
from runner.assistants.knowledge import Format

NAMES = st.sampled_from(["a", "b", "name", "models", "x y", "é", "env"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-9, 999) | st.sampled_from(["", "text", "a: b", "# no", "// no", "é\n"])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=4)
ENTRY = st.builds(lambda name: {"name": name}, st.sampled_from(["R", "S"]))
PLACES = st.lists(NAMES | ENTRY, min_size=1, max_size=4).filter(
    lambda at: not any(isinstance(one, dict) and isinstance(two, dict) for one, two in itertools.pairwise(at))
)
NOTES = st.sampled_from(["", " ", "\n", "\n\n", "\r\n", "// note\n", " /* note */ ", "\t", "\n  // note\n  "])


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """JSON with notes wherever they may stand, and trailing commas."""
    note = draw(NOTES)
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else [(None, item) for item in value]
        parts = [
            draw(NOTES)
            + ("" if key is None else json.dumps(key) + draw(NOTES) + ":" + draw(NOTES))
            + draw(written(item))
            + draw(NOTES)
            for key, item in pairs
        ]
        comma = draw(st.sampled_from(["", ","]))
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        return f"{opening}{','.join(parts)}{comma}{draw(NOTES)}{closing}"
    inner = {"{}": f"{{{note}}}", "[]": f"[{note}]"}
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return inner.get(text, text)


def meant(data: Any, at: list[Any], value: Any) -> Any:
    """The data with the value; an entry of a list has to be a mapping, to be found again."""
    assume(isinstance(at[-1], str) or (isinstance(value, dict) and value.items() >= at[-1].items()))
    try:
        changed = places.put(data, at, value)
        assume(places.found(changed, at) == value)
    except Clash:
        assume(False)
    return changed


ENTRIES = VALUES | st.dictionaries(NAMES, VALUES, max_size=2).map(lambda more: {**more, "name": "R"})


@given(st.data(), MAPPINGS | st.lists(VALUES | ENTRIES, max_size=3), PLACES, ENTRIES, st.booleans())
def test_json_keeps_all_else(data: st.DataObject, value: Any, at: list[Any], new: Any, first: bool) -> None:
    text = data.draw(written(value))
    assert jsonc.parse(text) == value
    wanted = meant(value, at, new)
    result = jsonc.put(text, at, new, first)
    assert jsonc.parse(result) == (places.put(value, at, new, first) if first else wanted)
    assert result.count("note") >= text.count("note") - json.dumps(old_of(value, at), default=str).count("note") - (
        text.count("note") if places.found(value, at) is not places.ABSENT or hits_null(value, at) else 0
    )
    assert jsonc.parse(jsonc.put(result, at, new, first)) == jsonc.parse(result)
    if places.found(value, at) is places.ABSENT:
        ours = [Setting(at, new)]
        again, changes = applied(text, "json", ours)
        back = undone(again, "json", changes)
        assert without_null(jsonc.parse(back)) == without_null(value)


def old_of(value: Any, at: list[Any]) -> Any:
    old = places.found(value, at)
    return "" if old is places.ABSENT else old


def hits_null(value: Any, at: list[Any]) -> bool:
    return places.found(value, at[: places.standing(value, at)]) is None


def without_null(value: Any) -> Any:
    """A null where a container belonged is an empty one afterwards; both meant nothing."""
    if isinstance(value, dict):
        kept = {key: without_null(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, {}, [])}
    return [without_null(item) for item in value] if isinstance(value, list) else value


@given(MAPPINGS, PLACES, VALUES, st.booleans(), st.booleans())
def test_yaml_is_edited_rightly_or_not_at_all(value: Any, at: list[Any], new: Any, flow: bool, first: bool) -> None:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=flow or None)
    text = "# above\n" + text.replace("\nb:", "\n# between\nb:") + "# below\n"
    assume(yaml.safe_load(text) == value)
    wanted = meant(value, at, new)
    try:
        result, _ = applied(text, "yaml", [Setting(at, new, first)])
    except Clash:
        return
    assert yaml.safe_load(result) == (places.put(value, at, new, first) if first else wanted)
    if value:
        assert "# above" in result
        assert "# below" in result


@pytest.mark.parametrize("indent", ["", "  "])
@pytest.mark.parametrize("first", [True, False])
def test_yaml_entries_come_and_go(indent: str, first: bool) -> None:
    text = f"a: 1\nmodels:\n{indent}# one\n{indent}- name: X  # x\n{indent}  k: |\n{indent}    long\n\n# end\nz: [1]\n"
    at: list[Any] = ["models", {"name": "R"}]
    new = {"name": "R", "deep": {"list": [1, {"b": 2}]}}
    once, changes = applied(text, "yaml", [Setting(at, new, first)])
    twice, _ = applied(once, "yaml", [Setting(at, {**new, "more": True}, first)])
    names = [model["name"] for model in yaml.safe_load(twice)["models"]]
    assert names == (["R", "X"] if first else ["X", "R"])
    assert set(text.splitlines()) <= set(twice.splitlines())
    assert undone(once, "yaml", changes) == text


SIMPLE = st.recursive(
    st.booleans() | st.integers(-9, 999) | st.sampled_from(["", "text", "a # b"]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "x y"]), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.lists(st.sampled_from(["a", "b", "c", "x y"]), min_size=1, max_size=3)


@given(st.dictionaries(st.sampled_from(["a", "b", "x y"]), SIMPLE, max_size=3), KEYS, SIMPLE)
def test_toml_is_edited_rightly(value: dict[str, Any], at: list[Any], new: Any) -> None:
    text = "# above\n" + tomlkit.dumps(value) + "# below\n"
    wanted = meant(value, at, new)
    result = toml.put(text, at, new)
    assert toml.parse(result) == wanted
    assert "# above" in result
    assert "# below" in result
    if places.found(value, at) is places.ABSENT:
        again, changes = applied(text, "toml", [Setting(at, new)])
        back = undone(again, "toml", changes)
        assert toml.parse(back) == value
        assert "# below" in back


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1: a name in double quotes is missing"),
        ('{"a": }', "line 1: a value is missing"),
        ('{"a": 1\n\n"b": 2}', "line 3: a comma or '}' is missing"),
        ('{"a" 1}', "line 1: a colon is missing after 'a'"),
        ("[1, nul]", "line 1: 'n' is no value"),
        ("{} {}", "line 1: there is more after the end"),
        ('{"a": "x', "line 1: unterminated string starting at"),
        ("[" * 500, "more than 200 levels deep"),
        ("[01]", "'0' is no value"),
        ("/* open", "is no value"),
    ],
)
def test_what_is_no_json_is_said_with_its_line(text: str, words: str) -> None:
    with pytest.raises(Unreadable) as error:
        jsonc.parse(text)
    assert words in str(error.value)


def test_one_line_stays_one_line() -> None:
    assert jsonc.put('{"a": 1}', ["b"], True) == '{"a": 1, "b": true}'
    assert jsonc.put("[1,2]", [{"name": "R"}], {"name": "R"}, True).startswith("[{")
    assert jsonc.put('{\r\n\t"a": 1 // one\r\n}\r\n', ["b"], 2) == '{\r\n\t"a": 1, // one\r\n\t"b": 2\r\n}\r\n'


def test_a_byte_order_mark_stays() -> None:
    text, changes = applied('\ufeff{"a": 1}', "json", [Setting(["b"], 2)])
    assert text == '\ufeff{"a": 1, "b": 2}'
    assert undone(text, "json", changes) == '\ufeff{"a": 1}'


def test_yaml_that_refers_to_itself_is_left() -> None:
    text = "base: &base {name: X}\nmodels:\n  - <<: *base\n"
    with pytest.raises(Clash):
        applied(text, "yaml", [Setting(["models", {"name": "X"}, "name"], "Y")])
    assert yamltext.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "# a sample\n#model: x\n\n## Option\n#dark-mode: true\n",
        "---\n# a sample\n",
        "",
        "models:\n  # mine are to come\nrules: [brief]\n",
    ],
)
def test_yaml_of_nothing_but_comments_comes_back(text: str) -> None:
    """Also those that were written while ours stood there."""
    at: list[Any] = ["models", {"name": "R"}] if "models" in text else ["model"]
    new = {"name": "R"} if "models" in text else "ours"
    once, changes = applied(text, "yaml", [Setting(at, new)])
    back = undone(once + "# later\n", "yaml", changes)
    assert back.replace("models: []", "models:") == text + "# later\n"


def test_comments_in_a_container_that_is_ours_alone_now_stay() -> None:
    text = "deep:\n  # one\n  mine: 1\n  # two\nz: 1\n"
    once, changes = applied(text, "yaml", [Setting(["deep", "ours"], 2)])
    assert undone(once.replace("  mine: 1\n", ""), "yaml", changes) == text.replace("deep:", "deep: {}").replace(
        "  mine: 1\n", ""
    )


@pytest.mark.parametrize(("form", "text"), [("json", '{"a": 1}'), ("yaml", "a: 1\n"), ("toml", "a = 1\n")])
def test_another_value_than_ours_stays(form: Format, text: str) -> None:
    """Whoever put it there did so after us; of an entry of ours all goes."""
    once, changes = applied(text, form, [Setting(["url"], "ours"), Setting(["entry"], {"x": "ours"})])
    changed = once.replace("ours", "theirs")
    read = {"json": jsonc, "yaml": yamltext, "toml": toml}[form].parse
    assert read(undone(changed, form, changes)) == {"a": 1, "url": "theirs"}
    assert read(undone(once, form, changes)) == {"a": 1}


@pytest.mark.parametrize("old", [None, "first"])
def test_what_was_set_between_two_runs_is_what_comes_back(old: str | None) -> None:
    start = "{}" if old is None else json.dumps({"url": old})
    once, first = applied(start, "json", [Setting(["url"], "ours")])
    twice, second = applied(once.replace("ours", "theirs"), "json", [Setting(["url"], "ours again")])
    assert jsonc.parse(undone(twice, "json", merged(first, second))) == {"url": "theirs"}
    _, third = applied(twice, "json", [Setting(["url"], "ours again")])
    assert jsonc.parse(undone(twice, "json", merged(merged(first, second), third))) == {"url": "theirs"}
    _, unchanged = applied(once, "json", [Setting(["url"], "ours again")])
    assert jsonc.parse(undone(twice, "json", merged(first, unchanged))) == jsonc.parse(start)
