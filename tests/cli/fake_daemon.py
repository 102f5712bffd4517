"""A daemon's native API on loopback, answered from a script: real HTTP for a real command line, with no model behind.

What a model says depends on its name alone, so tests choose the behaviour by the model they ask for. Every request is
kept in `requests`.
"""

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

MODIFIED = "2020-01-02T03:04:05.123456+00:00"
FOREVER = "2318-01-02T03:04:05.123456+00:00"
TIMINGS: Json = {
    "total_duration": 1_234_000_000,
    "load_duration": 20_500_000,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 130_000_000,
    "eval_count": 5,
    "eval_duration": 250_000_000,
}
DIGEST = "sha256:" + "ab12" * 16
LAYER = "sha256:" + "cd34" * 16
NASTY = "\x1b[31mred\x1b]0;title\x07 \x9b1mend"
HUB = {"tiny": ["completion"], "org/vectors": ["embedding"]}
"""What can be pulled, and what it can do."""


@dataclass(frozen=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass
class FakeDaemon:
    """What the daemon holds, what it was asked, and what to answer instead of the usual."""

    key: str | None = None
    models: dict[str, list[str]] = field(
        default_factory=lambda: {
            "demo:latest": ["completion", "tools", "thinking"],
            "embedder:latest": ["embedding"],
            **{
                f"{name}:latest": ["completion"] for name in ("slow", "late", "cut", "nasty", "echo", "long", "forever")
            },
        }
    )
    says: dict[str, list[Json]] = field(default_factory=dict)  # the parts of a chat's answer, by model
    loaded: list[Json] = field(default_factory=list)
    totals: Json = field(default_factory=dict)  # of /api/ps, where Runner's own keys are wanted
    reasons: Json = field(default_factory=dict)  # what /runner/why answers
    broken: dict[str, str] = field(default_factory=dict)  # reasons by name
    kept: Json = field(default_factory=dict)  # what a delete tells of files that others have
    held: dict[str, Json] = field(default_factory=dict)  # what /runner/provenance tells of stored models, by name
    blobs: dict[str, bytes] = field(default_factory=dict)
    hidden: str = ""  # a file that a create by path would need and that this daemon can't read
    requests: list[Seen] = field(default_factory=list)
    refusals: dict[str, tuple[int, Any]] = field(default_factory=dict)  # path to status and body
    begun: threading.Event = field(default_factory=threading.Event)  # an answer of "slow" or "forever"
    hung_up: threading.Event = field(default_factory=threading.Event)  # a client left in the middle of an answer
    address: str = ""
    pid: int | None = None  # what a shutdown answers with, where the daemon is a process of its own

    def asked(self, path: str) -> list[Seen]:
        """The requests for one path, in order."""
        return [seen for seen in self.requests if seen.path == path]

    def start(self, port: int = 0) -> "FakeDaemon":
        """Listen on the loopback, by default on a free port."""
        handler = type("Handler", (_Handler,), {"daemon": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def wait(self) -> None:
        """Return when the daemon has been stopped."""
        self._thread.join()

    def stop(self) -> None:
        """Close the port; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not threading.current_thread():
            self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


def _is_endless(body: Json) -> bool:
    return body.get("model") == "endless" or body.get("models") == ["endless"]


class _Handler(BaseHTTPRequestHandler):
    daemon: FakeDaemon
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Say nothing."""

    def do_GET(self) -> None:
        self._handle("GET", b"")

    def do_HEAD(self) -> None:
        self._handle("HEAD", b"")

    def do_POST(self) -> None:
        self._handle("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_DELETE(self) -> None:
        self._handle("DELETE", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _handle(self, method: str, content: bytes) -> None:
        is_json = self.headers.get("Content-Type") == "application/json"
        body = json.loads(content) if is_json and content else content
        self.daemon.requests.append(Seen(method, self.path, body, dict(self.headers)))
        if self.daemon.key is not None and self.headers.get("Authorization") != f"Bearer {self.daemon.key}":
            self._json({"error": "a key is needed"}, 401)
        elif self.path in self.daemon.refusals:
            status, answer = self.daemon.refusals[self.path]
            self._bytes(answer, status) if isinstance(answer, bytes) else self._json(answer, status)
        elif self.path.startswith("/api/blobs/"):
            self._blob(method, self.path.removeprefix("/api/blobs/"), content)
        else:
            act = _ROUTES.get((method, self.path))
            if isinstance(body, dict) and body.get("stream") is not False and _is_endless(body):
                self._stream(self._endless())
            elif act is None:
                self._bytes(b"404 page not found", 404)
            else:
                act(self, body)

    def _endless(self) -> Iterator[Json]:
        """Work that is never done."""
        yield {"status": "waiting"}
        self._wait_for_hang_up()

    # What is asked about models

    def _ready(self, body: Any) -> None:
        self._json({"status": "ok"})

    def _version(self, body: Any) -> None:
        self._json({"version": "0.33.0", "runner": "0.0.1"})

    def _tags(self, body: Any) -> None:
        broken = [{"name": name, "reason": reason} for name, reason in self.daemon.broken.items()]
        models = [_entry(name, abilities) for name, abilities in self.daemon.models.items()]
        self._json({"models": models} | ({"broken": broken} if broken else {}))

    def _ps(self, body: Any) -> None:
        self._json({"models": self.daemon.loaded} | ({"totals": self.daemon.totals} if self.daemon.totals else {}))

    def _why(self, body: Json) -> None:
        if self._known(body["model"]) is not None:
            self._json(self.daemon.reasons)

    def _show(self, body: Json) -> None:
        name = self._known(body["model"])
        if name is None:
            return
        self._json(
            {
                "license": "line one\nline two\nline three\n",
                "modelfile": "FROM demo\n",
                "parameters": 'temperature                    0\nstop                           "<|im_end|>"',
                "template": "{{ .Prompt }}",
                "template_source": "modelfile",
                "template_reason": "the Modelfile's TEMPLATE (Go's, as in Ollama)",
                "system": "",
                "details": {"family": "llama", "parameter_size": "4.3M", "quantization_level": "Q8_0"},
                "model_info": {
                    "general.architecture": "llama",
                    "general.description": "A demo; it knows Runner's commands\x1b[2J and nothing else.",
                    "llama.context_length": 1024,
                    "llama.embedding_length": 256,
                },
                "capabilities": self.daemon.models[name],
                "tensors": [{"name": "token_embd.weight", "type": "Q8_0", "shape": [256, 4096]}],
            }
        )

    def _copy(self, body: Json) -> None:
        name = self._known(body["source"])
        if name is not None:
            replaced = _tagged(body["destination"]) in self.daemon.models
            self.daemon.models[_tagged(body["destination"])] = self.daemon.models[name]
            self._json({"replaced": replaced})

    def _delete(self, body: Json) -> None:
        name = self._known(body["model"])
        if name is not None:
            del self.daemon.models[name]
            self._json({"freed": 0, **self.daemon.kept})

    def _prune(self, body: Json) -> None:
        removed = [{"kind": "blob", "path": "/store/blobs/sha256-x\x1b[2J", "size": 5_000}]
        self._json({"count": 3, "bytes": 1_234_567_890, "shared": 2_000_000, "references": 2, "removed": removed})

    def _verify(self, body: Json) -> None:
        """The model `bad` needs a file that is broken, `mended` one that could be repaired; all others are well."""
        outcome = "broken" if body["models"] == ["bad"] else "repaired"
        found = {
            "digest": DIGEST, "path": "/store/blobs/x", "kind": "blob", "reason": "has other bytes", "advice": "redo",
            "models": body["models"], "quarantined": None, "outcome": outcome,
        }  # fmt: skip
        result = {
            "sound": body["models"] != ["bad"], "models": 2, "files": 40, "checked": 2 if body["sample"] else 40,
            "bytes": 1_234_567_890, "seed": 7 if body["sample"] else None, "unfinished": 1, "unfinished_bytes": 10,
            "bad": [found] if body["models"] else [], "quarantine": [{"path": "/store/quarantine/x", "size": 9}],
        }  # fmt: skip
        steps: list[Json] = [{"status": "verifying blobs", "total": 100, "completed": 50}]
        self._stream(iter([*steps, {"status": "success", "result": result}]))

    def _provenance(self, body: Json) -> None:
        asked = body.get("models")
        names = {text: _tagged("hf.co/org/repo" if text == "ALIAS" else text) for text in asked or self.daemon.held}
        told = [
            {"asked": text if asked else "", "name": name, "reference": name, "problem": ""}
            | ({"stored": self.daemon.held[name]} if name in self.daemon.held else {})
            for text, name in names.items()
        ]
        self._json({"models": told})

    def _shutdown(self, body: Json) -> None:
        self._json({"status": "shutting down"} | ({} if self.daemon.pid is None else {"pid": self.daemon.pid}))
        threading.Thread(target=self.daemon.stop).start()

    # Answers

    def _generate(self, body: Json) -> None:
        name = self._known(body["model"])
        if name is None:
            return
        if not body.get("prompt"):
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            self._json({"model": name, "response": "", "done": True, "done_reason": reason})
        elif body.get("_debug_render_only"):
            self._json({"model": name, "_debug_info": {"rendered_template": f"<user>{body['prompt']}\n<answer>"}})
        else:
            self._stream(self._said(name, body, body["prompt"], lambda part: part))

    def _chat(self, body: Json) -> None:
        name = self._known(body["model"])
        if name is None:
            return
        if not body["messages"]:
            self._json({"model": name, "message": {"role": "assistant"}, "done": True, "done_reason": "load"})
            return

        def as_message(part: Json) -> Json:
            text, thinking = part.pop("response", ""), part.pop("thinking", "")
            return {**part, "message": {"role": "assistant", "content": text, "thinking": thinking}}

        last = body["messages"][-1]
        if name in self.daemon.says and last["role"] != "tool":
            end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", **TIMINGS}
            parts = self.daemon.says[name]
            self._stream(iter(parts if parts[-1].get("done") else [*parts, end]))
        else:
            self._stream(self._said(name, body, last["content"], as_message))

    def _said(self, name: str, body: Json, prompt: str, shape: Callable[[Json], Json]) -> Iterator[Json | None]:
        """The parts of an answer; None cuts the connection."""
        model = name.partition(":")[0]
        if body.get("think"):
            yield shape({"thinking": "Let me "})
            yield shape({"thinking": "see."})
        if model == "echo":
            yield shape({"response": json.dumps({"prompt": prompt, "system": body.get("system")})})
        elif model == "nasty":
            yield shape({"response": NASTY[:3]})
            yield shape({"response": NASTY[3:]})
        elif model == "long":
            yield from (shape({"response": f"line {number} of a long answer\n"}) for number in range(20_000))
        elif model in ("slow", "forever"):
            self.daemon.begun.set()
            yield shape({"response": "one "})
            self._wait_for_hang_up()
            return
        else:
            yield shape({"response": "Type "})
            yield shape({"response": "runner pull."})
        if model == "late":
            yield {"error": "the worker died\nin the middle"}
        elif model == "cut":
            yield None
        else:
            yield shape({"response": "", "done": True, "done_reason": "stop", **TIMINGS})

    def _wait_for_hang_up(self) -> None:
        ready, _, _ = select.select([self.connection], [], [], 20)
        if ready and not self.connection.recv(1, socket.MSG_PEEK):
            self.daemon.hung_up.set()

    def _embed(self, body: Json) -> None:
        if self._known(body["model"]) is not None:
            self._json({"model": body["model"], "embeddings": [[0.5, -0.25, 1e-07][: body.get("dimensions") or 3]]})

    # Bringing models in

    def _pull(self, body: Json) -> None:
        wanted = body["model"].partition(":")[0]
        if wanted not in HUB:
            hint = "; did you mean demo:latest?" if wanted.startswith("de") else ""
            self._json({"error": f"model '{wanted}:latest' not found{hint}", "code": "model_not_found"}, 404)
            return
        self._stream(self._pulled(wanted))

    def _push(self, body: Json) -> None:
        if self._known(body["model"]) is None:
            return
        name = body.get("to") or body["model"]
        layer = {"digest": LAYER, "total": 100_000_000, "completed": 100_000_000}
        pushed = {"status": f"pushed {name} ({LAYER})"}
        self._stream(iter([{"status": f"pushing {LAYER[7:19]}", **layer}, pushed, {"status": "success"}]))

    def _pulled(self, wanted: str) -> Iterator[Json]:
        yield {"status": "pulling manifest"}
        for completed in (0, 40_000_000, 80_000_000, 100_000_000):
            yield {"status": f"pulling {LAYER[7:19]}", "digest": LAYER, "total": 100_000_000, "completed": completed}
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        self.daemon.models[_tagged(wanted)] = HUB[wanted]
        yield {"status": "success"}

    def _create(self, body: Json) -> None:
        missing = [digest for digest in body.get("files", {}).values() if digest not in self.daemon.blobs]
        if missing:
            self._json({"error": f"no blob {missing[0]}"}, 400)
            return
        if self.daemon.hidden and "base" in body:
            said = f"{self.daemon.hidden}: can't be read: Permission denied"
            self._stream(iter([{"error": said, "code": "unreadable_file"}]))
            return
        self.daemon.models[_tagged(body["model"])] = ["completion"]
        self._stream(iter([{"status": "reading model"}, {"status": "writing manifest"}, {"status": "success"}]))

    def _blob(self, method: str, digest: str, content: bytes) -> None:
        if method == "POST":
            right = f"sha256:{sha256(content).hexdigest()}" == digest
            if right:
                self.daemon.blobs[digest] = content
            self._json({} if right else {"error": "digest mismatch"}, 201 if right else 400)
        else:
            self._bytes(b"", 200 if digest in self.daemon.blobs else 404)

    # The wire

    def _known(self, name: str) -> str | None:
        """The stored name for `name`; when there is none, that has been answered."""
        if _tagged(name) in self.daemon.models:
            return _tagged(name)
        hint = "; did you mean demo:latest?" if name.startswith("de") else ""
        self._json({"error": f'model "{name}" not found, try pulling it first{hint}'}, 404)
        return None

    def _json(self, value: Json, status: int = 200) -> None:
        self._bytes(json.dumps(value).encode() + b"\n", status, "application/json; charset=utf-8")

    def _bytes(self, content: bytes, status: int = 200, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, parts: Iterator[Json | None]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts:
            if part is None:
                self.close_connection = True
                return
            content = json.dumps(part).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.write(b"0\r\n\r\n")


def _tagged(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _entry(name: str, abilities: list[str]) -> Json:
    return {
        "name": name,
        "model": name,
        "modified_at": MODIFIED,
        "size": 4_665_344,
        "digest": DIGEST,
        "details": {"family": "llama", "parameter_size": "4.3M", "quantization_level": "Q8_0"},
        "capabilities": abilities,
    }


_ROUTES: dict[tuple[str, str], Callable[[_Handler, Any], None]] = {
    ("GET", "/readyz"): _Handler._ready,
    ("GET", "/api/version"): _Handler._version,
    ("GET", "/api/tags"): _Handler._tags,
    ("GET", "/api/ps"): _Handler._ps,
    ("POST", "/api/show"): _Handler._show,
    ("POST", "/runner/why"): _Handler._why,
    ("POST", "/api/copy"): _Handler._copy,
    ("DELETE", "/api/delete"): _Handler._delete,
    ("POST", "/api/generate"): _Handler._generate,
    ("POST", "/api/chat"): _Handler._chat,
    ("POST", "/api/embed"): _Handler._embed,
    ("POST", "/api/pull"): _Handler._pull,
    ("POST", "/api/create"): _Handler._create,
    ("POST", "/api/push"): _Handler._push,
    ("POST", "/runner/prune"): _Handler._prune,
    ("POST", "/runner/verify"): _Handler._verify,
    ("POST", "/runner/shutdown"): _Handler._shutdown,
    ("POST", "/runner/provenance"): _Handler._provenance,
}


def main() -> None:
    """A daemon that is a process: `python -m tests.cli.fake_daemon PORT`. It ends with 75 when the port is taken."""
    try:
        daemon = FakeDaemon(pid=os.getpid()).start(int(sys.argv[1]))
    except OSError as error:
        print(f"another daemon has the port: {error}", file=sys.stderr)
        raise SystemExit(75) from None
    print("listening", flush=True)
    daemon.wait()


if __name__ == "__main__":
    main()
