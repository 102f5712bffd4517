"""Templates in a real worker: the GGUF's own, its other one for tools, and one that a request brings."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count

import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message, ToolSpec
from runner.protocol.commands import ChatPrompt, Preview
from runner.protocol.events import Failed, Told
from tests.engine.worker_process import WorkerProcess

_ids = count(1)
_STRING = 8  # as GGUF numbers its types
HI = (Message("user", "hi"),)
TOOLS = (ToolSpec("look"),)


def with_key(data: bytes, key: str, text: str) -> bytes:
    """A GGUF with one more text in its metadata, the text padded so that the tensors stay aligned."""
    name = struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IQ", _STRING, 0)
    value = text.encode()
    value += b" " * (-(len(name) + len(value)) % 32)
    entry = name[:-8] + struct.pack("<Q", len(value)) + value
    (keys,) = struct.unpack_from("<Q", data, 16)
    return data[:16] + struct.pack("<Q", keys + 1) + entry + data[24:]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    path = tmp_path_factory.mktemp("templates") / "model.gguf"
    template = "{{ tools[0].function.name }}: {{ messages[0].content }}"
    path.write_bytes(with_key(demo_gguf().read_bytes(), "tokenizer.chat_template.tool_use", template))
    process = WorkerProcess(path, num_ctx=256, num_parallel=1)
    yield process
    assert process.close() == 0


def asked(worker: WorkerProcess, prompt: ChatPrompt) -> Told | Failed:
    question = Preview(next(_ids), prompt)
    end = worker.ask(question)[question.id].end
    assert isinstance(end, Told | Failed)
    return end


def text_of(worker: WorkerProcess, prompt: ChatPrompt) -> str:
    end = asked(worker, prompt)
    assert isinstance(end, Told), end
    return end.text


def test_tools_have_the_template_that_the_gguf_names_for_them(worker: WorkerProcess) -> None:
    assert text_of(worker, ChatPrompt(HI)) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(worker, ChatPrompt(HI, tools=TOOLS)).rstrip() == "look: hi"


def test_a_request_brings_its_own(worker: WorkerProcess) -> None:
    assert text_of(worker, ChatPrompt(HI, tools=TOOLS, template="<{{ .Prompt }}>")) == "<hi>"
    assert text_of(worker, ChatPrompt(HI, template="{{ messages|length }}")) == "1"
    torn = asked(worker, ChatPrompt(HI, template="\n{{ .Prompt"))
    assert isinstance(torn, Failed)
    assert (torn.code, torn.field) == ("template_error", "template")
    assert "line 2: the braces are never closed" in torn.message


def test_a_template_of_a_stranger_holds_nobody_up_for_long(worker: WorkerProcess) -> None:
    endless = asked(worker, ChatPrompt(HI, template="{{ range 1000000000000 }}x{{ end }}{{ .Prompt }}"))
    assert isinstance(endless, Failed)
    assert "writes more than" in endless.message or "took more than" in endless.message
    assert text_of(worker, ChatPrompt(HI)).endswith("<|im_start|>assistant\n")
