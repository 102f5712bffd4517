"""The renderer: `parse(render(m)) == m`, or an error; never another Modelfile."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelfiles.errors import ModelfileError
from modelfiles.instructions import (
    ROLES,
    Adapter,
    Draft,
    From,
    Instruction,
    License,
    Message,
    Modelfile,
    Parameter,
    Parser,
    Renderer,
    Requires,
    System,
    Template,
)
from modelfiles.parameters import DEPRECATED, PARAMETERS, Spec
from modelfiles.parse import parse
from modelfiles.render import render

# Mostly what the grammar is made of, so that chance finds its corners.
texts = st.text(
    st.one_of(st.sampled_from('" \t\n\r#a'), st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
lines = st.text(
    st.one_of(st.sampled_from('" \t#a/'), st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"))
)
words = lines.filter(str.strip)


def values(spec: Spec) -> st.SearchStrategy[Any]:
    """Every value that a row of the table allows in one PARAMETER line."""
    if spec.type is bool:
        return st.booleans()
    if spec.type is str:
        if spec.form:
            return st.from_regex(spec.form[0], fullmatch=True)
        return st.sampled_from(spec.choices) if spec.choices else texts.filter(bool)
    assert spec.minimum is not None
    assert spec.maximum is not None
    if spec.type is int:
        return st.integers(int(spec.minimum), int(spec.maximum))
    return st.floats(spec.minimum, spec.maximum)


parameters = st.one_of(
    *(st.builds(Parameter, st.just(name), values(spec)) for name, spec in PARAMETERS.items()),
    st.builds(Parameter, st.sampled_from(sorted(DEPRECATED)), texts),
)
instructions: st.SearchStrategy[Instruction] = st.one_of(
    st.builds(From, words),
    parameters,
    st.builds(Template, texts),
    st.builds(System, texts),
    st.builds(Adapter, words),
    st.builds(License, texts),
    st.builds(Message, st.sampled_from(ROLES), texts),
    st.builds(Requires, st.from_regex(r"v?[1-9]{1,3}\.0\.[1-9](-rc[0-9])?", fullmatch=True)),
    st.builds(Draft, words),
    st.builds(Renderer, words),
    st.builds(Parser, words),
)


def impossible(instruction: Instruction) -> bool:
    """True when a value has a line, not its last, that ends with three quotes."""
    return any(re.search(r'"""\s*[\r\n]', str(getattr(instruction, name))) for name in instruction.__dataclass_fields__)


@settings(max_examples=300)
@given(st.lists(instructions, max_size=6))
@example([From("m"), System('"')])
@example([From("m"), System('""\n"')])
@example([From("m"), Parameter("stop", '"""')])
@example([From('"m"'), Template('"""\nx')])
def test_round_trip(listed: list[Instruction]) -> None:
    modelfile = Modelfile(tuple(listed))
    try:
        text = render(modelfile)
    except ModelfileError:
        assert modelfile.source is None or any(map(impossible, listed))
        return
    assert parse(text) == modelfile
    assert parse(text.encode()) == modelfile
    assert render(parse(text)) == text


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (From("./m.gguf"), "FROM ./m.gguf"),
        (From(" m"), 'FROM """ m"""'),
        (Parameter("temperature", 0), "PARAMETER temperature 0.0"),
        (Parameter("num_ctx", 4096), "PARAMETER num_ctx 4096"),
        (Parameter("use_mmap", False), "PARAMETER use_mmap false"),
        (Parameter("flash_attn", "on"), "PARAMETER flash_attn on"),
        (Parameter("stop", "<|im_end|>"), 'PARAMETER stop "<|im_end|>"'),
        (Parameter("stop", '"'), 'PARAMETER stop """""""'),
        (Parameter("numa", "true"), "PARAMETER numa true"),
        (Template("{{ .Prompt }}"), 'TEMPLATE """{{ .Prompt }}"""'),
        (License("MIT"), 'LICENSE """MIT"""'),
        (System("Be kind."), "SYSTEM Be kind."),
        (System("two\nlines"), 'SYSTEM """two\nlines"""'),
        (System(""), 'SYSTEM """"""'),
        (Message("user", "hi"), "MESSAGE user hi"),
        (Requires("v1.2"), "REQUIRES 1.2"),
    ],
)
def test_form(instruction: Instruction, text: str) -> None:
    assert render(Modelfile((From("m"), instruction))) == f"FROM m\n{text}\n"


@pytest.mark.parametrize("text", ['"""\n', 'a"""  \nb', '"""\r"""'])
def test_three_quotes_at_the_end_of_a_line_are_refused(text: str) -> None:
    with pytest.raises(ModelfileError, match="SYSTEM has a line that ends with"):
        render(Modelfile((From("m"), System(text))))


def test_three_quotes_elsewhere_are_written() -> None:
    modelfile = Modelfile((From("m"), System('def f():\n    """doc""" # x\n"""')))
    assert parse(render(modelfile)) == modelfile


def test_without_from_there_is_no_text() -> None:
    with pytest.raises(ModelfileError, match="no FROM"):
        render(Modelfile((System("hi"),)))
