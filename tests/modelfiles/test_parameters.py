"""The table: its rows hold together, and nothing outside a row's type and bounds gets through."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.errors import ParameterError
from modelfiles.parameters import (
    DEPRECATED,
    LONGEST_TEXT,
    MOST_VALUES,
    PARAMETERS,
    Spec,
    Value,
    check,
    check_one,
    from_text,
)

NUMERIC = [spec for spec in PARAMETERS.values() if spec.type in (int, float)]
HOSTILE = [-(2**63), -1, 0, 1, 2**31, 2**63, 10**400, 1e308, -1e308, math.nan, math.inf, -math.inf]
NO_NUMBERS = [True, False, "1", "", None, [1], {"a": 1}, b"1", 1j]


def attempt(name: str, value: object) -> Value | ParameterError:
    """The checked value, or the error that refused it."""
    try:
        return check(name, value)
    except ParameterError as fault:
        return fault


@pytest.mark.parametrize("spec", PARAMETERS.values(), ids=PARAMETERS)
def test_rows_hold_together(spec: Spec) -> None:
    assert PARAMETERS[spec.name] is spec
    assert spec.help.endswith(".")
    assert spec.when in ("load", "sample")
    assert spec.type in (bool, int, float, str)
    assert (spec.type in (int, float)) == (spec.minimum is not None) == (spec.maximum is not None)
    assert not spec.repeatable or spec.type is str
    if spec.default is not None and spec.default != ():
        assert check(spec.name, spec.default) == spec.default
        assert type(check(spec.name, spec.default)) is type(spec.default)
    if spec.type is int and spec.name != "seed":  # of a seed, native code takes the low 32 bits
        assert -(2**31) <= spec.minimum <= spec.maximum < 2**31  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("temperature", 0.8),
        ("top_k", 40),
        ("top_p", 0.9),
        ("min_p", 0.0),
        ("typical_p", 1.0),
        ("repeat_last_n", 64),
        ("repeat_penalty", 1.0),
        ("presence_penalty", 0.0),
        ("frequency_penalty", 0.0),
        ("num_predict", -1),
        ("num_keep", 4),
        ("seed", -1),
        ("stop", ()),
        ("num_gpu", -1),
        ("num_thread", 0),
        ("num_batch", 512),
        ("draft_num_predict", 4),
    ],
)
def test_defaults_are_those_of_ollama(name: str, default: object) -> None:
    assert PARAMETERS[name].default == default


def test_deprecated_parameters_have_no_row() -> None:
    assert not DEPRECATED & PARAMETERS.keys()
    with pytest.raises(ParameterError, match="low_vram: no longer has an effect"):
        check("low_vram", True)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("spec", NUMERIC, ids=lambda spec: spec.name)
def test_hostile_numbers_give_a_bounded_value_or_an_error(spec: Spec, value: float) -> None:
    checked = attempt(spec.name, value)
    if isinstance(checked, ParameterError):
        assert checked.name == spec.name
        assert str(checked).startswith(f"{spec.name}: ")
        assert len(str(checked)) < 120
        return
    assert type(checked) is spec.type
    assert checked == value
    assert spec.minimum <= checked <= spec.maximum  # type: ignore[operator]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("spec", NUMERIC, ids=lambda spec: spec.name)
def test_what_is_no_number_is_refused(spec: Spec, value: object) -> None:
    with pytest.raises(ParameterError, match=f"^{spec.name}: must be a (whole )?number, not "):
        check(spec.name, value)


@given(st.sampled_from(NUMERIC), st.one_of(st.integers(), st.floats()))
def test_every_number_is_bounded(spec: Spec, value: float) -> None:
    checked = attempt(spec.name, value)
    if isinstance(checked, ParameterError):
        return
    assert isinstance(checked, int | float)
    assert math.isfinite(checked)
    assert check(spec.name, checked) == checked
    assert from_text(spec.name, repr(checked)) == checked


@pytest.mark.parametrize("spec", NUMERIC, ids=lambda spec: spec.name)
def test_bounds_are_inclusive(spec: Spec) -> None:
    assert spec.minimum is not None
    assert spec.maximum is not None
    assert check(spec.name, spec.minimum) == spec.minimum
    assert check(spec.name, spec.maximum) == spec.maximum
    step = 1 if spec.type is int else 0.001
    for outside in (spec.minimum - step, spec.maximum + step):
        with pytest.raises(ParameterError, match="must be between"):
            check(spec.name, outside)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("tempreature", 1, "unknown parameter; did you mean temperature?"),
        ("zzz", 1, "unknown parameter"),
        ("top_k", 1.5, "must be a whole number, not 1.5"),
        ("temperature", math.nan, "must be a finite number, not nan"),
        ("temperature", True, "must be a number, not true"),
        ("temperature", "hot", 'must be a number, not "hot"'),
        ("temperature", [1, 2], "must be a number, not a list"),
        ("temperature", {}, "must be a number, not a mapping"),
        pytest.param("temperature", 10**5000, "must be between 0.0 and 100.0, not an integer of 16610 bits", id="huge"),
        ("temperature", "x" * 1000, f'must be a number, not "{"x" * 40}..."'),
        ("temperature", "\ud800", 'must be a number, not "\\ud800"'),
        ("use_mmap", 1, "must be true or false, not 1"),
        ("use_mmap", None, "must be true or false, not null"),
        ("flash_attn", True, "must be a text, not true"),
        ("tensor_split", "3,-1", 'must be auto, or shares of 0 or more such as 3,1, not "3,-1"'),
        ("tensor_split", "1e9,1", 'must be auto, or shares of 0 or more such as 3,1, not "1e9,1"'),
        (
            "device",
            "CUDA0;1",
            'must be auto, cpu, a backend such as cuda, or devices such as CUDA0,CUDA1, not "CUDA0;1"',
        ),
        ("cache_type_k", "q3", 'must be one of auto, f16, bf16, f32, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl, not "q3"'),
        ("main_gpu", -1, "must be between 0 and 1023, not -1"),
        ("num_gpu", -2, "must be between -1 and 2147483647, not -2"),
        ("kv_cache_type", "q3", 'must be one of f16, bf16, f32, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl, not "q3"'),
        ("stop", 1, "must be a text or a list of texts, not 1"),
        ("stop", ["a", 1], "must be a text, not 1"),
        ("stop", [""], "must not be empty"),
        ("stop", ["a\0"], "must not contain NUL characters"),
        ("stop", "x" * (LONGEST_TEXT + 1), "must be at most 4096 characters, not 4097"),
        ("stop", ["x"] * (MOST_VALUES + 1), "must hold at most 256 values, not 257"),
    ],
)
def test_refusals_name_the_field_and_the_reason(name: str, value: object, reason: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check(name, value)
    assert (caught.value.name, caught.value.reason) == (name, reason)
    assert str(caught.value) == f"{name}: {reason}"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "value", "checked"),
    [
        ("temperature", 1, 1.0),
        ("num_ctx", 4096.0, 4096),
        ("use_mmap", False, False),
        ("flash_attn", "ON", "on"),
        ("device", "CUDA0, cuda1", "CUDA0, cuda1"),
        ("tensor_split", "3, .5", "3, .5"),
        ("tensor_split", "AUTO", "AUTO"),
        ("stop", "a", ("a",)),
        ("stop", ["a", "b"], ("a", "b")),
        ("stop", (), ()),
    ],
)
def test_accepted(name: str, value: object, checked: object) -> None:
    assert check(name, value) == checked
    assert type(check(name, value)) is type(checked)


def test_one_value_of_a_repeatable_parameter() -> None:
    assert check_one("stop", "a") == "a"
    with pytest.raises(ParameterError, match="stop: must be a text, not a list"):
        check_one("stop", ["a"])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("top_k", "+5", 5),
        ("top_k", "1e+06", 1_000_000),
        ("seed", "9.007199254740991e+15", 2**53 - 1),
        ("temperature", "1", 1.0),
        ("temperature", "7.", 7.0),
        ("ignore_eos", "TRUE", True),
        ("ignore_eos", "0", False),
        ("stop", " a ", " a "),
    ],
)
def test_from_text(name: str, text: str, value: object) -> None:
    assert from_text(name, text) == value
    assert type(from_text(name, text)) is type(value)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "0x10", "1_0", "\u0661", "1e", "inf", "nan", "--1", "1,5", "9" * 200])
def test_from_text_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(ParameterError, match="temperature: must be a number"):
        from_text("temperature", text)
