"""The process boundary as an import boundary: a native crash can't take the daemon, for it never loads native code."""

import subprocess
import sys

import pytest

LOADED_AFTER = "import sys, {module}; print(*sys.modules, sep='\\n')"
ENGINE_ONLY = ("llama_cpp", "llguidance", "runner.engine", "runner.llama")
# What the command line must not pay for before it knows that it needs it.
HEAVY = ("aiohttp", "asyncio", "huggingface_hub", "httpx2", "jinja2", "msgspec", "numpy", "prompt_toolkit", "yaml")


def loaded_after(module: str) -> set[str]:
    """The modules that a fresh interpreter holds once it has imported this one."""
    script = LOADED_AFTER.format(module=module)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def within(modules: set[str], packages: tuple[str, ...]) -> set[str]:
    return {
        name for name in modules if name.startswith(tuple(package + "." for package in packages)) or name in packages
    }


def test_the_probe_sees_a_boundary_that_is_crossed() -> None:
    assert "runner.llama" in within(loaded_after("runner.llama"), ENGINE_ONLY)


@pytest.mark.parametrize("module", ["runner.daemon.__main__", "runner.cli.main"])
def test_never_loads_the_engine(module: str) -> None:
    assert within(loaded_after(module), ENGINE_ONLY) == set()


def test_the_command_line_starts_light() -> None:
    assert within(loaded_after("runner.cli.main"), HEAVY) == set()
