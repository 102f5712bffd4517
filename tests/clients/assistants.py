"""What a coding assistant needs to be tried with the demo model: room for its prompt, a call to make, a repository.

The demo's context is 4,096 tokens and the prompts of assistants are longer. So its weights are also offered under a
header that says 32,768 (`roomy`: the text means nothing, the protocol is whole), and with a chat template that shows
the model one tool and one request in place of the client's pages (`caller`: it makes a call, and answers its result).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.clients.asked import QUESTION
from tests.clients.environments import own_environment

CONTEXT = 32768
GREETING = 'def greet():\n    print("hello")\n'
_LIMIT = 180.0  # seconds; 11,000 tokens of prompt take half a minute on two busy cores
_UINT32, _STRING = 4, 8  # GGUF's numbers of these types
_BOUNDARY = 32  # where tensors may begin, as no header says otherwise here


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
    started = subprocess.Popen(
        command,
        cwd=repository,
        env=own_environment(home, **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = started.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # its children too: they hold the pipes
        out, err = started.communicate()
        raise AssertionError(f"{command} did not end:\n{out[-2000:]}\n{err[-2000:]}") from None
    return Ran(started.returncode, out, err)


def repository(folder: Path) -> Path:
    """A git repository with one file, hello.py."""
    made = folder / "repository"
    made.mkdir()
    (made / "hello.py").write_text(GREETING, encoding="utf-8")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "Greet")):
        subprocess.run(["git", *who, *words], cwd=made, env=own_environment(folder), check=True)
    return made


def create_roomy(daemon: Daemon, folder: Path, parameters: str = "") -> str:
    """A model that takes 32,768 tokens. `parameters` are lines of its Modelfile."""
    weights = folder / "roomy.gguf"
    weights.write_bytes(_with_context(Path(demo_gguf()).read_bytes()))
    modelfile = f"FROM {weights}\nPARAMETER temperature 0\nPARAMETER num_ctx {CONTEXT}\n{parameters}"
    return _create(daemon, "roomy-brief" if parameters else "roomy", modelfile)


def create_caller(daemon: Daemon, folder: Path, tool: str, parameter: str) -> str:
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
<|im_start|>assistant{{{{ "\\n" }}}}"""
    weights = folder / f"{tool}.gguf"
    weights.write_bytes(_with_template(_with_context(Path(demo_gguf()).read_bytes()), template))
    stops = "".join(f'PARAMETER stop "{mark}"\n' for mark in ("<|im_start|>", "<|im_end|>"))
    parameters = f"PARAMETER temperature 0\nPARAMETER num_ctx {CONTEXT}\n{stops}"
    return _create(daemon, f"caller-{tool}".lower(), f"FROM {weights}\n{parameters}")


def _create(daemon: Daemon, name: str, modelfile: str) -> str:
    answer = daemon.post("/api/create", {"model": name, "modelfile": modelfile, "stream": False})
    assert answer == {"status": "success"}, answer
    return name


def _with_context(data: bytes) -> bytes:
    """A GGUF with another context length."""
    start = _value_of(data, b"llama.context_length", _UINT32)
    return data[:start] + CONTEXT.to_bytes(4, "little") + data[start + 4 :]


def _with_template(data: bytes, template: str) -> bytes:
    """A GGUF with another chat template: the header grows or shrinks, and the tensors follow it at a new boundary."""
    start = _value_of(data, b"tokenizer.chat_template", _STRING)
    end = start + 8 + int.from_bytes(data[start : start + 8], "little")
    text = template.encode()
    # What lies between the last entry of the header and the tensors is padding, of less than one boundary.
    last = _header_end(data)
    header = data[:start] + len(text).to_bytes(8, "little") + text + data[end:last]
    return header + bytes(-len(header) % _BOUNDARY) + data[last + -last % _BOUNDARY :]


def _value_of(data: bytes, key: bytes, kind: int) -> int:
    """Where the value of a key begins."""
    start = data.index(key) + len(key)
    assert int.from_bytes(data[start : start + 4], "little") == kind
    return start + 4


def _header_end(data: bytes) -> int:
    """Where the last entry of the header ends: that of the last tensor."""
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        last = gguf.GGUFReader(file.name).tensors[-1].field
        return int(last.offset) + sum(int(part.nbytes) for part in last.parts)
