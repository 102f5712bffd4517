"""The sandbox in which a GGUF's chat template runs.

Templates come from strangers: no attribute of a Python object is reachable, no large string can be made, output and
time are bounded. What a template may use is what Hugging Face's renderer offers, because that is what templates are
written for.
"""

from __future__ import annotations

import ctypes
import datetime
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.errors import TemplateFailed

OUTPUT_LIMIT = 16 * 1024 * 1024  # characters
TEMPLATE_LIMIT = 1024 * 1024  # characters
TIME_LIMIT = 10.0  # seconds
_STRING_LIMIT = 4 * 1024 * 1024  # characters of one intermediate string made by repetition or padding
_EXPONENT_LIMIT = 64


# A template is a program, and these are the ways in which a wrong one fails.
_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


class _TimedOut(BaseException):
    """Raised inside a rendering that takes too long. No Exception, so that no template construct swallows it."""


class _Refused(Exception):
    """What a template's own raise_exception raises."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks what to train on; for a prompt it is nothing but its content."""

    tags = {"generation"}  # noqa: RUF012 -- the base class declares it for instances

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > _STRING_LIMIT:
                    raise SecurityError("the template repeats a value too often")
        if operator == "**" and isinstance(right, int | float) and abs(right) > _EXPONENT_LIMIT:
            raise SecurityError("the template raises to too high a power")
        return super().call_binop(context, operator, left, right)


def _refuse(message: object = "") -> NoReturn:
    raise _Refused(str(message))


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """As Hugging Face's renderer has it: no HTML escapes, and non-ASCII text left readable."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _padded(value: object, width: int = 80) -> str:
    if width > _STRING_LIMIT:
        raise SecurityError("the template pads a value too far")
    return str(value).center(width)


def _indented(value: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    by = width if isinstance(width, str) else " " * min(width, 1024)
    lines = str(value).split("\n")
    rest = [by + line if line or blank else line for line in lines[1:]]
    return "\n".join([(by if first else "") + lines[0], *rest])


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation], autoescape=False
    )
    environment.filters["tojson"] = _to_json
    environment.filters["center"] = _padded
    environment.filters["indent"] = _indented
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().astimezone().strftime(form)
    return environment


class Template:
    """A compiled chat template. Raises TemplateFailed, with line and reason, when the text is no Jinja template."""

    def __init__(self, text: str) -> None:
        if len(text) > TEMPLATE_LIMIT:
            raise TemplateFailed(f"the chat template has {len(text)} characters; {TEMPLATE_LIMIT} are allowed")
        self.text = text
        try:
            self._template = _environment().from_string(text)
        except jinja2.TemplateSyntaxError as error:
            reason = f"line {error.lineno}: {error.message}"
            raise TemplateFailed(f"the chat template is not valid Jinja: {reason}") from error
        except RecursionError as error:
            raise TemplateFailed("the chat template is nested too deeply") from error

    def render(self, variables: Mapping[str, Any]) -> str:
        """Run the template. Raises TemplateFailed with its own words, or with what stopped it."""
        try:
            with _deadline(TIME_LIMIT):
                return "".join(_bounded(self._template.generate(**variables)))
        except _TimedOut:
            reason = f"took more than {TIME_LIMIT:.0f} s"
        except _Refused as error:
            reason = f"refuses this conversation: {error}"
        except SecurityError as error:
            reason = f"does what the sandbox forbids: {error}"
        except jinja2.TemplateError as error:
            reason = f"cannot be rendered: {error}"
        except _FAULTS as error:
            reason = f"cannot be rendered: {type(error).__name__}: {error}"
        raise TemplateFailed(f"the model's chat template {reason}")


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > OUTPUT_LIMIT:
            raise SecurityError(f"the template writes more than {OUTPUT_LIMIT} characters")
        yield part


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Interrupt the block's Python code after `seconds`.

    Jinja has no hook inside a loop that writes nothing, so the interpreter itself is asked to raise in this thread.
    """
    thread = threading.get_ident()
    lock = threading.Lock()
    over = False

    def interrupt() -> None:
        with lock:
            if not over:
                _raise_in(thread, _TimedOut)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over = True


def _raise_in(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
