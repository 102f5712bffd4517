"""Every setting of Runner, one row each: name, type, default, help. Flags, environment, file and docs derive from it.

Order: flag > `RUNNER_*` environment > `config.yaml` > default. Read once, by whoever starts the process; the parts
below receive their own small values, never the whole `Settings`. Reading has no side effects.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from runner.protocol.sandbox import Mode

PORT = 11435
_FOREVER = float("inf")


class ConfigError(ValueError):
    """A setting cannot be used. The text names the setting, where it came from and what it takes."""


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
    """`host`, `host:port`, `:port`, `[::1]:port`, with or without `http://`."""
    text = _text(value).strip().removeprefix("http://").rstrip("/")
    match = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\s/\[\]]*))(?::(?P<port>[0-9]{1,5}))?", text)
    if match is None or not text or (match["six"] and not _is_ipv6(match["six"])):
        raise ValueError(f"takes host:port, not {value!r}")
    port = int(match["port"]) if match["port"] else PORT
    if port > 65535:
        raise ValueError(f"takes a port up to 65535, not {port}")
    return Address(match["six"] or match["host"] or "127.0.0.1", port)


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
        raise ValueError(f"takes seconds or a duration such as 5m, not {value!r}")
    try:
        seconds = float(value) if isinstance(value, int | float) else _duration_of_text(value.strip())
    except OverflowError:
        raise ValueError("takes seconds or a duration such as 5m, not a number this large") from None
    if math.isnan(seconds):
        raise ValueError("takes seconds or a duration such as 5m, not NaN")
    return _FOREVER if seconds < 0 else seconds


def _duration_of_text(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("+", "-") else text
    if re.fullmatch(r"\d+(\.\d+)?", rest):
        return sign * float(rest)
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"takes seconds or a duration such as 5m, not {text!r}")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def _text(value: object) -> str:
    """What is written as text or a number; YAML also knows lists, mappings, dates and booleans."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"takes a text, not a {type(value).__name__}")  # the value itself may be a key
    return str(value)


def _boolean(value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"takes true or false, not {value!r}")


def _whole(minimum: int, maximum: int) -> Callable[[object], int]:
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


def _parallel(value: object) -> int:
    """0 stands for `auto`."""
    return 0 if str(value).strip().lower() == "auto" else _whole(1, 256)(value)


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(_text(item).strip() for item in value)
    return tuple(word.strip() for word in _text(value).split(",") if word.strip())


_TOOLS = ("huggingface", "ollama", "docker")


def _tools(value: object) -> tuple[str, ...]:
    """Words for tools that call their files by digest."""
    words = tuple(word.lower() for word in _words(value) if word.lower() != "none")
    for word in words:
        if word not in _TOOLS:
            raise ValueError(f"takes some of {', '.join(_TOOLS)}, or none, not {word!r}")
    return words


_ALIAS = re.compile(r"[^\s,=]+")
_MODEL = re.compile(r"[^\s,=*]+")


def _aliases(value: object) -> Mapping[str, str]:
    """`claude-*=demo,gpt-4=qwen3`, a list of such pairs, or a mapping."""
    if isinstance(value, Mapping):
        pairs = [(_text(name).strip(), _text(model).strip()) for name, model in value.items()]
    else:
        split = (pair.partition("=") for pair in _words(value))
        pairs = [(name.strip(), model.strip()) for name, _, model in split]
    found: dict[str, str] = {}
    for name, model in pairs:
        if not _ALIAS.fullmatch(name) or not _MODEL.fullmatch(model):
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
    for word in _words(value):
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            if not _HOST.fullmatch(word):
                raise ValueError(f"takes host names, addresses, networks or *, not {word!r}") from None
            hosts.add(word.lower())
    return Places(frozenset(hosts), tuple(networks))


def _path(value: object) -> Path | None:
    text = _text(value)
    try:
        return Path(text).expanduser().absolute() if text else None
    except (RuntimeError, ValueError) as error:  # a ~ that stands for nobody, or what is no name at all
        raise ValueError(f"takes a folder, and {text!r} is none: {error}") from None


def _key(value: object) -> str | None:
    return _text(value) or None


def _choice(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in allowed:
            raise ValueError(f"takes one of {', '.join(allowed)}, not {value!r}")
        return text

    return read


def _sandbox(value: object) -> str:
    """YAML reads `on` and `off` as booleans."""
    return _choice("on", "strict", "off")(
        {True: "on", False: "off"}.get(value, value) if value in (True, False) else value
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `read` turns what was given into the value, or raises ValueError."""

    name: str
    read: Callable[[object], Any]
    default: object
    help: str

    @property
    def env(self) -> str:
        return f"RUNNER_{self.name.upper()}"


SETTINGS: tuple[Setting, ...] = (
    Setting("host", parse_address, f"127.0.0.1:{PORT}", "address to listen on, and to call: host:port"),
    Setting("models", _path, "", "folder of the store (default: `models` in the data folder)"),
    Setting("max_loaded_models", _whole(0, 64), 0, "models in memory at once; 0 means 3"),
    Setting("max_queue", _whole(1, 1_000_000), 512, "requests that may wait; more are answered 503"),
    Setting(
        "queue_timeout",
        parse_duration,
        "-1",
        "how long a request may wait in the queue before it is answered 503; negative means for ever",
    ),
    Setting("pin", _words, "", "models that are loaded at the start and stay in memory, comma-separated"),
    Setting("keep_alive", parse_duration, "5m", "how long an idle model stays loaded; negative means for ever"),
    Setting("context_length", _whole(0, 2**24), 0, "tokens of one request; 0 means the model's own, at most 8192"),
    Setting(
        "num_parallel",
        _parallel,
        "auto",
        "sequences that one model decodes together: auto (up to 128, as memory allows) or 1 to 256",
    ),
    Setting("prefix_ram", parse_size, "512MB", "memory of each model for prompts that lost their cells; 0 for none"),
    Setting("prefix_disk", parse_size, "4GB", "disk space for prompts computed before, all models; 0 keeps none"),
    Setting("aliases", _aliases, "", "names that stand for models: claude-*=demo,gpt-4=qwen3; * is any characters"),
    Setting("stored_responses", _whole(0, 1_000_000), 1000, "answers of /v1/responses to keep in memory; 0 keeps none"),
    Setting("stored_responses_size", parse_size, "64MB", "memory for them; the longest unused are forgotten first"),
    Setting("load_timeout", parse_duration, "5m", "how long a load may go on without a sign of progress"),
    Setting(
        "sandbox",
        _sandbox,
        "on",
        "keep the processes that run models to their own files, off the network: on (as far as this system can), "
        "strict (or load nothing), off",
    ),
    Setting("spare_worker", _boolean, True, "while models are in use, have a process ready that loads the next one"),
    Setting("api_key", _key, "", "key that clients must send; required when listening beyond loopback"),
    Setting("origins", _words, "", "web origins allowed beside loopback ones, comma-separated"),
    Setting("allowed_hosts", _words, "", "host names accepted in the Host header beside loopback ones"),
    Setting(
        "image_urls",
        parse_places,
        "",
        "where images may be fetched from: host names or networks, comma-separated; * for any public address",
    ),
    Setting("max_body", _whole(1024, 2**40), 64 * 1024 * 1024, "largest request body in bytes, blobs apart"),
    Setting(
        "registries",
        _words,
        "",
        "hosts that models may come from and go to, such as runner.local,hf.co,ghcr.io; empty for any",
    ),
    Setting("download_rate", parse_size, 0, "bytes a second that downloads take at most; 0 for no limit"),
    Setting("download_connections", _whole(1, 64), 8, "connections to one host at once while pulling and pushing"),
    Setting(
        "adopt_from",
        _tools,
        "huggingface,ollama,docker",
        "tools on this machine whose files a pull may use: huggingface, ollama, docker, comma-separated; none for none",
    ),
    Setting("autostart", _boolean, True, "start the daemon when a command needs one and none answers"),
    Setting("log_level", _choice("debug", "info", "warning", "error"), "info", "least serious message that is logged"),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Folders:
    """Where Runner keeps things. `RUNNER_HOME` puts all of them under one folder."""

    data: Path
    state: Path
    cache: Path
    config: Path
    runtime: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting's value. `sources` says for each where it came from: flag, environment, file or default."""

    folders: Folders
    host: Address
    models: Path
    max_loaded_models: int
    max_queue: int
    queue_timeout: float  # seconds, inf for ever
    pin: tuple[str, ...]
    keep_alive: float  # seconds, inf for ever
    context_length: int
    num_parallel: int  # 0 means auto
    prefix_ram: int  # bytes
    prefix_disk: int  # bytes
    aliases: Mapping[str, str]  # models by the names that stand for them
    stored_responses: int
    stored_responses_size: int  # bytes
    load_timeout: float  # seconds
    sandbox: Mode
    spare_worker: bool
    api_key: str | None = field(repr=False)  # lest it be printed with the rest
    origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    image_urls: Places
    max_body: int
    registries: tuple[str, ...]
    download_rate: int  # bytes a second, 0 for no limit
    download_connections: int
    adopt_from: tuple[str, ...]
    autostart: bool
    log_level: str
    sources: Mapping[str, str]


def folders(environ: Mapping[str, str] = os.environ) -> Folders:
    """The folders for this user; nothing is created. Raises ConfigError when there is no place for one."""
    home = environ.get("RUNNER_HOME")
    if home:
        try:
            root = Path(home).expanduser().absolute()
        except RuntimeError as error:
            raise ConfigError(f"RUNNER_HOME (environment) takes a folder, and {home!r} is none: {error}") from None
        return Folders(*(root / part for part in ("data", "state", "cache", "config", "run")))
    dirs = platformdirs.PlatformDirs("runner", appauthor=False)
    return Folders(
        dirs.user_data_path, dirs.user_state_path, dirs.user_cache_path, dirs.user_config_path, _runtime(dirs)
    )


def _runtime(dirs: platformdirs.PlatformDirs) -> Path:
    # Outside of a login session (ssh, cron, a container) platformdirs takes a private folder among the temporary ones.
    # It warns about that each time, and every command would print it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dirs.user_runtime_path
        except OSError as error:
            raise ConfigError(f"there is no folder for sockets and locks: {error}; set RUNNER_HOME") from None


def load(flags: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Merge flags (None means not given), environment, file and defaults.

    Raises ConfigError naming the setting and where its value came from; unknown keys in the file, and `RUNNER_*`
    variables that look like a setting misspelt, are errors too. Others are left alone: GitHub's machines have many.
    """
    where = folders(environ)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    file = where.config / "config.yaml"
    in_file = _read_file(file)
    known = {setting.env for setting in SETTINGS} | {"RUNNER_HOME"}
    for key in sorted(environ):
        if key.startswith("RUNNER_") and key not in known and (meant := _misspelt(key)):
            raise ConfigError(f"{key} in the environment is no setting of Runner; did you mean {meant}?")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        name = setting.name
        if name in given:
            value, source = given[name], f"flag --{name.replace('_', '-')}"
        elif environ.get(setting.env, "") != "":
            value, source = environ[setting.env], f"environment {setting.env}"
        elif name in in_file:
            value, source = in_file[name], f"file {file}"
        else:
            value, source = setting.default, "default"
        try:
            values[name] = setting.read(value)
        except ValueError as error:
            raise ConfigError(f"{name} ({source}) {error}") from None
        sources[name] = source
    values["models"] = values["models"] or where.data / "models"
    return Settings(folders=where, sources=sources, **values)


def _misspelt(key: str) -> str | None:
    """The variable that this one was probably meant to be: letters swapped, left out or doubled, not another word."""
    names = {setting.name: setting.env for setting in SETTINGS} | {"home": "RUNNER_HOME"}
    close = difflib.get_close_matches(key.removeprefix("RUNNER_").lower(), names, n=1, cutoff=0.8)
    return names[close[0]] if close else None


def _read_file(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    import yaml  # on use: most starts have no file, and the CLI's start-up counts

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or number that is none
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold `name: value` lines")
    for key in content:
        if key not in BY_NAME:
            raise ConfigError(f"{path}: {key!r} is no setting of Runner; see `runner config`")
    # `name:` with nothing behind it is a setting that is not given.
    return {str(key): value for key, value in content.items() if value is not None}
