"""How model families write a tool call, as plain data.

`reply` takes calls apart by it, the engine makes the grammar of a call that is demanded. What a row means is said at
CallFormat; how a template is told from another stands in the table itself.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Shape = Literal["json", "named", "tagged", "python", "braces", "channels"]


class CallFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One way to write calls, by its texts. `opening` and `closing` frame a call or a list of them; `section` are texts
    that stand around all calls and say nothing more.

    - json: objects, or a list of them, with a name and arguments. Without a `name_key`, the only key is the name. An
      object may stand there without its opening where an answer begins (`may_be_bare`).
    - named: a heading up to `name_end`, then the arguments as JSON. In the heading the name follows the last
      `before_name`, and ends at `after_name`.
    - tagged: a heading as above, then an element for each argument: `key_open` KEY `key_end` (attributes `value_open`)
      VALUE `value_close`. What is text by the tool's schema stands as it is, all else as JSON.
    - python: a list of function calls with keyword arguments.
    - braces: a heading as above, then arguments within braces, whose keys have no quotes and texts `quote` around them.
    - channels: harmony. Every message names its channel, and a call its recipient; thoughts are a channel as well.
    """

    name: str
    shape: Shape
    opening: str = ""
    closing: str = ""
    section: tuple[str, ...] = ()
    is_each: bool = False  # the section stands around each call
    is_padded: bool = False  # line breaks within a frame belong to it: around objects, or around values of elements
    # json
    is_list: bool = False  # several calls stand in a list, and so does one
    name_key: str = "name"
    arguments_key: str = "arguments"
    may_be_bare: bool = False
    separator: str = ""  # between objects that stand in no list
    # named, tagged, braces
    lead: str = ""  # what the heading begins with
    before_name: str = ""
    after_name: str = ""
    name_end: str = ""
    is_first_open: bool = False  # the prompt ends with the opening of a first message
    plain: str = ""  # the recipient of a message that is no call
    # tagged
    key_open: str = ""
    key_end: str = ""
    value_open: str = ""
    value_close: str = ""
    has_types: bool = False  # an element says whether its value is a text
    has_cdata: bool = False  # a text that would disturb the frame stands within CDATA
    # braces
    quote: str = ""
    # Ids: none of the model's, nine letters and digits, or the heading itself.
    ids: Literal["", "nine", "heading"] = ""


GENERIC = CallFormat(name="generic", shape="json", may_be_bare=True)
"""Where a template offers tools in no known way: an answer that is a JSON object naming an offered tool."""

_HERMES = CallFormat(
    name="hermes", shape="json", opening="<tool_call>", closing="</tool_call>", is_padded=True, may_be_bare=True
)
_LLAMA = CallFormat(
    name="llama3", shape="json", opening="<|python_tag|>", arguments_key="parameters", may_be_bare=True, separator="; "
)
_LFM = CallFormat(name="lfm2", shape="python", opening="<|tool_call_start|>", closing="<|tool_call_end|>")
_FUNCTION_TAGS = {
    "shape": "tagged",
    "opening": "<function=",
    "name_end": ">",
    "key_open": "<parameter=",
    "key_end": ">",
    "value_close": "</parameter>",
    "closing": "</function>",
}
_INVOKE = {
    "shape": "tagged",
    "name_end": '">',
    "key_end": '"',
    "value_open": ">",
}


def _tagged(name: str, frame: dict[str, str], **more: object) -> CallFormat:
    return msgspec.convert(frame | {"name": name} | more, CallFormat)


def _arguments(name: str, suffix: str = "", **more: object) -> CallFormat:
    """GLM's: the name stands right behind the opening, keys and values in elements of their own."""
    return _tagged(
        name,
        {
            "shape": "tagged",
            "opening": f"<tool_call{suffix}>",
            "closing": f"</tool_call{suffix}>",
            "key_open": f"<arg_key{suffix}>",
            "key_end": f"</arg_key{suffix}>",
            "value_open": f"<arg_value{suffix}>",
            "value_close": f"</arg_value{suffix}>",
        },
        **more,
    )


# In the order they are looked for: a template belongs to the first row all of whose texts it holds.
CALLS: tuple[tuple[tuple[str, ...], CallFormat], ...] = (
    (("<|channel|>", "to=functions."), CallFormat(name="harmony", shape="channels")),
    (("to=", "<|channel|>commentary", "functions."), CallFormat(name="harmony", shape="channels")),
    # DeepSeek
    (
        ("｜DSML｜", "tool_calls", "parameter"),
        _tagged(
            "deepseek-v4",
            _INVOKE,
            opening='<｜DSML｜invoke name="',
            closing="</｜DSML｜invoke>",
            key_open='<｜DSML｜parameter name="',
            value_close="</｜DSML｜parameter>",
            has_types=True,
            section=(
                "<｜DSML｜tool_calls>",
                "</｜DSML｜tool_calls>",
                "<｜DSML｜function_calls>",
                "</｜DSML｜function_calls>",
            ),
        ),
    ),
    (
        ("<｜tool▁call▁begin｜>", "```json"),
        CallFormat(
            name="deepseek-v3",
            shape="named",
            opening="<｜tool▁call▁begin｜>",
            lead="function",
            before_name="<｜tool▁sep｜>",
            name_end="\n```json\n",
            closing="\n```<｜tool▁call▁end｜>",
            section=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        ),
    ),
    (
        ("<｜tool▁call▁begin｜>",),
        CallFormat(
            name="deepseek-v3.1",
            shape="named",
            opening="<｜tool▁call▁begin｜>",
            name_end="<｜tool▁sep｜>",
            closing="<｜tool▁call▁end｜>",
            section=("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        ),
    ),
    # Kimi
    (
        ("<|tool_call_argument_begin|>",),
        CallFormat(
            name="kimi-k2",
            shape="named",
            opening="<|tool_call_begin|>",
            before_name="functions.",
            after_name=":",
            name_end="<|tool_call_argument_begin|>",
            closing="<|tool_call_end|>",
            section=("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
            ids="heading",
        ),
    ),
    (
        ("<|tool_call:begin|>", "<|tool_call:args|>"),
        CallFormat(
            name="solar",
            shape="named",
            opening="<|tool_call:begin|>",
            lead="call",
            before_name="<|tool_call:name|>",
            name_end="<|tool_call:args|>",
            closing="<|tool_call:end|>",
            section=("<|tool_calls|>",),
        ),
    ),
    # Mistral
    (
        ("[TOOL_CALLS]", "[ARGS]"),
        CallFormat(
            name="mistral",
            shape="named",
            opening="[TOOL_CALLS]",
            after_name="[CALL_ID]",
            name_end="[ARGS]",
            ids="nine",
        ),
    ),
    (
        ("[TOOL_CALLS]",),
        CallFormat(name="mistral-list", shape="json", opening="[TOOL_CALLS]", is_list=True, ids="nine"),
    ),
    # Functions and their arguments as elements
    (("]<]minimax[>[",), GENERIC),  # elements within elements, for values as well: not read
    (
        ("<seed:tool_call>",),
        _tagged("seed", _FUNCTION_TAGS, section=("<seed:tool_call>", "</seed:tool_call>"), is_each=True),
    ),
    (
        ("<tool_call>", "<function=", "<parameter="),
        _tagged("qwen3-coder", _FUNCTION_TAGS, section=("<tool_call>", "</tool_call>"), is_each=True, is_padded=True),
    ),
    (
        ("<minimax:tool_call>", "<invoke name="),
        _tagged(
            "minimax-m2",
            _INVOKE,
            opening='<invoke name="',
            closing="</invoke>",
            key_open='<parameter name="',
            value_close="</parameter>",
            section=("<minimax:tool_call>", "</minimax:tool_call>"),
        ),
    ),
    (
        ("<function name=", "<param name="),
        _tagged(
            "minicpm5",
            _INVOKE,
            opening='<function name="',
            closing="</function>",
            key_open='<param name="',
            value_close="</param>",
            has_cdata=True,
        ),
    ),
    (("<arg_key>", "<arg_value>"), _arguments("glm")),
    (
        ("<tool_sep", "<arg_key", ":opensource"),
        _arguments(
            "hunyuan",
            ":opensource",
            name_end="<tool_sep:opensource>",
            section=("<tool_calls:opensource>", "</tool_calls:opensource>"),
        ),
    ),
    # Gemma
    (
        ("<|tool_call>call:",),
        CallFormat(
            name="gemma4",
            shape="braces",
            opening="<|tool_call>call:",
            name_end="{",
            quote='<|"|>',
            closing="<tool_call|>",
        ),
    ),
    (
        ("<start_function_call>",),
        CallFormat(
            name="function-gemma",
            shape="braces",
            opening="<start_function_call>call:",
            name_end="{",
            quote="<escape>",
            closing="<end_function_call>",
        ),
    ),
    # Functionary
    (
        (">>>${recipient}",),
        CallFormat(
            name="functionary-v3.2", shape="named", opening=">>>", name_end="\n", is_first_open=True, plain="all"
        ),
    ),
    (
        ("<function=", "</function>"),
        CallFormat(name="functionary-v3.1", shape="named", opening="<function=", name_end=">", closing="</function>"),
    ),
    # Lists of Python's calls
    (("<|tool_call_start|>",), _LFM),
    (("List of tools: ",), _LFM),
    (
        ("<|python_start|>",),
        CallFormat(
            name="llama4", shape="python", opening="<|python_start|>", closing="<|python_end|>", may_be_bare=True
        ),
    ),
    (("[func_name1(",), CallFormat(name="pythonic", shape="python", may_be_bare=True)),
    # JSON
    (
        ("<|START_ACTION|>",),
        CallFormat(
            name="command-r7b",
            shape="json",
            opening="<|START_ACTION|>",
            closing="<|END_ACTION|>",
            is_list=True,
            name_key="tool_name",
            arguments_key="parameters",
        ),
    ),
    (
        ("Action:", "```json", "tool_name"),
        CallFormat(
            name="command-r",
            shape="json",
            opening="Action:\n```json",
            closing="```",
            is_list=True,
            name_key="tool_name",
            arguments_key="parameters",
        ),
    ),
    (
        ("<|tools_prefix|>",),
        CallFormat(
            name="apertus",
            shape="json",
            opening="<|tools_prefix|>",
            closing="<|tools_suffix|>",
            is_list=True,
            name_key="",
        ),
    ),
    (
        ("<TOOLCALL>",),
        CallFormat(name="nemotron-v2", shape="json", opening="<TOOLCALL>", closing="</TOOLCALL>", is_list=True),
    ),
    (
        ("<|function_call|>", "<|role_sep|>"),
        CallFormat(name="gigachat3.1", shape="json", opening="<|function_call|>"),
    ),
    (
        ("function call", "<|message_sep|>", "role_sep"),
        CallFormat(name="gigachat3", shape="json", opening="function call<|role_sep|>", section=("<|message_sep|>",)),
    ),
    (
        ("<tool_calls>[",),
        CallFormat(name="apriel", shape="json", opening="<tool_calls>", closing="</tool_calls>", is_list=True),
    ),
    (("<tool_call>",), _HERMES),
    (
        ("<tool_calls>",),
        CallFormat(name="minimax-m1", shape="json", opening="<tool_calls>", closing="</tool_calls>", separator="\n"),
    ),
    # Granite 3 says it in words only where it is told to; its roles give it away.
    (
        ("<|start_of_role|>", "tool"),
        CallFormat(name="granite", shape="json", opening="<|tool_call|>", is_list=True, may_be_bare=True),
    ),
    (("<|tool_call|>",), CallFormat(name="granite", shape="json", opening="<|tool_call|>", is_list=True)),
    (("<|python_tag|>",), _LLAMA),
    (("<|start_header_id|>", "ipython", '"parameters"'), _LLAMA),
)

_SCANNED = 1 << 20  # characters of a template; longer ones are refused where they are compiled


def calls_of(template: str) -> CallFormat | None:
    """The format in which a model with this template calls tools, found by a scan; None if it isn't offered any.

    A template that offers tools in no known way is taken to belong to a model that answers with a JSON object naming
    the tool.
    """
    text = template[:_SCANNED]
    for needles, found in CALLS:
        if all(needle in text for needle in needles):
            return found
    return GENERIC if "tools" in text or ".Tools" in text else None


def markers_of(call: CallFormat) -> tuple[str, ...]:
    """The texts of a format that may be single tokens of a vocabulary: those that must come out as text."""
    if call.shape == "channels":
        return ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>")
    texts = (
        call.opening, call.closing, *call.section, call.before_name, call.after_name, call.name_end, call.key_open,
        call.key_end, call.value_open, call.value_close, call.quote,
    )  # fmt: skip
    pieces = (piece for text in texts for piece in markers_in(text))
    return tuple(dict.fromkeys(pieces))


def markers_in(text: str) -> list[str]:
    """What in a text could be a token of its own: what stands in brackets, in order."""
    found: list[str] = []
    at = 0
    while at < len(text):
        closing = {"<": ">", "[": "]"}.get(text[at])
        end = text.find(closing, at) if closing else -1
        if end < 0:
            at += 1
            continue
        found.append(text[at : end + 1])
        at = end + 1
    return found
