"""The settings: one table, four sources in order, and errors that name the setting and where it came from."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import config
from runner.config import SETTINGS, Address, ConfigError, ModelSettings, Places, load, parse_address, parse_duration

# For each setting: what a flag, the environment and the file may give, and the value that must come out.
GIVEN: Mapping[str, tuple[object, str, str, tuple[object, object, object]]] = {
    "host": ("h1:1", "h2:2", "h3:3", (Address("h1", 1), Address("h2", 2), Address("h3", 3))),
    "models": ("/m1", "/m2", "/m3", (Path("/m1"), Path("/m2"), Path("/m3"))),
    "max_loaded_models": (1, "2", "4", (1, 2, 4)),
    "max_memory": (2**30, "8GB", "500MB", (2**30, 8 * 2**30, 500 * 2**20)),
    "max_queue": (1, "2", "3", (1, 2, 3)),
    "queue_timeout": ("1s", "2m", "-1", (1.0, 120.0, float("inf"))),
    "pin": ("demo", "a, b:c", "[d, e]", (("demo",), ("a", "b:c"), ("d", "e"))),
    "keep_alive": ("1s", "2m", "3h", (1.0, 120.0, 10800.0)),
    "context_length": (1024, "2048", "4096", (1024, 2048, 4096)),
    "num_parallel": (1, "2", "3", (1, 2, 3)),
    "prefix_ram": (0, "1MB", "2.5 GiB", (0, 2**20, 5 * 2**29)),
    "prefix_disk": ("0", "1048576", "3g", (0, 2**20, 3 * 2**30)),
    "aliases": ("a=b", "claude-* = demo, gpt-4=hf.co/o/r:Q4", "{a*: b, c: d}",
                ({"a": "b"}, {"claude-*": "demo", "gpt-4": "hf.co/o/r:Q4"}, {"a*": "b", "c": "d"})),
    "options": ({"num_ctx": 512}, "num_ctx=1024,stop=a", "{temperature: 0, stop: [a, b]}",
                ({"num_ctx": 512}, {"num_ctx": 1024, "stop": ("a",)}, {"temperature": 0.0, "stop": ("a", "b")})),
    "per_model": (
        {}, '{"demo": {"pin": true}}', "{demo: {options: {num_ctx: 512}, keep_alive: 1h}, hf.co/o/r:Q4: {}}",
        (
            {},
            {"demo": ModelSettings(pin=True)},
            {"demo": ModelSettings({"num_ctx": 512}, 3600.0), "hf.co/o/r:Q4": ModelSettings()},
        ),
    ),
    "stored_responses": (0, "10", "200", (0, 10, 200)),
    "stored_responses_size": (0, "1MB", "2g", (0, 2**20, 2**31)),
    "request_log": (0, "10", "300", (0, 10, 300)),
    "request_bodies": (True, "yes", "off", (True, True, False)),
    "load_timeout": ("1s", "2s", "3s", (1.0, 2.0, 3.0)),
    "sandbox": ("off", "strict", "on", ("off", "strict", "on")),
    "spare_worker": ("0", "1", "off", (False, True, False)),
    "api_key": ("one", "two", "three", ("one", "two", "three")),
    "origins": ("http://a", "http://b,http://c", "[http://d, http://e]",
                (("http://a",), ("http://b", "http://c"), ("http://d", "http://e"))),
    "allowed_hosts": ("a", "b , c", "d", (("a",), ("b", "c"), ("d",))),
    "image_urls": (
        "Example.com", "*, 10.0.0.0/8", "::1",
        (
            Places(frozenset({"example.com"})),
            Places(frozenset({"*"}), (ip_network("10.0.0.0/8"),)),
            Places(networks=(ip_network("::1"),)),
        ),
    ),
    "max_body": (2048, "4096", "8KB", (2048, 4096, 8192)),
    "registries": (["hf.co"], "hf.co,ghcr.io", "x", (("hf.co",), ("hf.co", "ghcr.io"), ("x",))),
    "download_rate": (2048, "4096", "8MB", (2048, 4096, 8 * 1024 * 1024)),
    "download_connections": (1, "2", "3", (1, 2, 3)),
    "adopt_from": (["ollama"], "none", "docker, huggingface", (("ollama",), (), ("docker", "huggingface"))),
    "autostart": (False, "no", "off", (False, False, False)),
    "log_level": ("debug", "WARNING", "error", ("debug", "warning", "error")),
    "log_format": ("text", "JSON", "text", ("text", "json", "text")),
    "log_size": (2048, "0", "8MB", (2048, 0, 8 * 1024 * 1024)),
    "log_files": (1, "0", "1000", (1, 0, 1000)),
}  # fmt: skip
DEFAULTS = {
    "host": Address("127.0.0.1", 11435),
    "max_loaded_models": 0,
    "max_memory": 0,
    "max_queue": 512,
    "queue_timeout": float("inf"),
    "pin": (),
    "keep_alive": 300.0,
    "context_length": 0,
    "num_parallel": 0,
    "prefix_ram": 512 * 2**20,
    "prefix_disk": 4 * 2**30,
    "aliases": {},
    "options": {},
    "per_model": {},
    "stored_responses": 1000,
    "stored_responses_size": 64 * 2**20,
    "request_log": 200,
    "request_bodies": False,
    "load_timeout": 300.0,
    "sandbox": "on",
    "spare_worker": True,
    "api_key": None,
    "origins": (),
    "allowed_hosts": (),
    "image_urls": Places(),
    "max_body": 64 * 1024 * 1024,
    "registries": (),
    "download_rate": 0,
    "download_connections": 8,
    "adopt_from": ("huggingface", "ollama", "docker"),
    "autostart": True,
    "log_level": "info",
    "log_format": "json",
    "log_size": 10 * 2**20,
    "log_files": 5,
}
NAMES = [setting.name for setting in SETTINGS]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment of which only RUNNER_HOME is set."""
    return {"RUNNER_HOME": str(tmp_path / "home"), "PATH": "/bin"}


@pytest.fixture
def file(environ: dict[str, str]) -> Path:
    """Where the configuration file belongs; its folder exists."""
    path = Path(environ["RUNNER_HOME"]) / "config" / "config.yaml"
    path.parent.mkdir(parents=True)
    return path


# -- the table


def test_every_setting_is_a_field_and_the_other_way_round() -> None:
    fields = {field.name for field in dataclasses.fields(config.Settings)} - {"folders", "sources"}
    assert fields == set(NAMES) == set(GIVEN)
    assert len(NAMES) == len(set(NAMES))
    assert {setting.name: setting for setting in SETTINGS} == config.BY_NAME


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_row_is_complete(setting: config.Setting) -> None:
    assert setting.env == f"RUNNER_{setting.name.upper()}"
    assert setting.help
    setting.read(setting.default)


def test_the_defaults(environ: dict[str, str]) -> None:
    settings = load(environ=environ)
    for name, value in DEFAULTS.items():
        assert getattr(settings, name) == value, name
    assert settings.models == settings.folders.data / "models"
    assert set(settings.sources.values()) == {"default"}


def test_reading_creates_nothing(environ: dict[str, str]) -> None:
    load(environ=environ)
    assert not Path(environ["RUNNER_HOME"]).exists()


def test_a_key_is_not_printed_with_the_settings(environ: dict[str, str]) -> None:
    assert "s3cret" not in repr(load({"api_key": "s3cret"}, environ))


# -- precedence


@pytest.mark.parametrize("name", NAMES)
def test_flag_before_environment_before_file_before_default(name: str, environ: dict[str, str], file: Path) -> None:
    flag, variable, line, (from_flag, from_environment, from_file) = GIVEN[name]
    env_name = f"RUNNER_{name.upper()}"
    file.write_text(f"{name}: {line}\n")

    settings = load({name: flag}, environ | {env_name: variable})
    assert getattr(settings, name) == from_flag
    assert settings.sources[name] == f"flag --{name.replace('_', '-')}"

    settings = load({name: None}, environ | {env_name: variable})
    assert getattr(settings, name) == from_environment
    assert settings.sources[name] == f"environment {env_name}"

    settings = load({}, environ | {env_name: ""})
    assert getattr(settings, name) == from_file
    assert settings.sources[name] == f"file {file}"

    others = [other for other in NAMES if other != name]
    assert {settings.sources[other] for other in others} == {"default"}


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_line_in_the_file_is_not_given(name: str, environ: dict[str, str], file: Path) -> None:
    file.write_text(f"{name}:\n")
    settings = load(environ=environ)
    assert settings.sources[name] == "default"
    expected = DEFAULTS | {"models": settings.folders.data / "models"}
    assert getattr(settings, name) == expected[name]


# -- what is wrong is named, with where it came from

BAD = [
    ("host", "a:b:c", "host:port"),
    ("host", "localhost:65536", "65535"),
    ("host", "https://localhost", "host:port"),
    ("host", "a b", "host:port"),
    ("host", "[::1", "host:port"),
    ("models", "~nobody-by-this-name/models", "folder"),
    ("max_loaded_models", "-1", "0 to 64"),
    ("max_loaded_models", "65", "0 to 64"),
    ("max_loaded_models", "two", "whole number"),
    ("max_queue", "0", "from 1"),
    ("max_queue", "1.5", "whole number"),
    ("queue_timeout", "soon", "such as 5m"),
    ("keep_alive", "soon", "such as 5m"),
    ("keep_alive", "5 m", "such as 5m"),
    ("keep_alive", "--5m", "such as 5m"),
    ("keep_alive", "5m-", "such as 5m"),
    ("keep_alive", "nan", "such as 5m"),
    ("context_length", str(2**24 + 1), str(2**24)),
    ("context_length", "9" * 5000, "whole number"),
    ("num_parallel", "0", "1 to 256"),
    ("num_parallel", "257", "1 to 256"),
    ("num_parallel", "automatic", "whole number"),
    ("prefix_ram", "-1", "such as 512MB"),
    ("prefix_ram", "much", "such as 512MB"),
    ("prefix_disk", "1e9", "such as 512MB"),
    ("prefix_disk", "2000000TB", "at most"),
    ("stored_responses", "-1", "from 0"),
    ("stored_responses_size", "much", "such as 512MB"),
    ("request_log", "-1", "from 0 to 10000"),
    ("request_bodies", "some", "true or false"),
    ("load_timeout", "1w", "such as 5m"),
    ("image_urls", "http://x/", "host names"),
    ("image_urls", "10.0.0.1/8", "host names"),
    ("max_body", "1023", "from 1024"),
    ("autostart", "maybe", "true or false"),
    ("log_level", "loud", "debug, info, warning, error"),
    ("log_format", "xml", "json, text"),
    ("log_size", "much", "such as 512MB"),
    ("log_files", "1001", "from 0 to 1000"),
]
BAD_IN_FILE = [
    ("host", "[a, b]", "a text"),
    ("host", "true", "a text"),
    ("models", "{a: b}", "a text"),
    ("models", "[x]", "a text"),
    ("max_queue", "true", "whole number"),
    ("max_queue", "[1]", "whole number"),
    ("max_queue", "5.0", "whole number"),
    ("keep_alive", "true", "such as 5m"),
    ("keep_alive", ".nan", "NaN"),
    ("keep_alive", "1" * 400, "large"),
    ("keep_alive", "[5m]", "such as 5m"),
    ("api_key", "[a]", "a text"),
    ("api_key", "true", "a text"),
    ("origins", "{a: b}", "a text"),
    ("origins", "[[a]]", "a text"),
    ("allowed_hosts", "[a, true]", "a text"),
    ("aliases", "{a: [b]}", "a text"),
    ("aliases", "{a: b*}", "names and their models"),
    ("aliases", "[a=b, a=c]", "each name once"),
    ("autostart", "[true]", "true or false"),
    ("log_level", "[info]", "debug, info, warning, error"),
]


@pytest.mark.parametrize(("name", "value", "hint"), BAD)
@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_a_bad_value_is_named_with_its_source(
    name: str, value: str, hint: str, source: str, environ: dict[str, str], file: Path
) -> None:
    flags: dict[str, object] = {}
    if source == "flag":
        flags[name] = value
        where = f"flag --{name.replace('_', '-')}"
    elif source == "environment":
        environ[f"RUNNER_{name.upper()}"] = value
        where = f"environment RUNNER_{name.upper()}"
    else:
        file.write_text(f"{name}: '{value}'\n")
        where = f"file {file}"
    with pytest.raises(ConfigError) as caught:
        load(flags, environ)
    message = str(caught.value)
    assert message.startswith(f"{name} ({where}) takes ")
    assert hint in message


@pytest.mark.parametrize(("name", "value", "hint"), BAD_IN_FILE)
def test_a_value_of_the_wrong_kind_in_the_file(
    name: str, value: str, hint: str, environ: dict[str, str], file: Path
) -> None:
    file.write_text(f"{name}: {value}\n")
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    message = str(caught.value)
    assert message.startswith(f"{name} (file {file}) takes ")
    assert hint in message


@pytest.mark.parametrize("key", ["keepalive", "RUNNER_HOST", "Host", "1", "true", "folders"])
def test_an_unknown_key_in_the_file(key: str, environ: dict[str, str], file: Path) -> None:
    file.write_text(f"host: localhost\n{key}: x\n")
    with pytest.raises(ConfigError, match="is no setting of Runner") as caught:
        load(environ=environ)
    assert str(file) in str(caught.value)
    assert key.lower() in str(caught.value).lower()


@pytest.mark.parametrize("content", ["- a\n- b\n", "just words\n", "42\n"])
def test_a_file_that_holds_no_settings(content: str, environ: dict[str, str], file: Path) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match="must hold `name: value` lines") as caught:
        load(environ=environ)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "host: [\n",
        "a: b: c\n",
        "host: !!python/object:os.system x\n",
        "{[1]: 2}\n",
        "host: 2026-13-45\n",
        f"max_queue: {'9' * 5000}\n",
        f"host: {'[' * 5000}\n",
    ],
)
def test_a_file_that_is_no_yaml(content: str, environ: dict[str, str], file: Path) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match="is not YAML") as caught:
        load(environ=environ)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("host: localhost:1\nkeep_al\n\naliases: {a: b}\n", "line 2: could not find expected ':'"),
        ("host: localhost:1\nallowed_hosts: [a\naliases: {a: b}\n", "line 2: expected ',' or ']'"),
        ("host: localhost:1\naliases: {a: b}\nmax_queue: 'one\n", "line 3: found unexpected end of stream"),
        ("host: localhost:1\nlog_level: a: b\naliases: {a: b}\n", "line 2: mapping values are not allowed here"),
        ("host: localhost:1\naliases: {a: b}\nmax_queue: one\n", "takes a whole number"),
        ("host: localhost:1\naliases: {a: b}\nkeepalive: 1\n", "is no setting of Runner"),
    ],
)
def test_the_rest_of_a_file_can_be_used(content: str, said: str, environ: dict[str, str], file: Path) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load(environ=environ)
    found, problem = config.load_usable(environ=environ)
    assert problem == str(caught.value)
    assert "\n" not in problem
    assert found.host.port == 1
    assert found.max_queue == 512
    assert found.aliases == {"a": "b"}


def test_environment_and_flags_must_be_usable(environ: dict[str, str], file: Path) -> None:
    file.write_text("host: localhost\n")
    with pytest.raises(ConfigError, match="max_queue"):
        config.load_usable(environ=environ | {"RUNNER_MAX_QUEUE": "one"})
    with pytest.raises(ConfigError, match="flag --host"):
        config.load_usable({"host": ":99999"}, environ=environ)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file(content: str, environ: dict[str, str], file: Path) -> None:
    file.write_text(content)
    assert set(load(environ=environ).sources.values()) == {"default"}


def test_a_file_that_cannot_be_read(environ: dict[str, str], file: Path) -> None:
    file.write_bytes(b"host: \xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load(environ=environ)
    assert str(file) in str(caught.value)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load(environ=environ)


def test_a_refused_key_is_not_repeated(environ: dict[str, str], file: Path) -> None:
    file.write_text("api_key: [s3cret]\n")
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    assert "s3cret" not in str(caught.value)


def test_a_misspelt_variable_is_an_error(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"RUNNER_KEEPALIVE in the environment .* did you mean RUNNER_KEEP_ALIVE"):
        load(environ=environ | {"RUNNER_KEEPALIVE": "5m"})


def test_the_variables_of_github_machines_are_left_alone(environ: dict[str, str]) -> None:
    names = "OS ARCH NAME TEMP TOOL_CACHE ENVIRONMENT DEBUG TRACKING_ID WORKSPACE PERFLOG".split()
    assert load(environ=environ | {f"RUNNER_{name}": "x" for name in names}) == load(environ=environ)


# -- folders


def test_runner_home_puts_everything_under_one_folder(tmp_path: Path) -> None:
    found = config.folders({"RUNNER_HOME": str(tmp_path)})
    parts = dataclasses.astuple(found)
    assert len(set(parts)) == len(parts) == 5
    assert all(part.parent == tmp_path for part in parts)


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.folders({"RUNNER_HOME": "here"}).data == tmp_path / "here" / "data"


def test_a_home_that_is_no_path() -> None:
    with pytest.raises(ConfigError, match="RUNNER_HOME"):
        config.folders({"RUNNER_HOME": "~nobody-by-this-name/x"})


def test_without_runner_home_the_platform_decides() -> None:
    """Warnings are errors in tests: a machine without XDG_RUNTIME_DIR must not be scolded at each command."""
    found = config.folders({})
    dirs = platformdirs.PlatformDirs("runner", appauthor=False)
    assert found.data == dirs.user_data_path
    assert found.state == dirs.user_state_path
    assert found.cache == dirs.user_cache_path
    assert found.config == dirs.user_config_path
    assert found.runtime.name == "runner"


def test_no_safe_runtime_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> Path:
        raise PermissionError("/tmp/runtime-0 is a symlink")

    monkeypatch.setattr(platformdirs.PlatformDirs, "user_runtime_path", property(refuse))
    with pytest.raises(ConfigError, match="is a symlink; set RUNNER_HOME"):
        config.folders({})


def test_a_models_folder_of_its_own(tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert load({"models": "store"}, environ).models == tmp_path / "store"
    assert load({"models": "~/store"}, environ).models == tmp_path / "me" / "store"


# -- addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 11435),
        ("localhost:80", "localhost", 80),
        (":80", "127.0.0.1", 80),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("0.0.0.0", "0.0.0.0", 11435),
        ("[::1]", "::1", 11435),
        ("[::1]:80", "::1", 80),
        ("http://box.lan:8080/", "box.lan", 8080),
        (" 10.0.0.7:65535 ", "10.0.0.7", 65535),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert (address.host, address.port) == (host, port)
    assert parse_address(str(address)) == address
    assert parse_address(address.url) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "http://",
        "::1",
        "a/b",
        "a:",
        "a:x",
        "a:-1",
        "a:99999",
        "a:123456",
        "[a]:1",
        "1.2.3",
        "1.2.3:80",
        "11435",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="takes "):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
    ],
)
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    assert Address(host, 1).is_loopback is loopback


# -- durations


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("100ms", 0.1),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("9ns", 9e-9),
        ("300", 300.0),
        ("2.5", 2.5),
        ("+5m", 300.0),
        (" 5m ", 300.0),
        ("0", 0.0),
        ("0s", 0.0),
        (0, 0.0),
        (90, 90.0),
        (0.25, 0.25),
        ("-1", math.inf),
        ("-5m", math.inf),
        (-1, math.inf),
        (-0.5, math.inf),
        (math.inf, math.inf),
    ],
)
def test_durations(given_: object, seconds: float) -> None:
    assert parse_duration(given_) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "m", None, True, [], "5x", "1h 30m", "5mm5", "1e3s", "+-5m", "-", math.nan, 10**400], ids=repr
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="takes seconds or a duration"):
        parse_duration(value)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_add_up(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"
    assert parse_duration(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.text())))
def test_any_value_is_read_or_refused(value: object) -> None:
    """Whatever a file may hold, a setting's reader answers with a value or with ValueError and its reason."""
    for setting in SETTINGS:
        try:
            setting.read(value)
        except ValueError as error:
            assert str(error).startswith("takes "), setting.name  # noqa: PT017 -- most values are fine
