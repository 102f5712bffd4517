"""The options that cross the pipe are those of the one table: same names, same defaults."""

from __future__ import annotations

import msgspec
import pytest

from modelfiles.parameters import PARAMETERS, check
from runner.protocol.options import LoadOptions, SampleOptions

# Given by name, and sent as the files that it stands for.
RESOLVED = {"draft_model"}
# Not a parameter that a Modelfile may set: OpenAI's field, and what the scheduler decides.
SAMPLE_ONLY = {"logit_bias"}
LOAD_ONLY = {"num_parallel", "cells", "wide_sequences", "wide_cells"}


def fields(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(struct)}


def names(when: str) -> set[str]:
    return {name for name, spec in PARAMETERS.items() if spec.when == when}


def test_every_sampling_parameter_is_sent_and_no_other() -> None:
    assert set(fields(SampleOptions)) - SAMPLE_ONLY == names("sample")


def test_every_loading_parameter_is_sent_and_no_other() -> None:
    assert set(fields(LoadOptions)) - LOAD_ONLY == names("load") - RESOLVED


@pytest.mark.parametrize("struct", [SampleOptions, LoadOptions])
def test_defaults_are_the_tables(struct: type[msgspec.Struct]) -> None:
    for name, field in fields(struct).items():
        spec = PARAMETERS.get(name)
        if spec is None:
            continue
        if spec.default is None:  # the scheduler decides, so it must say so
            assert field.required, name
            continue
        assert field.default == spec.default, name
        assert type(field.default) is type(spec.default), name


def test_what_the_scheduler_decides_has_no_default() -> None:
    required = {name for name, field in fields(LoadOptions).items() if field.required}
    assert required == {"num_ctx", "num_parallel"}
    assert LoadOptions(num_ctx=1, num_parallel=1).cells == 0


@pytest.mark.parametrize("struct", [SampleOptions, LoadOptions])
def test_checked_values_fit_the_types(struct: type[msgspec.Struct]) -> None:
    """What `parameters.check` lets through, at both ends of its range, crosses the pipe unchanged."""
    base = {} if struct is SampleOptions else {"num_ctx": 1, "num_parallel": 1}
    for name in fields(struct):
        spec = PARAMETERS.get(name)
        if spec is None:
            continue
        values: list[object] = [spec.minimum, spec.maximum, *spec.choices]
        if spec.type is bool:
            values = [True, False]
        if spec.repeatable:
            values = [["a", "b"], []]
        for value in values:
            if value is None:
                continue
            options = struct(**base | {name: check(name, value)})
            packed = msgspec.msgpack.encode(options)
            assert msgspec.msgpack.decode(packed, type=struct) == options, (name, value)
