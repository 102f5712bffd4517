"""Modelfile to text, with the quoting that Ollama reads too; `parse(render(m)) == m`.

A value that no Modelfile can carry is refused, never altered. Knows the form only.
"""

import re

from modelfiles.errors import ModelfileError
from modelfiles.instructions import (
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
from modelfiles.parameters import PARAMETERS, Scalar

_BREAK = re.compile(r"[\r\n]")
# Three quotes at the end of a line end a value, so a value can't hold them there (its last line apart).
_ENDS_EARLY = re.compile(r'"""[^\S\r\n]*[\r\n]')


def render(modelfile: Modelfile) -> str:
    """The text of a Modelfile, one instruction after another, ending with a line break.

    Raises ModelfileError for a Modelfile without FROM, and for a value in which a line (its last one apart)
    ends with three quotes: the language has no escape for that.
    """
    if modelfile.source is None:
        raise ModelfileError("there is no FROM, which says what the model is made of")
    return "".join(f"{_line(each)}\n" for each in modelfile.instructions)


def _line(instruction: Instruction) -> str:
    match instruction:
        case From(source):
            return f"FROM {_quoted('FROM', source)}"
        case Parameter(name, value):
            return f"PARAMETER {name} {_value(name, value)}"
        case Message(role, content):
            return f"MESSAGE {role} {_quoted('MESSAGE', content)}"
        case Template(text):
            return f"TEMPLATE {_block('TEMPLATE', text)}"
        case License(text):
            return f"LICENSE {_block('LICENSE', text)}"
        case System(text):
            return f"SYSTEM {_quoted('SYSTEM', text)}"
        case Adapter(path):
            return f"ADAPTER {_quoted('ADAPTER', path)}"
        case Requires(version):
            return f"REQUIRES {version}"
        case Draft(source):
            return f"DRAFT {_quoted('DRAFT', source)}"
        case Renderer(name):
            return f"RENDERER {_quoted('RENDERER', name)}"
        case Parser(name):
            return f"PARSER {_quoted('PARSER', name)}"


def _value(name: str, value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    # A stop text reads better in quotes, even where it could do without: "<|im_end|>".
    listed = name in PARAMETERS and PARAMETERS[name].repeatable
    if listed and '"' not in value and not _BREAK.search(value):
        return f'"{value}"'
    return _quoted(f"PARAMETER {name}", value)


def _quoted(owner: str, value: str) -> str:
    """`value` bare where the bare line reads back the same, otherwise as a block."""
    bare = value and value == value.strip() and not value.startswith('"') and not _BREAK.search(value)
    return value if bare else _block(owner, value)


def _block(owner: str, value: str) -> str:
    if _ENDS_EARLY.search(value):
        raise ModelfileError(f'{owner} has a line that ends with """, which a Modelfile has no way to write')
    return f'"""{value}"""'
