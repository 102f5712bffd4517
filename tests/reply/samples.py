"""What models write when they call tools, one sample for each format: as their templates render it, or as they were
taught to. Every sample is two calls (or one, where the format knows no more)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.conversation import ToolSpec
from runner.formats import GENERIC, CallFormat, Thinking
from runner.formats.calls import CALLS
from runner.reply.assemble import Assembly
from runner.reply.parts import AnyPart, Call, Part

FORMATS = {form.name: form for _, form in CALLS} | {"generic": GENERIC}
TOOLS = (
    ToolSpec(
        "get_weather",
        "Weather of a city",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "units": {"type": "array", "items": {"type": "string"}},
            },
        },
    ),
    ToolSpec("add", "Adds", {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}),
)
WEATHER = ("get_weather", {"city": 'Gent "x" <b>\n{é', "days": 3, "units": ["a", "b"]})
ADD = ("add", {"a": 1.5, "b": -2})
BOTH = (WEATHER, ADD)

_CITY = r'{"city": "Gent \"x\" <b>\n{é", "days": 3, "units": ["a", "b"]}'
_SUM = '{"a": 1.5, "b": -2}'
_NAMED = (f'{{"name": "get_weather", "arguments": {_CITY}}}', f'{{"name": "add", "arguments": {_SUM}}}')
_PARAMETERS = tuple(each.replace('"arguments"', '"parameters"') for each in _NAMED)
_TOOL_NAMED = tuple(each.replace('"name"', '"tool_name"') for each in _PARAMETERS)
_LIST = f"[{', '.join(_NAMED)}]"
_PYTHON = r"""[get_weather(city='Gent "x" <b>\n{é', days=3, units=["a", 'b']), add(1.5, b=-2)]"""
_PLAIN = 'Gent "x" <b>\n{é'


def _tagged(call: str, name_end: str, key: str, key_end: str, close: str, pad: str = "", quote: str = "") -> str:
    """Both calls in elements; `call` and the rest as the format writes them."""

    def element(name: str, value: str) -> str:
        return f"{key}{name}{key_end}{pad}{value}{pad}{close}\n"

    one = element("city", quote + _PLAIN + quote) + element("days", "3") + element("units", '["a", "b"]')
    other = element("a", "1.5") + element("b", "-2")
    return call.format(f"get_weather{name_end}{one}") + call.format(f"add{name_end}{other}")


SAMPLES: dict[str, str] = {
    "harmony": (
        f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{_CITY}<|call|>"
        f"<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{_SUM}<|call|>"
    ),
    "deepseek-v4": (
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n'
        f'<｜DSML｜parameter name="city" string="true">{_PLAIN}</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="units" string="false">["a", "b"]</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        '<｜DSML｜invoke name="add">\n<｜DSML｜parameter name="a" string="false">1.5</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="b" string="false">-2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>'
    ),
    "deepseek-v3": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{_CITY}\n```"
        f"<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{_SUM}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "deepseek-v3.1": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{_CITY}<｜tool▁call▁end｜>"
        f"<｜tool▁call▁begin｜>add<｜tool▁sep｜>{_SUM}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "kimi-k2": (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{_CITY}"
        f"<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>{_SUM}<|tool_call_end|>"
        "<|tool_calls_section_end|>"
    ),
    "solar": (
        f"<|tool_calls|><|tool_call:begin|>abc<|tool_call:name|>get_weather<|tool_call:args|>{_CITY}<|tool_call:end|>"
        f"<|tool_call:begin|>def<|tool_call:name|>add<|tool_call:args|>{_SUM}<|tool_call:end|>"
    ),
    "mistral": f"[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{_CITY}[TOOL_CALLS]add[ARGS]{_SUM}",
    "mistral-list": f"[TOOL_CALLS]{_LIST}",
    "seed": _tagged(
        "<seed:tool_call>\n<function={}</function>\n</seed:tool_call>\n", ">\n", "<parameter=", ">", "</parameter>"
    ),
    "qwen3-coder": _tagged(
        "<tool_call>\n<function={}</function>\n</tool_call>\n", ">\n", "<parameter=", ">", "</parameter>", "\n"
    ),
    "minimax-m2": (
        "<minimax:tool_call>\n"
        + _tagged('<invoke name="{}</invoke>\n', '">\n', '<parameter name="', '">', "</parameter>")
        + "</minimax:tool_call>"
    ),
    "minicpm5": _tagged('<function name="{}</function>', '">', '<param name="', '">', "</param>"),
    "glm": _tagged("<tool_call>{}</tool_call>\n", "\n", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>"),
    "hunyuan": _tagged(
        "<tool_call:opensource>{}</tool_call:opensource>\n",
        "<tool_sep:opensource>\n",
        "<arg_key:opensource>",
        "</arg_key:opensource>\n<arg_value:opensource>",
        "</arg_value:opensource>",
    ),
    "gemma4": (
        f'<|tool_call>call:get_weather{{city:<|"|>{_PLAIN}<|"|>,days:3,units:[<|"|>a<|"|>,<|"|>b<|"|>]}}<tool_call|>'
        "<|tool_call>call:add{a:1.5,b:-2}<tool_call|>"
    ),
    "function-gemma": (
        f"<start_function_call>call:get_weather{{city:<escape>{_PLAIN}<escape>,days:3,"
        'units:[<escape>a<escape>,"b"]}<end_function_call>'
        "<start_function_call>call:add{a:1.5,b:-2}<end_function_call>"
    ),
    "functionary-v3.2": f"get_weather\n{_CITY}>>>add\n{_SUM}",
    "functionary-v3.1": f"<function=get_weather>{_CITY}</function><function=add>{_SUM}</function>",
    "lfm2": f"<|tool_call_start|>{_PYTHON}<|tool_call_end|>",
    "llama4": f"<|python_start|>{_PYTHON}<|python_end|>",
    "pythonic": _PYTHON,
    "command-r7b": f"<|START_ACTION|>[\n    {', '.join(_TOOL_NAMED)}\n]<|END_ACTION|>",
    "command-r": f"Action:\n```json\n[\n    {', '.join(_TOOL_NAMED)}\n]\n```",
    "apertus": f'<|tools_prefix|>[{{"get_weather": {_CITY}}}, {{"add": {_SUM}}}]<|tools_suffix|>',
    "nemotron-v2": f"<TOOLCALL>{_LIST}</TOOLCALL>",
    "gigachat3.1": f"<|function_call|>{_NAMED[0]}<|function_call|>{_NAMED[1]}",
    "gigachat3": f"<|message_sep|>\n\nfunction call<|role_sep|>\n{_NAMED[0]}\nfunction call<|role_sep|>\n{_NAMED[1]}",
    "apriel": f"<tool_calls>{_LIST}</tool_calls>",
    "hermes": f"<tool_call>\n{_NAMED[0]}\n</tool_call>\n<tool_call>\n{_NAMED[1]}\n</tool_call>",
    "minimax-m1": f"<tool_calls>\n{_NAMED[0]}\n{_NAMED[1]}\n</tool_calls>",
    "granite": f"<|tool_call|>{_LIST}",
    "llama3": f"<|python_tag|>{_PARAMETERS[0]}; {_PARAMETERS[1]}",
    "generic": "\n".join(_NAMED),
}


@dataclass(frozen=True)
class Read:
    """An answer taken apart, however it came."""

    text: str
    thinking: str
    calls: tuple[tuple[str, str, bool], ...]  # name, arguments, whether complete


def parts_of(
    form: CallFormat,
    pieces: Sequence[str],
    tools: tuple[ToolSpec, ...] | None = TOOLS,
    thinking: Thinking | None = None,
    **more: Any,
) -> list[AnyPart]:
    assembly = Assembly(thinking, form, tools, **more)
    return [*(part for piece in pieces for part in assembly.feed(piece)), *assembly.finish()]


def read(form: CallFormat, *pieces: str, **more: Any) -> Read:
    text, thinking = "", ""
    calls: list[tuple[str, str, bool]] = []
    for part in parts_of(form, pieces, **more):
        if isinstance(part, Part):
            text += part.text if part.kind == "answer" else ""
            thinking += part.text if part.kind == "thinking" else ""
        elif part.index == len(calls):
            assert part.name
            assert part.id
            calls.append((part.name, part.arguments, part.complete))
        else:
            name, arguments, complete = calls[-1]
            assert not complete
            assert part.index == len(calls) - 1
            assert not part.name
            calls[-1] = (name, arguments + part.arguments, part.complete)
    return Read(text, thinking, tuple(calls))


def ids_of(form: CallFormat, text: str) -> list[str]:
    return [part.id for part in parts_of(form, [text]) if isinstance(part, Call) and part.id]
