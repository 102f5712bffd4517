"""Calls in what models write: read back in every format, however the text is cut, and nothing of it lost."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.formats import calls_of, markers_of, thinking_of
from runner.reply.assemble import Assembly
from runner.reply.parts import Part
from tests.reply.samples import ADD, BOTH, FORMATS, SAMPLES, TOOLS, WEATHER, Read, ids_of, read

NAMES = sorted(FORMATS)
HERMES = FORMATS["hermes"]


def plain(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("name", NAMES)
class TestEveryFormat:
    def test_both_calls_are_read(self, name: str) -> None:
        found = read(FORMATS[name], SAMPLES[name])
        assert [(called, json.loads(arguments)) for called, arguments, _ in found.calls] == list(BOTH)
        assert all(complete for _, _, complete in found.calls)
        assert plain(found.text) == ""

    def test_words_around_them_are_the_answer(self, name: str) -> None:
        form = FORMATS[name]
        if form.shape == "channels":
            before, after = "<|channel|>commentary<|message|>Let me see.<|end|><|start|>assistant", ""
        elif form.is_first_open:
            before, after = "all\nLet me see.\n>>>", ""
        else:
            before, after = ("" if form.may_be_bare and not form.opening else "Let me see.\n"), "\nThat's it."
        found = read(form, before + SAMPLES[name] + after)
        assert [called for called, _, _ in found.calls] == [called for called, _ in BOTH]
        assert found.text.split() == [*(["Let", "me", "see."] if before else []), *(["That's", "it."] if after else [])]

    def test_every_cut_of_a_chunk_gives_the_same(self, name: str) -> None:
        form, text = FORMATS[name], f"{SAMPLES[name]} And < so [ on."
        whole = read(form, text)
        assert read(form, *text) == whole
        for at in range(1, len(text), 7):
            assert read(form, text[:at], text[at:]) == whole

    def test_a_call_that_breaks_off_is_told_as_far_as_it_came(self, name: str) -> None:
        form, text = FORMATS[name], SAMPLES[name]
        whole = read(form, text).calls
        for at in range(len(text)):
            for cut, call in zip(read(form, text[:at]).calls, whole, strict=False):
                assert cut[0] == call[0]
                assert cut[1] == call[1] if cut[2] else call[1].startswith(cut[1])

    def test_arguments_come_as_they_are_written(self, name: str) -> None:
        form, text = FORMATS[name], SAMPLES[name]
        middle = text.index("<b>")
        [(called, arguments, complete)] = read(form, text[:middle]).calls
        assert (called, complete) == ("get_weather", False)
        assert "Gent" in arguments

    def test_one_after_which_nothing_is_told(self, name: str) -> None:
        found = read(FORMATS[name], SAMPLES[name] + " More.", parallel=False)
        [(called, arguments, complete)] = found.calls
        assert (called, json.loads(arguments)) == WEATHER
        assert complete
        assert plain(found.text) == ""


SOUP = st.sampled_from(NAMES).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(
            st.one_of(
                st.sampled_from([piece for piece in re.split(r"(\W+)", SAMPLES[name]) if piece]),
                st.sampled_from([*markers_of(FORMATS[name]), FORMATS[name].opening, SAMPLES[name], SAMPLES[name][:40]]),
                st.sampled_from([*'{}[]()"\\:,<>|=\n', "\\u", "\\ud83d", "```", "get_weather", "null", "-1e", "True"]),
                st.text(max_size=5),
            ),
            max_size=30,
        ),
        st.lists(st.integers(1, 9), min_size=1, max_size=20),
    )
)


@settings(max_examples=600, deadline=None)
@given(SOUP)
@example(("hermes", ["<tool_call>", '{"name": "x", "arguments": {"a": "\\ud83d', "\\ude00\\ud83d\\q", '"}}'], [3]))
def test_any_text_cut_anywhere(soup: tuple[str, list[str], list[int]]) -> None:
    name, pieces, cuts = soup
    text = "".join(pieces).encode("utf-8", "replace").decode()
    whole = read(FORMATS[name], text)
    chunks = []
    at = index = 0
    while at < len(text):
        size = cuts[index % len(cuts)]
        chunks.append(text[at : at + size])
        at, index = at + size, index + 1
    assert read(FORMATS[name], *chunks) == whole
    for _, arguments, complete in whole.calls:
        if complete:
            assert isinstance(json.loads(arguments), dict)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_text_without_a_call_is_text(name: str, text: str) -> None:
    form = FORMATS[name]
    if form.is_first_open and text.startswith("all\n"):
        return
    assert read(form, text) == Read(text, "", ())


class TestWhatIsNoCall:
    @pytest.mark.parametrize(
        "text",
        [
            "Write <tool_call> and then the call.",
            '<tool_call>\n{"name": 3}\n</tool_call>',
            '<tool_call>{"arguments": {}}</tool_call>',
            '{"name": "Maria", "arguments": {"age": 34}}',
            '{"name": "get_weather", "arguments": [1]}',
            "[1, 2, 3] is a list.",
            "```json\n[]\n```",
            "<tool_call>",
            '<tool_call>{"name": "get_w',
        ],
    )
    def test_is_text_again(self, text: str) -> None:
        assert read(HERMES, text) == Read(text, "", ())
        assert read(HERMES, *text) == Read(text, "", ())

    def test_an_answer_in_json_does_not_wait_for_its_end(self) -> None:
        assembly = Assembly(None, HERMES, TOOLS)
        told = assembly.feed('{"name": "Maria", "age": 34, "city": ')
        assert "".join(part.text for part in told if isinstance(part, Part)).startswith('{"name": "Maria", "age": 34')

    def test_what_is_wrong_behind_good_arguments_is_text(self) -> None:
        found = read(HERMES, '<tool_call>{"name": "add", "arguments": {"a": 1}, oops} end')
        assert found.calls == (("add", '{"a": 1}', True),)
        assert found.text == "oops} end"

    def test_what_is_wrong_within_arguments_breaks_the_call_off(self) -> None:
        found = read(HERMES, '<tool_call>{"name": "add", "arguments": {"a": one}} end')
        assert found.calls == (("add", '{"a": ', False),)
        assert found.text == "one}} end"

    def test_nesting_has_a_limit(self) -> None:
        found = read(HERMES, '<tool_call>{"name": "add", "arguments": {"a": ' + "[" * 5000)
        assert not found.calls[0][2]
        assert found.text.count("[") > 4000


class TestHermes:
    def test_an_unknown_name_is_passed_on(self) -> None:
        assert read(HERMES, '<tool_call>{"name": "other", "arguments": {}}</tool_call>').calls == (
            ("other", "{}", True),
        )

    @pytest.mark.parametrize(
        "text",
        [
            '{"name": "add", "arguments": {"a": 1}}',
            '```json\n{"name": "add", "arguments": {"a": 1}}\n```',
            '<tool_call>{"arguments": {"a": 1}, "name": "add"}',
            '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>',
            '<tool_call>[{"type": "function", "function": {"name": "add", "parameters": {"a": 1}}}]</tool_call>',
        ],
    )
    def test_other_ways_to_write_it(self, text: str) -> None:
        [(called, arguments, complete)] = read(HERMES, text).calls
        assert (called, json.loads(arguments), complete) == ("add", {"a": 1}, True)
        assert read(HERMES, *text) == read(HERMES, text)

    def test_llamas_write_both_ways(self) -> None:
        for name in ("llama3", "llama4", "pythonic"):
            for text in (SAMPLES["pythonic"], SAMPLES["generic"], SAMPLES["llama3"].removeprefix("<|python_tag|>")):
                assert len(read(FORMATS[name], text).calls) == 2, (name, text)
                assert read(FORMATS[name], *text) == read(FORMATS[name], text)

    def test_small_faults_are_put_right(self) -> None:
        text = '<tool_call>{"name": "add", "arguments": {"a": "x\ny\\\'z\\d\\ud800", "b": True, "c": None}}</tool_call>'
        [(_, arguments, complete)] = read(HERMES, text).calls
        assert complete
        assert json.loads(arguments) == {"a": "x\ny'z\\d\ufffd", "b": True, "c": None}

    def test_a_thought_goes_before_it(self) -> None:
        thinking = thinking_of("<think></think>")
        found = read(HERMES, "<think>\nA <tool_call> is due.</think>\n\n" + SAMPLES["hermes"], thinking=thinking)
        assert found.thinking == "A <tool_call> is due."
        assert len(found.calls) == 2


class TestValuesWithoutQuotes:
    """Where the frame doesn't say what is text, the tool's schema does."""

    @pytest.mark.parametrize(
        ("key", "written", "value"),
        [
            ("city", "3", "3"),
            ("city", "\n x\n", "\n x\n"),
            ("days", "3", 3),
            ("days", "three", "three"),
            ("units", "['a', \"b\"]", ["a", "b"]),
            ("unknown", "true", True),
            ("unknown", "True", True),
            ("unknown", "so it is", "so it is"),
        ],
    )
    def test_by_schema(self, key: str, written: str, value: object) -> None:
        element = f"<parameter={key}>\n{written}\n</parameter>"
        text = f"<tool_call>\n<function=get_weather>\n{element}\n</function>\n</tool_call>"
        [(_, arguments, complete)] = read(FORMATS["qwen3-coder"], text).calls
        assert complete
        assert json.loads(arguments) == {key: value}

    def test_a_closing_that_was_forgotten(self) -> None:
        text = "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</tool_call> Done."
        assert read(FORMATS["qwen3-coder"], text) == Read("Done.", "", (("add", '{"a": 1}', True),))


class TestHarmony:
    FORM = FORMATS["harmony"]

    def test_thought_words_and_answer(self) -> None:
        text = (
            "<|channel|>analysis<|message|>Hm. <|end|><|start|>assistant<|channel|>commentary<|message|>Wait."
            "<|end|><|start|>assistant<|channel|>final<|message|>It is 3.<|return|>"
        )
        assert read(self.FORM, text) == Read("Wait.It is 3.", "Hm. ", ())
        assert read(self.FORM, *text) == read(self.FORM, text)

    def test_without_tools_the_frames_are_taken_off_as_well(self) -> None:
        text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes"
        assert read(self.FORM, text, tools=None) == Read("Yes", "Hm.", ())

    def test_text_without_a_frame(self) -> None:
        assert read(self.FORM, '{"a": 1} as it is') == Read('{"a": 1} as it is', "", ())


class TestIds:
    def test_are_made_in_the_form_that_the_template_wants(self) -> None:
        for name in NAMES:
            ids = ids_of(FORMATS[name], SAMPLES[name])
            assert len(set(ids)) == 2
            if name == "kimi-k2":
                assert ids == ["functions.get_weather:0", "functions.add:1"]
            elif name.startswith("mistral"):
                assert all(re.fullmatch("[A-Za-z0-9]{9}", each) for each in ids)
            else:
                assert all(re.fullmatch("call_[0-9a-f]{24}", each) for each in ids), name

    def test_the_models_own_is_kept(self) -> None:
        assert ids_of(FORMATS["mistral"], SAMPLES["mistral"])[0] == "abcdefghi"


def test_a_template_without_tools_has_no_format() -> None:
    assert calls_of("{{ messages[0].content }}") is None
    assert calls_of("{% for tool in tools %}{{ tool }}{% endfor %}") == FORMATS["generic"]
    assert len(TOOLS) == len(BOTH) == len({WEATHER[0], ADD[0]})
