"""Modelfiles as values: what instructions refuse, and what they say taken together."""

import dataclasses
from collections.abc import Callable

import pytest

from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.instructions import (
    Adapter,
    Draft,
    From,
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


def test_nothing_said() -> None:
    empty = Modelfile(())
    assert empty.source is None
    assert empty.sources == empty.adapters == empty.licenses == empty.drafts == ()
    assert empty.messages == ()
    assert empty.parameters == {}
    for value in (empty.template, empty.system, empty.requires, empty.draft, empty.renderer, empty.parser):
        assert value is None


def test_everything_said() -> None:
    modelfile = Modelfile(
        (
            From("./weights.gguf"),
            From("./mmproj.gguf"),
            Adapter("a.gguf"),
            Adapter("b.gguf"),
            Draft("small"),
            Draft("small-2"),
            Template("one"),
            Template("two"),
            System("one"),
            System(""),
            Renderer("qwen3-coder"),
            Parser("qwen3"),
            Requires("v0.14.0"),
            License("MIT"),
            License("Apache-2.0"),
            Message("user", "hi"),
            Message("assistant", "hello"),
        )
    )
    assert modelfile.source == "./weights.gguf"
    assert modelfile.sources == ("./weights.gguf", "./mmproj.gguf")
    assert modelfile.adapters == ("a.gguf", "b.gguf")
    assert modelfile.draft == "small"
    assert modelfile.drafts == ("small", "small-2")
    assert modelfile.template == "two"
    assert modelfile.system == ""
    assert modelfile.renderer == "qwen3-coder"
    assert modelfile.parser == "qwen3"
    assert modelfile.requires == "0.14.0"
    assert modelfile.licenses == ("MIT", "Apache-2.0")
    assert modelfile.messages == (Message("user", "hi"), Message("assistant", "hello"))


def test_parameters_are_typed_the_last_counts_and_stops_add_up() -> None:
    modelfile = Modelfile(
        (
            Parameter("temperature", 1),
            Parameter("stop", "b"),
            Parameter("temperature", 0),
            Parameter("stop", "a"),
            Parameter("numa", True),
            Parameter("use_mmap", False),
        )
    )
    assert modelfile.parameters == {"temperature": 0.0, "stop": ("b", "a"), "use_mmap": False}
    assert type(modelfile.parameters["temperature"]) is float


def test_values_are_normalised_once() -> None:
    assert Parameter("temperature", 1) == Parameter("temperature", 1.0)
    assert Requires("v1.2.3") == Requires("1.2.3")
    assert Parameter("numa", True).value == "True"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: From(""), "FROM needs a value"),
        (lambda: From(" \t"), "FROM needs a value"),
        (lambda: Adapter("a\nb"), "ADAPTER takes one line"),
        (lambda: Draft("a\rb"), "DRAFT takes one line"),
        (lambda: Renderer(""), "RENDERER needs a value"),
        (lambda: Parser(""), "PARSER needs a value"),
        (lambda: Message("tool", "x"), "role must be one of system, user, assistant, not 'tool'"),
        (lambda: Message("user", "\0"), "MESSAGE must not contain NUL"),
        (lambda: Template("\0"), "TEMPLATE must not contain NUL"),
        (lambda: License("\udfff"), "LICENSE contains half of a surrogate pair"),
        (lambda: System("\ud800"), "SYSTEM contains half of a surrogate pair"),
        (lambda: Requires("1.2-rc"), "REQUIRES takes a version"),
        (lambda: Requires("vv1"), "REQUIRES takes a version"),
    ],
)
def test_what_no_instruction_may_hold(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ModelfileError, match=message) as caught:
        build()
    assert (caught.value.line, caught.value.column) == (0, 0)
    assert str(caught.value) == caught.value.message


def test_a_parameter_outside_the_table_is_no_parameter() -> None:
    with pytest.raises(ParameterError, match="repetition_penalty: unknown parameter"):
        Parameter("repetition_penalty", 1.0)
    with pytest.raises(ParameterError, match="top_k: must be a whole number"):
        Parameter("top_k", "many")


def test_instructions_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        From("m").source = "n"  # type: ignore[misc]
