"""What a chat template may do: all that Hugging Face's renderer offers, because templates are written for that one, and
nothing that one step of native code would need minutes or gigabytes for.

No attribute of a Python object is reachable that leads out of the template. Loops that never end, and memory taken bit
by bit, are not seen here but by `runner.prompt.watch`.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2 import filters
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST = 16 * 1024 * 1024  # characters of one text, or items of one list, that a single operation makes
_MOST_BITS = 4096  # of a whole number: arithmetic on longer ones cannot be interrupted and grows with their square
_MOST_ROUNDS = 100_000  # of filters that repeat; as long as the longest range that Jinja's sandbox allows

_PADDING = frozenset({"center", "ljust", "rjust", "zfill"})
# Each turns a short text or number into one of any length, and no prompt needs them.
_REFUSED = frozenset({"encode", "translate", "maketrans", "to_bytes", "from_bytes"})
# Conversions with a width or precision of five digits and more, or with one that an argument gives.
_WIDE_PERCENT = re.compile(r"%(?:\(.*?\))?[-+ #0]*(?:\*|\d{5}|\d*\.(?:\*|\d{5}))", re.DOTALL)
_WIDE_BRACES = re.compile(r"\{[^{}]*(?:\{|:[^{}]*\d{5})")


class Refused(Exception):
    """What a template's own raise_exception raises."""


class Environment(ImmutableSandboxedEnvironment):
    """Compiles templates that may come from a stranger. Operations that make too much raise SecurityError."""

    intercepted_binops = frozenset(["*", "**", "%", "//"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation], autoescape=False
        )
        self.filters |= _FILTERS
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda form: datetime.datetime.now().astimezone().strftime(form)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr in _REFUSED and isinstance(obj, str | int):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            _check_whole_numbers(operator, left, right)
        elif operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | bytes | list | tuple) and isinstance(times, int):
                    _check(len(one) * times)
        elif operator == "%" and isinstance(left, str):
            _check_percent(left, right)
        return super().call_binop(context, operator, left, right)

    # The odd names are Jinja's: no keyword argument of a template's call can have one of them.
    def call(__self, __context: Any, __callee: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063
        text = getattr(__callee, "__self__", None)
        if isinstance(text, str):
            args = _checked_arguments(text, __callee.__name__, args, kwargs)
        return super().call(__context, __callee, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        formatted = super().wrap_str_format(value)
        if formatted is None:
            return None
        text: str = value.__self__

        def bounded(*args: Any, **kwargs: Any) -> str:
            if _WIDE_BRACES.search(text):
                raise SecurityError("the template formats with too large a width")
            given = [*args, *kwargs.values()]
            if len(given) == 1 and isinstance(given[0], Mapping):  # format_map
                given = [*given[0].values()]
            _check(text.count("{") * _longest(given))
            return formatted(*args, **kwargs)

        return bounded


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks what to train on; for a prompt it is nothing but its content."""

    tags = {"generation"}  # noqa: RUF012 -- the base class declares it for instances

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _raise_exception(message: object = "") -> NoReturn:
    raise Refused(str(message))


# -- what would be made


def _check(size: int) -> None:
    if size > MOST:
        raise SecurityError("the template makes too large a value")


def _check_rounds(rounds: int) -> None:
    if rounds > _MOST_ROUNDS:
        raise SecurityError("the template repeats something too often")


def _check_whole_numbers(operator: str, left: int, right: int) -> None:
    bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > _MOST_BITS:
        raise SecurityError("the template computes with too large a number")


def _check_percent(form: str, given: Any) -> None:
    if _WIDE_PERCENT.search(form):
        raise SecurityError("the template formats with too large a width")
    if isinstance(given, Mapping):
        _check(form.count("%") * _longest(given.values()))


def _longest(values: Iterable[Any]) -> int:
    return max((len(value) for value in values if isinstance(value, str)), default=0)


def _checked_arguments(text: str, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments for a method of `text`, if its result won't be too long."""
    first = args[0] if args else None
    if method in _PADDING and isinstance(first, int):
        _check(first)
    elif method == "expandtabs":
        width = first if isinstance(first, int) else kwargs.get("tabsize", 8)
        _check(text.count("\t") * (width if isinstance(width, int) else 0))
    elif method == "replace" and len(args) > 1 and isinstance(first, str) and isinstance(args[1], str):
        _check(text.count(first) * len(args[1]))
    elif method == "join" and args:
        items = list(args[0])
        _check(sum(len(item) for item in items if isinstance(item, str)) + len(text) * len(items))
        return (items,)
    return args


# -- filters: Jinja's own behind a check, where they can make much of little


def _center(value: str, width: int = 80) -> str:
    _check(width)
    return filters.do_center(str(value), width)


def _indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    text = str(value)
    _check((len(text.splitlines()) + 1) * _width(width))
    return filters.do_indent(text, width, first, blank)


def _replace(value: object, old: object, new: object, count: int | None = None) -> str:
    text, before, after = str(value), str(old), str(new)
    _check(text.count(before) * len(after))
    return text.replace(before, after, -1 if count is None else count)


@jinja2.pass_environment
def _join(
    environment: jinja2.Environment, value: Iterable[Any], d: object = "", attribute: str | int | None = None
) -> str:
    if attribute is not None:
        value = map(filters.make_attrgetter(environment, attribute), value)
    items, between = [str(item) for item in value], str(d)
    _check(sum(map(len, items)) + len(between) * len(items))
    return between.join(items)


def _format(value: str, *args: Any, **kwargs: Any) -> str:
    _check_percent(str(value), kwargs or args)
    return filters.do_format(value, *args, **kwargs)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 100:
        raise SecurityError("the template rounds to too many digits")
    return filters.do_round(value, precision, method)


@jinja2.pass_environment
def _sum(
    environment: jinja2.Environment, value: Iterable[Any], attribute: str | int | None = None, start: float = 0
) -> Any:
    if not isinstance(start, int | float):  # lists would be copied once for each item
        raise SecurityError("the template sums up what are no numbers")
    return filters.sync_do_sum(environment, value, attribute, start)


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> Iterable[list[Any]]:
    _check_rounds(linecount)
    return filters.do_batch(value, linecount, fill_with)


def _slice(value: Iterable[Any], slices: int, fill_with: Any = None) -> Iterable[list[Any]]:
    _check_rounds(slices)
    return filters.sync_do_slice(list(value), slices, fill_with)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As Hugging Face's renderer has it: no HTML escapes, and non-ASCII text left readable."""
    _check((_nodes(value, 0) + 1) * (_width(indent) + sum(len(text) for text in separators or ())))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _width(indent: int | str | None) -> int:
    return len(indent) if isinstance(indent, str) else indent or 0


def _nodes(value: Any, size: int) -> int:
    """`size` and all that JSON would write of `value`: one that stands in it many times counts as often."""
    if isinstance(value, str):
        size += len(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            size = _nodes(item, _nodes(key, size))
    elif isinstance(value, list | tuple):
        for item in value:
            size = _nodes(item, size)
    _check(size)
    return size + 1


_FILTERS: dict[str, Callable[..., Any]] = {
    "batch": _batch,
    "center": _center,
    "format": _format,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "slice": _slice,
    "sum": _sum,
    "tojson": _to_json,
}
