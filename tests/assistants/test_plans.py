"""Every assistant: in an empty home as the golden files show it, and in a home that somebody keeps."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import runner.assistants
from runner.assistants import jsonc
from runner.assistants.acting import restore
from runner.assistants.errors import Changed, Clash, Unknown, Unreadable
from runner.assistants.fill import Target
from runner.assistants.knowledge import Assistant, load, names
from tests.assistants import golden
from tests.assistants.homes import AIDER, CODEX, CONTINUE, KEPT, KEYED, TARGET, applied, kept, ledger, machine, planned

OTHER = Target("gpt-oss:20b", TARGET.url, 8192, 2048)


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file of a home but Runner's own."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and "state" not in path.relative_to(home).parts
    }


def data(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    return yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else jsonc.parse(text)


@pytest.mark.parametrize("name", names())
def test_what_is_known_says_where_it_is_from(name: str) -> None:
    text = (Path(runner.assistants.__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Facts: ")
    assistant = load(name)
    assert bool(assistant.verified) != bool(assistant.unverified), "it was run, or it says that it wasn't"
    assert msgspec.convert(yaml.safe_load(text), Assistant) == assistant
    for file in assistant.files:
        assert isinstance(file.path, list) or {"linux", "macos", "windows"} == set(file.path)


@pytest.mark.parametrize("name", names())
def test_an_empty_home(name: str, tmp_path: Path) -> None:
    assert golden.picture(name, tmp_path) == (golden.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert snapshot(tmp_path) == {}, "a plan writes nothing"


@pytest.mark.parametrize("name", names())
def test_the_key_is_in_no_command_and_in_no_open_file(name: str, tmp_path: Path) -> None:
    assert KEYED.key
    for config in (True, False):
        plan = applied(tmp_path, name, KEYED, config=config)
        assert KEYED.key not in " ".join(plan.argv)
        for variable, value in plan.environment.items():
            assert (KEYED.key in value) == (variable in plan.secrets)
        for write in plan.writes:
            if KEYED.key.encode() in write.after:
                assert stat.S_IMODE(write.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", names())
def test_it_is_told_the_context_that_runner_serves(name: str, tmp_path: Path) -> None:
    """The context as a whole, or what of it is for the prompt."""
    plan = planned(tmp_path, name, config=False)
    told = json.dumps([plan.environment, [write.after.decode() for write in plan.writes]])
    numbers = set(re.findall(r"\d+", told))
    assert "qwen3:8b" in told
    assert "8192" in numbers or name == "codex", "Codex sets no limit to answers"
    assert numbers & {"40960", str(40960 - 8192)} or name == "droid", "Droid can't be told"


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_home_that_somebody_keeps(name: str, tmp_path: Path) -> None:
    files = kept(tmp_path, name)
    before = snapshot(tmp_path)
    applied(tmp_path, name)
    once = snapshot(tmp_path)
    assert once != before
    for path, content in files.items():
        text, was = path.read_text(encoding="utf-8"), content.decode()
        for comment in re.findall(r"(?<![:\"])(?://|/\*|#)[^\n]*", was):
            assert comment.strip() in text
        assert data(path) != (jsonc.parse(was) if path.suffix.startswith(".json") else None)
    applied(tmp_path, name)
    assert snapshot(tmp_path) == once, "twice is as once"
    applied(tmp_path, name, OTHER)
    assert {each.how for each in restore(ledger(tmp_path, name))} <= {"exact", "removed"}
    assert snapshot(tmp_path) == before
    assert restore(ledger(tmp_path, name)) == []


@pytest.mark.parametrize("name", sorted(KEPT))
def test_what_a_launch_adds_leaves_all_else_as_it_is(name: str, tmp_path: Path) -> None:
    files = kept(tmp_path, name)
    applied(tmp_path, name, config=False)
    for path, content in files.items():
        rows = path.read_text(encoding="utf-8").splitlines()
        missing = [row for row in content.decode().splitlines() if not any(row.rstrip(",") in each for each in rows)]
        assert [row for row in missing if '"customModels"' not in row and '"modelProviders"' not in row] == []


def test_what_an_assistant_makes_of_a_file_of_runners_own_is_nothing_to_keep(tmp_path: Path) -> None:
    """Cline writes to the settings that it is given; its own aren't touched."""
    files = kept(tmp_path, "cline")
    plan = applied(tmp_path, "cline", config=False)
    own = Path(plan.environment["CLINE_PROVIDER_SETTINGS_PATH"])
    (provider,) = data(own)["providers"].values()
    assert provider["settings"]["baseUrl"] == f"{TARGET.url}/v1"
    assert data(own.with_name("models.json"))["providers"]["openai-compatible"]["models"].keys() == {TARGET.model}
    own.write_text(own.read_text().replace("manual", "theirs"))
    assert {each.how for each in restore(ledger(tmp_path, "cline"))} == {"removed"}
    assert not own.exists()
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.parametrize("name", sorted(KEPT))
def test_what_was_changed_meanwhile_stays(name: str, tmp_path: Path) -> None:
    files = kept(tmp_path, name)
    was = {path: data(path) for path in files}
    applied(tmp_path, name)
    for path in files:
        text = path.read_text(encoding="utf-8")
        comment = "\n# later\n" if path.suffix in (".toml", ".yaml", ".yml") else "\n// later\n"
        path.write_text(text + comment, encoding="utf-8")
    changed = snapshot(tmp_path)
    with pytest.raises(Changed, match="--force"):
        restore(ledger(tmp_path, name))
    assert snapshot(tmp_path) == changed
    restore(ledger(tmp_path, name), force=True)
    for path in files:
        assert path.read_text(encoding="utf-8").rstrip().endswith("later")
        assert data(path) == was[path]


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_change_between_two_launches_is_part_of_what_is_put_back(name: str, tmp_path: Path) -> None:
    files = kept(tmp_path, name)
    was = {path: data(path) for path in files}
    applied(tmp_path, name)
    for path in files:
        mark = "\n# later\n" if path.suffix in (".toml", ".yaml", ".yml") else "\n// later\n"
        path.write_text(path.read_text(encoding="utf-8") + mark, encoding="utf-8")
    applied(tmp_path, name, OTHER)
    restore(ledger(tmp_path, name))
    for path in files:
        assert path.read_text(encoding="utf-8").rstrip().endswith("later")
        assert data(path) == was[path]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("opencode", '{\n  "model": "x"\n  "theme": 1\n}', "opencode.jsonc: line 3: a comma or '}' is missing"),
        ("claude", '{"env": []}', "settings.json: holds a list where a mapping with"),
        ("continue", "name: x\nmodels: [\n", "config.yaml: line 3:"),
        ("continue", "models: {a: 1}\n", "config.yaml: holds a mapping where a list with"),
        ("codex", 'model = "x"\nmodel = \n', "runner.config.toml: line 2:"),
        ("vscode", "{}", "chatLanguageModels.json: holds a mapping where a list"),
    ],
)
def test_a_file_that_cannot_be_edited_is_named_and_left(name: str, text: str, words: str, tmp_path: Path) -> None:
    (path,) = kept(tmp_path, name)
    path.write_text(text, encoding="utf-8")
    before = snapshot(tmp_path)
    with pytest.raises((Unreadable, Clash), match=re.escape(words)):
        applied(tmp_path, name)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "state").exists()


def test_links_are_followed_and_modes_kept(tmp_path: Path) -> None:
    (path,) = kept(tmp_path, "claude")
    real = tmp_path / "dotfiles" / "claude.json"
    real.parent.mkdir()
    path.rename(real)
    path.symlink_to(real)
    real.chmod(0o640)
    applied(tmp_path, "claude")
    assert path.is_symlink()
    assert "ANTHROPIC_BASE_URL" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    restore(ledger(tmp_path, "claude"))
    applied(tmp_path, "claude", KEYED)
    assert stat.S_IMODE(real.stat().st_mode) == 0o600, "there is a key in it"
    restore(ledger(tmp_path, "claude"))
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_value_that_was_set_after_runner_stays(tmp_path: Path) -> None:
    """With --force, and in the backup of a second --config."""
    path = tmp_path / ".aider.conf.yml"
    sample = "# a sample of all that can be set\n#model: x\n"
    path.write_text(sample, encoding="utf-8")
    applied(tmp_path, "aider")
    path.write_text(path.read_text().replace("weak-model: openai/qwen3:8b", "weak-model: gpt-4o"), encoding="utf-8")
    changed = path.read_bytes()
    restore(ledger(tmp_path, "aider"), force=True)
    assert path.read_text() == sample + "weak-model: gpt-4o\n"
    path.write_text(sample, encoding="utf-8")
    applied(tmp_path, "aider")
    path.write_bytes(changed)
    applied(tmp_path, "aider", OTHER)
    assert restore(ledger(tmp_path, "aider"))[-2].how == "exact"
    assert path.read_text() == sample + "weak-model: gpt-4o\n"


def test_backups_are_few(tmp_path: Path) -> None:
    (path,) = kept(tmp_path, "aider")
    for number in range(9):
        path.write_text(f"dark-mode: true # {number}\n", encoding="utf-8")
        applied(tmp_path, "aider")
    folder = machine(tmp_path).state / "aider" / "backups"
    assert len(list(folder.iterdir())) == 5
    restore(ledger(tmp_path, "aider"))
    assert path.read_text() == "dark-mode: true # 8\n"


def test_a_file_that_would_hide_another_is_not_made(tmp_path: Path) -> None:
    old = tmp_path / ".continue" / "config.json"
    old.parent.mkdir()
    old.write_text("{}")
    with pytest.raises(Clash, match=r"would no longer read .*config\.json"):
        planned(tmp_path, "continue")


def test_folders_come_from_the_environment_and_the_system(tmp_path: Path) -> None:
    there = machine(tmp_path, CODEX_HOME="/elsewhere", XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    assert there.paths(load("codex").files[0].path) == (Path("/elsewhere/runner.config.toml"),)
    assert there.paths(load("opencode").files[0].path)[0] == tmp_path / "xdg" / "opencode" / "opencode.jsonc"
    on_mac = machine(tmp_path, "macos").paths(load("vscode").files[0].path)
    assert on_mac == (tmp_path / "Library/Application Support/Code/User/chatLanguageModels.json",)


def test_a_proxy_is_gone_past(tmp_path: Path) -> None:
    from runner.assistants.acting import read
    from runner.assistants.plan import plan

    there = machine(tmp_path, HTTPS_PROXY="http://proxy:3128", NO_PROXY="intranet")
    found = plan(load("goose"), TARGET, there, read, ledger(tmp_path, "goose").read())
    assert found.environment["NO_PROXY"] == found.environment["no_proxy"] == "intranet,127.0.0.1"
    assert "NO_PROXY" not in planned(tmp_path, "goose").environment


def test_a_name_that_is_nearly_right() -> None:
    with pytest.raises(Unknown, match="did you mean codex"):
        load("codx")


def test_the_texts_that_come_of_it(tmp_path: Path) -> None:
    """To be read: our lines stand where a person would have put them."""
    kept(tmp_path, "continue")
    kept(tmp_path, "codex")
    kept(tmp_path, "aider")
    small = Target("m", "http://h", 8, 2)
    for name in ("continue", "codex", "aider"):
        applied(tmp_path, name, small)
    ours = """  - name: Runner
    provider: ollama
    model: m
    apiBase: http://h
    roles:
    - chat
    - edit
    - apply
    capabilities:
    - tool_use
    defaultCompletionOptions:
      contextLength: 8
      maxTokens: 2
"""
    first = "  - name: Large\n"
    assert (tmp_path / ".continue/config.yaml").read_text() == CONTINUE.replace(first, ours + first)
    assert (tmp_path / ".aider.conf.yml").read_text() == AIDER.replace("model: sonnet", "model: openai/m") + (
        "weak-model: openai/m\nopenai-api-base: http://h/v1\nopenai-api-key: runner\n"
    )
    top = 'model = "m"\nmodel_provider = "runner"\nmodel_context_window = 8\n'
    provider = '[model_providers.runner]\nname = "Runner"\nbase_url = "http://h/v1"\nwire_api = "responses"\n'
    text = (tmp_path / ".codex/runner.config.toml").read_text()
    assert text.replace("\n\n", "\n") == CODEX.replace("\n\n", f"\n{top}", 1).replace("\n\n", "\n") + provider
