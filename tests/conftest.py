"""What every test stands on: folders of its own, and none of the user's.

Knows nothing of what is tested; the helpers of each floor lie beside its tests.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is the machine's affair: speeds belong into benchmarks.
settings.register_profile("runner", deadline=None)
settings.load_profile("runner")

# Settings of the user's own tools: they would send a test to another server, cache or account.
FOREIGN_PREFIXES = ("RUNNER_", "HF_", "HUGGING", "OLLAMA_", "OPENAI_", "ANTHROPIC_", "XDG_", "LLAMA_", "GGML_")
FOREIGN_NAMES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")

_session_folder: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Hide the user's home before any test module is imported: some libraries read it on import."""
    global _session_folder
    _session_folder = Path(tempfile.mkdtemp(prefix="runner-tests-"))
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES:
            del os.environ[name]
    for name in ("NO_PROXY", "no_proxy"):  # a user's proxy must not see what is meant for loopback
        os.environ[name] = "localhost,127.0.0.1,::1"
    _point_home_at(_session_folder, os.environ.__setitem__)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's folder."""
    if _session_folder is not None:
        shutil.rmtree(_session_folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def runner_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A RUNNER_HOME and a HOME for this test alone; neither folder exists yet."""
    return _point_home_at(tmp_path, monkeypatch.setenv)


def _point_home_at(folder: Path, set_variable: Callable[[str, str], None]) -> Path:
    for name in ("HOME", "USERPROFILE"):
        set_variable(name, str(folder / "home"))
    set_variable("RUNNER_HOME", str(folder / "runner-home"))
    return folder / "runner-home"
