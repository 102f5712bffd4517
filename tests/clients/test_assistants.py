"""Coding assistants on a scratch repository, against a real daemon. Run by hand: `-m assistants`.

What they are asked to do is beyond the demo model; assistants.py says how it is helped, and docs/clients.md repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.daemon import Daemon
from tests.clients import assistants, environments
from tests.clients.asked import MISSING, QUESTION, Reference

pytestmark = pytest.mark.assistants


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for models' files."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def roomy(daemon: Daemon, weights: Path) -> str:
    """Ends by itself, at the first blank: what it says means nothing, and would go on for long."""
    return assistants.create_roomy(daemon, weights, 'PARAMETER stop " "\nPARAMETER stop "\\n"\n')


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return assistants.repository(tmp_path)


@pytest.fixture(scope="module")
def installed(environments_cache: Path) -> Callable[[str, str], Path]:
    """The folder of a client's environment, by language and client."""

    def find(language: str, client: str) -> Path:
        made = environments.node_environment if language == "node" else environments.python_environment
        try:
            return made(environments_cache, client)
        except environments.CannotInstall as error:
            pytest.skip(f"{client} can't be had here: {error}")

    return find


class TestAider:
    """Over LiteLLM's openai provider. The edit block is the only choice that the answer has: it can't write one."""

    EDIT = """hello.py
```python
<<<<<<< SEARCH
    print("hello")
=======
    print("hello, Runner")
>>>>>>> REPLACE
```
"""

    def run(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, model: str) -> str:
        settings = repository.with_name("settings.yml")
        extra = {"max_tokens": 200, "extra_body": {"guided_choice": [self.EDIT]}}
        settings.write_text(
            json.dumps(
                [{"name": f"openai/{model}", "edit_format": "diff", "use_repo_map": False, "extra_params": extra}]
            )
        )
        interpreter = installed("python", "aider") / "bin" / "python"
        quiet = (
            "check-update show-release-notes show-model-warnings pretty gitignore suggest-shell-commands detect-urls"
        )
        ran = assistants.run(
            [
                *(str(interpreter), "-m", "aider", "--model", f"openai/{model}", "--weak-model", f"openai/{model}"),
                *("--model-settings-file", str(settings), "--yes-always", "--analytics-disable", "--no-auto-commits"),
                *(f"--no-{word}" for word in quiet.split()),
                *("--message", "Greet Runner.", "hello.py"),
            ],
            repository,
            OPENAI_API_BASE=f"{daemon.url}/v1",
            OPENAI_API_KEY="unused",
        )
        assert ran.status == 0, ran.err
        return ran.out

    def test_an_edit(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, weights: Path
    ) -> None:
        model = assistants.create_roomy(daemon, weights)
        assert "Applied edit to hello.py" in self.run(installed, daemon, repository, model)
        assert (repository / "hello.py").read_text() == assistants.GREETING.replace("hello", "hello, Runner")

    def test_an_unknown_model(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path) -> None:
        said = self.run(installed, daemon, repository, MISSING)
        assert f'model "{MISSING}" not found' in " ".join(said.split())
        assert (repository / "hello.py").read_text() == assistants.GREETING


class TestOpenCode:
    """Over @ai-sdk/openai-compatible, which it carries; always with its tools."""

    def run(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, model: str
    ) -> list[dict[str, Any]]:
        # Of the builds for this machine the plain one; the other is for processors without AVX2.
        program = min(installed("node", "opencode").glob("node_modules/opencode-*-*/bin/opencode"))
        known = {model: {"name": model, "limit": {"context": assistants.CONTEXT, "output": 100}}}
        there = {"baseURL": f"{daemon.url}/v1", "apiKey": "unused"}
        provider = {"npm": "@ai-sdk/openai-compatible", "name": "Runner", "options": there, "models": known}
        name = f"runner/{model}"
        settings = {"model": name, "small_model": name, "autoupdate": False, "provider": {"runner": provider}}
        ran = assistants.run(
            [str(program), "run", "--pure", "--auto", "--format", "json", QUESTION],
            repository,
            OPENCODE_CONFIG_CONTENT=json.dumps(settings),
            OPENCODE_DISABLE_AUTOUPDATE="1",
            OPENCODE_DISABLE_MODELS_FETCH="1",
            OPENCODE_DISABLE_LSP_DOWNLOAD="1",
        )
        return ran.lines()

    def test_a_turn(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, roomy: str) -> None:
        events = self.run(installed, daemon, repository, roomy)
        assert "error" not in {event["type"] for event in events}, events
        assert events[-1]["part"]["tokens"]["input"] > 4096

    def test_a_call(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, weights: Path,
        reference: Reference,
    ) -> None:  # fmt: skip
        model = assistants.create_caller(daemon, weights, "bash", "command")
        events = self.run(installed, daemon, repository, model)
        (call,) = (event["part"] for event in events if event["type"] == "tool_use")
        assert call["tool"] == "bash"
        assert call["state"]["status"] == "completed", call
        assert "hello.py" in call["state"]["output"]
        assert [event["part"]["text"] for event in events if event["type"] == "text"] == [reference.text]

    def test_an_unknown_model(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path) -> None:
        (error,) = (event["error"] for event in self.run(installed, daemon, repository, MISSING))
        assert error["data"]["statusCode"] == 404
        assert MISSING in error["data"]["message"]


class TestCodex:
    """Over the responses API."""

    def run(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, model: str
    ) -> list[dict[str, Any]]:
        program = installed("node", "codex") / "node_modules" / ".bin" / "codex"
        provider = f'{{name = "Runner", base_url = "{daemon.url}/v1", wire_api = "responses"}}'
        ran = assistants.run(
            [
                *("node", str(program), "exec", "--json", "--sandbox", "read-only", "--model", model),
                *("--config", "model_provider=runner", "--config", f"model_providers.runner={provider}", QUESTION),
            ],
            repository,
        )
        return ran.lines()

    def test_a_turn(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, roomy: str) -> None:
        events = self.run(installed, daemon, repository, roomy)
        assert events[-1]["type"] == "turn.completed", events
        assert events[-1]["usage"]["input_tokens"] > 4096

    def test_a_call(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, weights: Path,
        reference: Reference,
    ) -> None:  # fmt: skip
        model = assistants.create_caller(daemon, weights, "exec_command", "cmd")
        events = self.run(installed, daemon, repository, model)
        items = {event["item"]["type"]: event["item"] for event in events if event["type"] == "item.completed"}
        assert "hello.py" in items["command_execution"]["aggregated_output"], events
        assert items["agent_message"]["text"] == reference.text

    def test_an_unknown_model(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path) -> None:
        events = self.run(installed, daemon, repository, MISSING)
        assert events[-1]["type"] == "turn.failed"
        assert MISSING in events[-1]["error"]["message"]


class TestContinue:
    """Its command line, with its Ollama provider."""

    def run(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, model: str
    ) -> assistants.Ran:
        program = installed("node", "continue") / "node_modules" / ".bin" / "cn"
        there = {"name": model, "provider": "ollama", "model": model, "apiBase": daemon.url, "roles": ["chat"]}
        bounds = {"maxTokens": 100, "contextLength": assistants.CONTEXT}
        settings = repository.with_name("config.yaml")
        settings.write_text(
            json.dumps(
                {
                    "name": "local",
                    "version": "1.0.0",
                    "schema": "v1",
                    "models": [there | {"defaultCompletionOptions": bounds}],
                }
            )
        )
        return assistants.run(
            ["node", str(program), "--config", str(settings), "--auto", "--print", QUESTION],
            repository,
            CONTINUE_TELEMETRY_ENABLED="0",
        )

    def test_a_turn(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, roomy: str) -> None:
        ran = self.run(installed, daemon, repository, roomy)
        assert ran.status == 0, ran
        assert ran.out.strip()

    def test_a_call(
        self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path, weights: Path,
        reference: Reference,
    ) -> None:  # fmt: skip
        model = assistants.create_caller(daemon, weights, "Bash", "command")
        ran = self.run(installed, daemon, repository, model)
        assert reference.text in ran.out, ran

    def test_an_unknown_model(self, installed: Callable[[str, str], Path], daemon: Daemon, repository: Path) -> None:
        ran = self.run(installed, daemon, repository, MISSING)
        assert ran.status != 0
        assert MISSING in ran.out + ran.err
