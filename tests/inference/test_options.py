"""Options: one merge order, one table, and errors that name the option."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.parameters import PARAMETERS
from runner.errors import InvalidRequest
from runner.inference import options
from runner.protocol.options import LoadOptions, SampleOptions


def test_defaults_are_the_tables() -> None:
    made = options.sample_options({}, {})
    for name, spec in PARAMETERS.items():
        if spec.when == "sample" and name in SampleOptions.__struct_fields__:
            assert getattr(made, name) == spec.default, name
    loading = options.load_options({}, num_ctx=512, num_parallel=3)
    assert (loading.num_ctx, loading.num_parallel) == (512, 3)
    for name, spec in PARAMETERS.items():
        if spec.when == "load" and name in LoadOptions.__struct_fields__ and name != "num_ctx":
            assert getattr(loading, name) == spec.default, name


def test_a_main_gpu_alone_takes_the_whole_model() -> None:
    def mode(**given: int | str) -> str:
        return options.load_options(given, num_ctx=512, num_parallel=1).split_mode

    assert mode(main_gpu=1) == "none"
    assert mode(main_gpu=0) == "layer"  # clients send the default
    assert mode(main_gpu=1, split_mode="layer") == mode(main_gpu=1, tensor_split="3,1") == "layer"


def test_every_sampling_field_comes_from_the_table() -> None:
    unknown = set(SampleOptions.__struct_fields__) - set(PARAMETERS) - {"logit_bias"}
    assert unknown == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", -1),
        ("temperature", math.nan),
        ("top_k", 2**63),
        ("top_k", 1.5),
        ("num_ctx", True),
        ("num_ctx", 0),
        ("stop", 7),
        ("seed", "x"),
        ("num_predict", 1e308),
        ("use_mmap", "yes"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        options.checked({name: value})
    assert caught.value.field == f"options.{name}"
    assert name in caught.value.message


def test_unknown_names_and_nulls_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert options.checked({"temprature": 1, "top_k": None, "top_p": 0.5}) == {"top_p": 0.5}
    assert "temprature" in caplog.text


def test_the_authors_defaults_by_our_names() -> None:
    found = options.recommended({"temp": 0.6, "penalty_repeat": 1.05, "top_k": 20, "sequence": "kpt", "top_p": 7.0})
    assert found == {"temperature": 0.6, "repeat_penalty": 1.05, "top_k": 20}


def test_a_negative_length_means_no_limit() -> None:
    assert options.sample_options({"num_predict": -2}, {}).num_predict == -1


def test_load_options_that_were_named() -> None:
    assert options.named_for_loading({"num_ctx": 1, "temperature": 0, "num_gpu": 0}) == {"num_ctx", "num_gpu"}


class TestLogitBias:
    def test_keys_may_be_texts(self) -> None:
        assert options.logit_bias({"logit_bias": {"5": 1, 7: -100.0}}) == {5: 1.0, 7: -100.0}
        assert options.logit_bias({"logit_bias": None}) == options.logit_bias({}) == {}

    @pytest.mark.parametrize(
        "bias",
        [
            [1],
            {"x": 1},
            {"-1": 1},
            {"5": 101},
            {"5": math.nan},
            {"5": True},
            {"5": "1"},
            {"5" * 40: 1},
            dict.fromkeys(range(2000), 1),
        ],
    )
    def test_nonsense(self, bias: object) -> None:
        with pytest.raises(InvalidRequest) as caught:
            options.logit_bias({"logit_bias": bias})
        assert caught.value.field == "options.logit_bias"


_absurd = st.one_of(
    st.sampled_from([-(2**63), -1, 0, 1, 2**31, 2**63, 1e308, math.nan, math.inf, -math.inf, True, "1", "", b"x"]),
    st.none(),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from([*PARAMETERS, "nonsense"]), _absurd, max_size=4))
def test_absurd_values_are_options_or_errors(given: dict[str, object]) -> None:
    named: str | None = None
    try:
        checked = options.checked(given)
        options.sample_options(checked, {})
        options.load_options(checked, num_ctx=512, num_parallel=0)
    except InvalidRequest as error:
        named = error.field
    assert named is None or named.removeprefix("options.") in given
