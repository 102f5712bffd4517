"""What is written for a setting, read into its value: addresses, durations, sizes, lists of words. Each reader raises
ValueError with words that end a sentence begun with the setting's name. Knows no setting.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SandboxMode = Literal["on", "strict", "off"]
PORT = 11435
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the daemon listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(value: object) -> Address:
    """`host`, `host:port`, `:port`, `[::1]:port`, with or without `http://`. What is all numbers must be an address."""
    text = text_of(value).strip().removeprefix("http://").rstrip("/")
    match = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\s/\[\]]*))(?::(?P<port>[0-9]{1,5}))?", text)
    if match is None or not text or (match["six"] and not _is_ipv6(match["six"])):
        raise ValueError(f"takes host:port, not {value!r}")
    port = int(match["port"]) if match["port"] else PORT
    if port > 65535:
        raise ValueError(f"takes a port up to 65535, not {port}")
    if re.fullmatch(r"[0-9.]+", match["host"] or "") and not _is_ipv4(match["host"]):
        hint = f"; for a port alone :{text}" if text.isdecimal() else ""
        raise ValueError(f"takes host:port, and {match['host']!r} is no address{hint}")
    return Address(match["six"] or match["host"] or "127.0.0.1", port)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(value: object) -> float:
    """Seconds from a number (seconds) or a text like `5m` or `1h30m`. A negative value means forever (inf)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"takes seconds or a duration such as 5m, not {_as_written(value)}")
    try:
        seconds = float(value) if isinstance(value, int | float) else _duration_of_text(value.strip())
    except OverflowError:
        raise ValueError("takes seconds or a duration such as 5m, not a number this large") from None
    if math.isnan(seconds):
        raise ValueError("takes seconds or a duration such as 5m, not NaN")
    return _FOREVER if seconds < 0 else seconds


def _as_written(value: object) -> str:
    """A value in the words of JSON and YAML, where those differ from Python's."""
    return (
        {True: "true", False: "false"}[value] if isinstance(value, bool) else "null" if value is None else repr(value)
    )


def _duration_of_text(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("+", "-") else text
    if re.fullmatch(r"\d+(\.\d+)?", rest):
        return sign * float(rest)
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"takes seconds or a duration such as 5m, not {text!r}")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def text_of(value: object) -> str:
    """What is written as text or a number; YAML also knows lists, mappings, dates and booleans."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"takes a text, not a {type(value).__name__}")  # the value itself may be a key
    return str(value)


def boolean(value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"takes true or false, not {value!r}")


def whole(minimum: int, maximum: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise ValueError(f"takes a whole number, not {value!r}") from None
        if not minimum <= number <= maximum:
            raise ValueError(f"takes a whole number from {minimum} to {maximum}, not {value!r}")
        return number

    return read


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_MOST_BYTES = 2**50


def parse_size(value: object) -> int:
    """Bytes from a number or a text like `512MB` or `4 GiB`, which are both counted in powers of 1024."""
    match = _SIZE.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if match is None or len(match[1]) > 20:
        raise ValueError(f"takes a size such as 512MB, or 0, not {value!r}")
    size = float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")
    if size > _MOST_BYTES:
        raise ValueError(f"takes a size of at most 1024TB, not {value!r}")
    return int(size)


def size_from(minimum: int) -> Callable[[object], int]:
    """A size that is never less."""

    def read(value: object) -> int:
        size = parse_size(value)
        if size < minimum:
            raise ValueError(f"takes a size from {minimum} bytes, not {value!r}")
        return size

    return read


def written_size(size: int) -> str:
    """Bytes as `parse_size` reads them again: 512MB, 64KB, 1000000."""
    for unit, name in ((2**40, "TB"), (2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


def parallel(value: object) -> int:
    """0 stands for `auto`."""
    if str(value).strip().lower() == "auto":
        return 0
    try:
        return whole(1, 256)(value)
    except ValueError:
        raise ValueError(f"takes auto or a whole number from 1 to 256, not {value!r}") from None


def words(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(text_of(item).strip() for item in value)
    return tuple(word.strip() for word in text_of(value).split(",") if word.strip())


_TOOLS = ("huggingface", "ollama", "docker")


def tools(value: object) -> tuple[str, ...]:
    """Words for tools that call their files by digest."""
    found = tuple(word.lower() for word in words(value) if word.lower() != "none")
    for word in found:
        if word not in _TOOLS:
            raise ValueError(f"takes some of {', '.join(_TOOLS)}, or none, not {word!r}")
    return found


_ALIAS = re.compile(r"[^\s,=]+")
MODEL_NAME = re.compile(r"[^\s,=*]+")


def aliases(value: object) -> Mapping[str, str]:
    """`claude-*=demo,gpt-4=qwen3`, a list of such pairs, or a mapping."""
    if isinstance(value, Mapping):
        pairs = [(text_of(name).strip(), text_of(model).strip()) for name, model in value.items()]
    else:
        split = (pair.partition("=") for pair in words(value))
        pairs = [(name.strip(), model.strip()) for name, _, model in split]
    found: dict[str, str] = {}
    for name, model in pairs:
        if not _ALIAS.fullmatch(name) or not MODEL_NAME.fullmatch(model):
            raise ValueError(f"takes names and their models, such as claude-*=demo, not {value!r}")
        if name in found:
            raise ValueError(f"takes each name once, and {name!r} is there twice")
        found[name] = model
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """From where something may be fetched: `hosts` in lower case, `*` for any, which have to have public addresses, and
    `networks`, which need not be public. Nothing at all where both are empty."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.hosts or self.networks)

    def __str__(self) -> str:
        return ", ".join([*sorted(self.hosts), *map(str, self.networks)])


_HOST = re.compile(r"\*|[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def parse_places(value: object) -> Places:
    """Host names, addresses and networks, comma-separated."""
    hosts: set[str] = set()
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for word in words(value):
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            if not _HOST.fullmatch(word):
                raise ValueError(f"takes host names, addresses, networks or *, not {word!r}") from None
            hosts.add(word.lower())
    return Places(frozenset(hosts), tuple(networks))


def path(value: object) -> Path | None:
    text = text_of(value)
    try:
        return Path(text).expanduser().absolute() if text else None
    except RuntimeError as error:  # a ~ that stands for nobody
        raise ValueError(f"takes a folder, and {text!r} is none: {error}") from None


def key(value: object) -> str | None:
    return text_of(value) or None


def choice(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in allowed:
            raise ValueError(f"takes one of {', '.join(allowed)}, not {value!r}")
        return text

    return read


def sandbox(value: object) -> str:
    """YAML reads `on` and `off` as booleans."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return choice("on", "strict", "off")(value)
