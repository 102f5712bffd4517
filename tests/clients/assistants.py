"""What a coding assistant needs to be tried with the demo model: room for its prompt, a call to make, a repository.

The demo's context is 4,096 tokens and the prompts of assistants are longer. So its weights are also offered under a
header that says 32,768 (`roomy`: the text means nothing, the protocol is whole), and under a template that shows the
model one tool and one request in place of the client's pages (`caller`: it makes a call, and answers its result).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.clients.asked import QUESTION
from tests.clients.environments import own_environment

CONTEXT = 32768
GREETING = 'def greet():\n    print("hello")\n'
_LIMIT = 300.0
_UINT32 = 4  # GGUF's number of that type


@dataclass(frozen=True, slots=True)
class Ran:
    status: int
    out: str
    err: str

    def lines(self) -> list[dict[str, object]]:
        """Standard output as JSON, one object a line; what isn't JSON is left out."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


def run(command: Sequence[str], repository: Path, **environment: str) -> Ran:
    """A command in the repository, with a home of its own beside it."""
    home = repository.with_name("home")
    home.mkdir(exist_ok=True)
    ran = subprocess.run(
        command,
        cwd=repository,
        env=own_environment(home, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def repository(folder: Path) -> Path:
    """A git repository with one file, hello.py."""
    made = folder / "repository"
    made.mkdir()
    (made / "hello.py").write_text(GREETING, encoding="utf-8")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "Greet")):
        subprocess.run(["git", *who, *words], cwd=made, env=own_environment(folder), check=True)
    return made


def roomy_gguf(folder: Path) -> Path:
    """The demo's weights with another context length in their header."""
    data = bytearray(Path(demo_gguf()).read_bytes())
    key = b"llama.context_length"
    start = data.index(key) + len(key)
    assert int.from_bytes(data[start : start + 4], "little") == _UINT32
    data[start + 4 : start + 8] = CONTEXT.to_bytes(4, "little")
    path = folder / "roomy.gguf"
    path.write_bytes(data)
    return path


def create_roomy(daemon: Daemon, weights: Path) -> str:
    """A model that takes 32,768 tokens and says at most 100 unless a client asks for more."""
    parameters = f"PARAMETER temperature 0\nPARAMETER num_ctx {CONTEXT}\nPARAMETER num_predict 100\n"
    return _create(daemon, "roomy", f"FROM {weights}\n{parameters}")


def create_caller(daemon: Daemon, weights: Path, tool: str, parameter: str) -> str:
    """A model that calls `tool` to run `ls`, and when there is a result answers the one question that all are asked."""
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    offer = {"name": tool, "description": "Run a shell command", "parameters": schema}
    template = f"""
{{#- calls are asked for as <tool_call> {{"name": …, "arguments": …}} </tool_call>, whatever tools are offered #}}
{{%- if tools and messages[-1].role != "tool" -%}}
<|im_start|>system
# Tools
<tools>
{json.dumps({"type": "function", "function": offer})}
</tools><|im_end|>
<|im_start|>user
Run the command ls<|im_end|>
{{% else -%}}
<|im_start|>user
{QUESTION}<|im_end|>
{{% endif -%}}
<|im_start|>assistant
"""
    stops = "".join(f'PARAMETER stop "{mark}"\n' for mark in ("<|im_start|>", "<|im_end|>"))
    parameters = f"PARAMETER temperature 0\nPARAMETER num_ctx {CONTEXT}\n{stops}"
    return _create(daemon, f"caller-{tool}".lower(), f'FROM {weights}\nTEMPLATE """{template}"""\n{parameters}')


def _create(daemon: Daemon, name: str, modelfile: str) -> str:
    answer = daemon.post("/api/create", {"model": name, "modelfile": modelfile, "stream": False})
    assert answer == {"status": "success"}, answer
    return name
