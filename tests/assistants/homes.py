"""Homes that assistants find: an empty one, and ones whose files somebody keeps with comments and other providers."""

from __future__ import annotations

from pathlib import Path

from runner.assistants.acting import carry_out, read
from runner.assistants.fill import Target
from runner.assistants.knowledge import load
from runner.assistants.ledger import Ledger
from runner.assistants.paths import Machine
from runner.assistants.plan import Plan, plan

MODEL = "qwen3:8b"
TARGET = Target(MODEL, "http://127.0.0.1:11435", 40960, 8192, thinking=True)
KEYED = Target(MODEL, "http://127.0.0.1:11435", 40960, 8192, "s3cret-of-mine", thinking=True)

OPENCODE = """{
  "$schema": "https://opencode.ai/config.json",
  // mine
  "theme": "tokyonight", /* dark */
  "provider": {
    "other": {"npm": "@ai-sdk/anthropic", "models": {}}, // another provider
  },
  "model": "other/large", // for work
}
"""
CLAUDE = """{
    "permissions": {"allow": ["Bash(ls:*)"]},
    "env": {
        "EDITOR": "vi",
        "ANTHROPIC_MODEL": "opus"
    },
    "theme": "dark"
}"""
CONTINUE = """# my assistants
name: Mine   # shown in the panel
version: 0.0.1
schema: v1

models:
  # the large one
  - name: Large
    provider: anthropic
    model: claude
    apiKey: ${{ secrets.KEY }}   # kept elsewhere

  - name: Small
    provider: ollama
    model: qwen2.5-coder:1.5b
    roles: [autocomplete]

# what it may know
rules:
  - Be brief
  - |
    Say why,
    not what.
"""
CODEX = """# tuned by hand
model_reasoning_effort = "high"   # slow and good

[model_providers.elsewhere]
name = "Elsewhere" # for work
base_url = "https://example.org/v1"
"""
AIDER = """## as I like it
dark-mode: true
model: sonnet      # for now
read: [CONVENTIONS.md]
"""
ZED = """// Zed settings
//
// For information see the documentation
{
  "telemetry": { "metrics": false },
  "language_models": {
    "ollama": { "api_url": "http://elsewhere:11434" },
  },
  "agent": {
    "default_model": { "provider": "zed.dev", "model": "claude-sonnet-4" }, // paid
    "dock": "right"
  },
  "buffer_font_size": 15
}
"""
VSCODE = """[
\t{
\t\t"name": "Work",
\t\t"vendor": "customendpoint",
\t\t"apiKey": "${input:chat.lm.secret.1}",
\t\t"models": []
\t}
]
"""
CLINE = """{
  "version": 1,
  "lastUsedProvider": "openai-compatible",
  "modes": {},
  "providers": {
    "anthropic": {"settings": {"provider": "anthropic", "apiKey": "sk-x"}, "updatedAt": "2026-03-01T10:00:00.000Z"},
    "openai-compatible": {
      "settings": {
        "provider": "openai-compatible",
        "apiKey": "mine",
        "model": "gpt-oss",
        "baseUrl": "https://example.org/v1"
      },
      "updatedAt": "2026-03-01T10:00:00.000Z",
      "tokenSource": "manual"
    }
  }
}
"""
QWEN = """{
  "$version": 4,
  "modelProviders": {"openai": [{"id": "qwen3-coder-plus", "envKey": "DASHSCOPE_API_KEY"}]},
  "security": {"auth": {"selectedType": "qwen-oauth"}}, // free
  "ui": {"theme": "GitHub"}
}
"""
DROID = '{"customModels":[{"model":"gpt","displayName":"GPT","provider":"openai"}],"sound":false}'

KEPT: dict[str, dict[str, str]] = {
    "opencode": {".config/opencode/opencode.jsonc": OPENCODE},
    "claude": {".claude/settings.json": CLAUDE},
    "continue": {".continue/config.yaml": CONTINUE},
    "codex": {".codex/runner.config.toml": CODEX},
    "aider": {".aider.conf.yml": AIDER},
    "zed": {".config/zed/settings.json": ZED},
    "vscode": {".config/Code/User/chatLanguageModels.json": VSCODE},
    "cline": {".cline/data/settings/providers.json": CLINE},
    "qwen": {".qwen/settings.json": QWEN},
    "droid": {".factory/settings.json": DROID},
}
"""By assistant, its files below the home."""


def machine(home: Path, system: str = "linux", **environ: str) -> Machine:
    """A machine with nothing on PATH."""
    return Machine(system, home, {"PATH": str(home / "bin"), **environ}, home / "state" / "launch")


def ledger(home: Path, name: str) -> Ledger:
    return Ledger(machine(home).state / name)


def planned(home: Path, name: str, target: Target = TARGET, *, config: bool = True) -> Plan:
    return plan(load(name), target, machine(home), read, ledger(home, name).read(), config=config)


def applied(home: Path, name: str, target: Target = TARGET, *, config: bool = True) -> Plan:
    """Plan it and carry it out."""
    found = planned(home, name, target, config=config)
    carry_out(found.writes, ledger(home, name), target.model, config)
    return found


def kept(home: Path, name: str) -> dict[Path, bytes]:
    """Fill the home with what somebody keeps there; the files and their bytes."""
    files = {home / path: text.encode() for path, text in KEPT[name].items()}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return files
