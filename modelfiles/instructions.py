"""A Modelfile as values: a tuple of frozen instructions, and what they say taken together.

Every instruction checks itself, so a value that exists is a valid one. Knows neither the text form (`parse`,
`render`) nor whether the files and models that instructions name exist.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from modelfiles.errors import ModelfileError
from modelfiles.parameters import DEPRECATED, PARAMETERS, Scalar, Value, check_one

ROLES: Final = ("system", "user", "assistant")

# Semantic versions as Ollama takes them: minor and patch may be missing; only a full version has a suffix.
_NUMBER = r"(?:0|[1-9][0-9]*)"
_VERSION = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?)?")
_BREAKS = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True)
class From:
    """What the model is made of: a model's name, a file or a folder."""

    source: str

    def __post_init__(self) -> None:
        _check_line("FROM", self.source)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter's value, typed by the table; for a deprecated parameter, its text as written."""

    name: str
    value: Scalar

    def __post_init__(self) -> None:
        if self.name in DEPRECATED:
            _check_text(f"PARAMETER {self.name}", str(self.value))
            object.__setattr__(self, "value", str(self.value))
        else:
            object.__setattr__(self, "value", check_one(self.name, self.value))
            _check_text(f"PARAMETER {self.name}", str(self.value))


@dataclass(frozen=True, slots=True)
class Template:
    """The prompt template, in Ollama's template language."""

    text: str

    def __post_init__(self) -> None:
        _check_text("TEMPLATE", self.text)


@dataclass(frozen=True, slots=True)
class System:
    """The system message."""

    text: str

    def __post_init__(self) -> None:
        _check_text("SYSTEM", self.text)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter's file."""

    path: str

    def __post_init__(self) -> None:
        _check_line("ADAPTER", self.path)


@dataclass(frozen=True, slots=True)
class License:
    """A licence's text."""

    text: str

    def __post_init__(self) -> None:
        _check_text("LICENSE", self.text)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation that every chat starts with; `role` is one of ROLES."""

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ModelfileError(f"a message's role must be one of {', '.join(ROLES)}, not {self.role!r}")
        _check_text("MESSAGE", self.content)


@dataclass(frozen=True, slots=True)
class Requires:
    """The lowest version of Ollama that runs the model, without a leading "v"."""

    version: str

    def __post_init__(self) -> None:
        version = self.version.removeprefix("v")
        if not _VERSION.fullmatch(version):
            raise ModelfileError("REQUIRES takes a version, such as 0.14.0")
        object.__setattr__(self, "version", version)


@dataclass(frozen=True, slots=True)
class Draft:
    """The small model that drafts tokens for this one: a name or a file."""

    source: str

    def __post_init__(self) -> None:
        _check_line("DRAFT", self.source)


@dataclass(frozen=True, slots=True)
class Renderer:
    """The name of Ollama's built-in code that writes the prompt."""

    name: str

    def __post_init__(self) -> None:
        _check_line("RENDERER", self.name)


@dataclass(frozen=True, slots=True)
class Parser:
    """The name of Ollama's built-in code that reads thinking and tool calls from the answer."""

    name: str

    def __post_init__(self) -> None:
        _check_line("PARSER", self.name)


Instruction: TypeAlias = (
    From | Parameter | Template | System | Adapter | License | Message | Requires | Draft | Renderer | Parser
)

_I = TypeVar("_I", bound=Instruction)


@dataclass(frozen=True, slots=True)
class Modelfile:
    """Instructions in the order written. Where one may stand only once, the last counts, as with Ollama."""

    instructions: tuple[Instruction, ...]

    @property
    def source(self) -> str | None:
        """The first FROM; None when there is none."""
        return self.sources[0] if self.sources else None

    @property
    def sources(self) -> tuple[str, ...]:
        """Every FROM: the weights first, then what belongs to them (further shards, a vision projector)."""
        return tuple(each.source for each in self._every(From))

    @property
    def parameters(self) -> dict[str, Value]:
        """Values by name, typed by the table; deprecated parameters are left out."""
        found: dict[str, Value] = {}
        for each in self._every(Parameter):
            if each.name in DEPRECATED:
                continue
            found[each.name] = _merged(found, each) if PARAMETERS[each.name].repeatable else each.value
        return found

    @property
    def template(self) -> str | None:
        """The prompt template; None when the model's own is to be used."""
        return _last(each.text for each in self._every(Template))

    @property
    def system(self) -> str | None:
        """The system message."""
        return _last(each.text for each in self._every(System))

    @property
    def adapters(self) -> tuple[str, ...]:
        """Every adapter's path."""
        return tuple(each.path for each in self._every(Adapter))

    @property
    def licenses(self) -> tuple[str, ...]:
        """Every licence's text."""
        return tuple(each.text for each in self._every(License))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation that every chat starts with."""
        return self._every(Message)

    @property
    def requires(self) -> str | None:
        """The lowest version of Ollama that runs the model."""
        return _last(each.version for each in self._every(Requires))

    @property
    def draft(self) -> str | None:
        """The first DRAFT; None when there is none."""
        return self.drafts[0] if self.drafts else None

    @property
    def drafts(self) -> tuple[str, ...]:
        """Every DRAFT: the draft model's file first, then its further shards."""
        return tuple(each.source for each in self._every(Draft))

    @property
    def renderer(self) -> str | None:
        """The name given by RENDERER."""
        return _last(each.name for each in self._every(Renderer))

    @property
    def parser(self) -> str | None:
        """The name given by PARSER."""
        return _last(each.name for each in self._every(Parser))

    def _every(self, kind: type[_I]) -> tuple[_I, ...]:
        return tuple(each for each in self.instructions if isinstance(each, kind))


def _last(values: Iterable[str]) -> str | None:
    return next(reversed(tuple(values)), None)


def _merged(found: Mapping[str, Value], one: Parameter) -> tuple[str, ...]:
    before = found.get(one.name, ())
    return (*(before if isinstance(before, tuple) else ()), str(one.value))


def _check_text(instruction: str, text: str) -> None:
    """What no Modelfile can carry: NUL ends a text for native code, and a lone surrogate has no UTF-8."""
    if "\0" in text:
        raise ModelfileError(f"{instruction} must not contain NUL characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise ModelfileError(f"{instruction} contains half of a surrogate pair, which is not text") from fault


def _check_line(instruction: str, text: str) -> None:
    if not text.strip():
        raise ModelfileError(f"{instruction} needs a value")
    if _BREAKS.search(text):
        raise ModelfileError(f"{instruction} takes one line")
    _check_text(instruction, text)
