"""What a WWW-Authenticate header asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_BLANKS = re.compile(r"[\s,]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9._~+-]*)(?=\s|,|$)")
_PARAM = re.compile(r'([A-Za-z][A-Za-z0-9_.*-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))')
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove who one is: its scheme (`bearer`, `basic`) and its parameters, all names in lower case."""

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict)


def challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges of one answer, in order. What can't be read ends the reading of its header, without an error."""
    found: list[Challenge] = []
    for header in headers:
        found += _of_header(header[:_LONGEST])
    return tuple(found)


def _of_header(header: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(header):
        blanks = _BLANKS.match(header, at)
        at = blanks.end() if blanks else at
        param = _PARAM.match(header, at)
        if param is not None and found:
            quoted = param[2]
            value = param[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1][1].setdefault(param[1].lower(), value)
            at = param.end()
            continue
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            break
        found.append((scheme[1].lower(), {}))
        at = scheme.end()
    return [Challenge(scheme, params) for scheme, params in found]
