"""Every setting of Runner, one row each: name, type, default, help, and when a new value counts. Flags, environment,
file and docs derive from it. The parts of Runner receive their own small values, never the whole `Settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.config.models import ModelSettings, options, per_model
from runner.config.values import (
    PORT,
    Address,
    Places,
    SandboxMode,
    aliases,
    boolean,
    choice,
    key,
    parallel,
    parse_address,
    parse_duration,
    parse_places,
    parse_size,
    path,
    sandbox,
    size_from,
    tools,
    whole,
    words,
)

Applies = Literal["now", "load", "start"]
"""When a changed value counts: at once; for a model's next load, so that a loaded one which it concerns is loaded anew;
or when the daemon starts again."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `read` turns what was given into the value, or raises ValueError."""

    name: str
    read: Callable[[object], Any]
    default: object
    help: str
    applies: Applies = "start"

    @property
    def env(self) -> str:
        return f"RUNNER_{self.name.upper()}"


SETTINGS: tuple[Setting, ...] = (
    Setting("host", parse_address, f"127.0.0.1:{PORT}", "address to listen on, and to call: host:port"),
    Setting("models", path, "", "folder of the store (default: `models` in the data folder)"),
    Setting("max_loaded_models", whole(0, 64), 0, "models in memory at once; 0 means 3", "now"),
    Setting(
        "max_memory",
        parse_size,
        0,
        "memory that all models together may take of this machine's, that of GPUs not counted; 0 for what is free",
        "now",
    ),
    Setting("max_queue", whole(1, 1_000_000), 512, "requests that may wait; more are answered 503", "now"),
    Setting(
        "queue_timeout",
        parse_duration,
        "-1",
        "how long a request may wait in the queue before it is answered 503; negative means for ever",
        "now",
    ),
    Setting("pin", words, "", "models that are loaded at the start and stay in memory, comma-separated", "now"),
    Setting("keep_alive", parse_duration, "5m", "how long an idle model stays loaded; negative means for ever", "now"),
    Setting(
        "context_length",
        whole(0, 2**24),
        0,
        "tokens of one request; 0 for what the model takes and memory holds, at most 8192, or 32768 on a GPU",
        "load",
    ),
    Setting(
        "num_parallel",
        parallel,
        "auto",
        "sequences that one model decodes together: auto (up to 128, as memory allows) or 1 to 256",
        "load",
    ),
    Setting(
        "prefix_ram", parse_size, "512MB", "memory of each model for prompts that lost their cells; 0 for none", "load"
    ),
    Setting(
        "prefix_disk", parse_size, "4GB", "disk space for prompts computed before, all models; 0 keeps none", "load"
    ),
    Setting(
        "aliases", aliases, "", "names that stand for models: claude-*=demo,gpt-4=qwen3; * is any characters", "now"
    ),
    Setting("options", options, "", "options for every model: num_ctx=4096,temperature=0", "load"),
    Setting("per_model", per_model, "", "options, keep_alive and pin for single models, by name", "load"),
    Setting(
        "stored_responses", whole(0, 1_000_000), 1000, "answers of /v1/responses to keep in memory; 0 keeps none", "now"
    ),
    Setting(
        "stored_responses_size", parse_size, "64MB", "memory for them; the longest unused are forgotten first", "now"
    ),
    Setting(
        "request_log",
        whole(0, 10_000),
        200,
        "ended requests to keep a record of, without their texts; 0 keeps none",
        "now",
    ),
    Setting(
        "request_bodies",
        boolean,
        False,
        "keep what they asked and were answered as well: prompts, answers and JSON, in memory only",
        "now",
    ),
    Setting("load_timeout", parse_duration, "5m", "how long a load may go on without a sign of progress", "now"),
    Setting(
        "sandbox",
        sandbox,
        "on",
        "keep the processes that run models to their own files, off the network: on (as far as this system can), "
        "strict (or load nothing), off",
        "load",
    ),
    Setting("spare_worker", boolean, True, "while models are in use, have a process ready that loads the next one"),
    Setting("api_key", key, "", "key that clients must send; required when listening beyond loopback", "now"),
    Setting("origins", words, "", "web origins allowed beside loopback ones, comma-separated", "now"),
    Setting("allowed_hosts", words, "", "host names accepted in the Host header beside loopback ones", "now"),
    Setting(
        "image_urls",
        parse_places,
        "",
        "where images may be fetched from: host names or networks, comma-separated; * for any public address",
        "now",
    ),
    Setting("max_body", size_from(1024), "64MB", "largest request body, blobs apart"),
    Setting(
        "registries",
        words,
        "",
        "hosts that models may come from and go to, such as runner.local,hf.co,ghcr.io; empty for any",
        "now",
    ),
    Setting("download_rate", parse_size, 0, "bytes a second that downloads take at most; 0 for no limit", "now"),
    Setting("download_connections", whole(1, 64), 8, "connections to one host at once while pulling and pushing"),
    Setting(
        "adopt_from",
        tools,
        "huggingface,ollama,docker",
        "tools on this machine whose files a pull may use: huggingface, ollama, docker, comma-separated; none for none",
        "now",
    ),
    Setting("autostart", boolean, True, "start the daemon when a command needs one and none answers", "now"),
    Setting(
        "log_level", choice("debug", "info", "warning", "error"), "info", "least serious message that is logged", "now"
    ),
    Setting("log_format", choice("json", "text"), "json", "how the daemon's log file is written: json or text", "now"),
    Setting("log_size", parse_size, "10MB", "size of a log file before the next is begun; 0 keeps none", "now"),
    Setting("log_files", whole(0, 1000), 5, "older log files of the daemon that are kept", "now"),
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
    max_memory: int  # bytes, 0 for no limit
    max_queue: int
    queue_timeout: float  # seconds, inf for ever
    pin: tuple[str, ...]
    keep_alive: float  # seconds, inf for ever
    context_length: int
    num_parallel: int  # 0 means auto
    prefix_ram: int  # bytes
    prefix_disk: int  # bytes
    aliases: Mapping[str, str]  # models by the names that stand for them
    options: Mapping[str, Any]
    per_model: Mapping[str, ModelSettings]
    stored_responses: int
    stored_responses_size: int  # bytes
    request_log: int
    request_bodies: bool
    load_timeout: float  # seconds
    sandbox: SandboxMode
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
    log_format: Literal["json", "text"]
    log_size: int  # bytes, 0 for none
    log_files: int
    sources: Mapping[str, str]
