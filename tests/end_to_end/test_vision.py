"""A model with a projector through a real daemon: made from a Modelfile, shown images in each dialect."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.daemon import Daemon
from tests.engine import vision_models
from tests.engine.vision_models import png

OPTIONS = {"temperature": 0, "num_predict": 8, "seed": 1, "ignore_eos": True}


@pytest.fixture(scope="module")
def seeing(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    return create(daemon, tmp_path_factory.mktemp("vision"))


def create(daemon: Daemon, folder: Path) -> str:
    model, projector = vision_models.write_pair(folder, "text-like")
    template = vision_models.TEMPLATE.replace("{", "{{").replace("}", "}}")  # the Modelfile is formatted
    daemon.create("seeing", model, f'FROM {{path}}\nFROM {projector}\nTEMPLATE """{template}"""\n')
    return "seeing"


def coded(image: bytes) -> str:
    return base64.b64encode(image).decode()


def native(daemon: Daemon, *images: bytes, model: str = "seeing", **more: object) -> Any:
    message = {"role": "user", "content": "what is it?", "images": [coded(image) for image in images]}
    return daemon.post(
        "/api/chat", {"model": model, "messages": [message], "options": OPTIONS, "stream": False, **more}
    )


def openai(daemon: Daemon, url: str) -> Any:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what is it?"}]
    body = {"model": "seeing", "messages": [{"role": "user", "content": parts}], "temperature": 0, "seed": 1}
    return daemon.post("/v1/chat/completions", body | {"max_tokens": 8, "ignore_eos": True})


@contextmanager
def served(image: bytes) -> Iterator[str]:
    """The URL of an image, as long as it is there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(image)))
            self.end_headers()
            self.wfile.write(image)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/image.png"
        finally:
            server.shutdown()
            thread.join()


def test_a_projector_makes_a_model_see(daemon: Daemon, seeing: str) -> None:
    shown = daemon.post("/api/show", {"model": seeing})
    assert "vision" in shown["capabilities"]
    red, again, blue = (native(daemon, image) for image in (png(1), png(1), png(2)))
    assert red["message"]["content"] == again["message"]["content"]
    assert red["prompt_eval_count"] == blue["prompt_eval_count"] >= vision_models.TOKENS
    assert red["message"]["content"] != blue["message"]["content"]


def test_dialects_show_the_same_image(daemon: Daemon, seeing: str) -> None:
    wanted = native(daemon, png(3))
    answer = openai(daemon, "data:image/png;base64," + coded(png(3)))
    assert answer["usage"]["prompt_tokens"] == wanted["prompt_eval_count"]
    assert answer["choices"][0]["message"]["content"] == wanted["message"]["content"]
    generated = {"model": seeing, "prompt": "what is it?", "images": [coded(png(3))], "options": OPTIONS}
    assert daemon.post("/api/generate", generated | {"stream": False})["response"] == wanted["message"]["content"]


def test_what_is_wrong_with_an_image_is_named_and_the_worker_stays(daemon: Daemon, seeing: str) -> None:
    native(daemon, png(1))
    before = set(daemon.workers())
    for bad, said in [
        (b"hello", "no image"),
        (png(1)[:150], "damaged"),
        (png(1)[:20] + b"\xff\xff" + png(1)[22:], "pixels"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x20\x00\x20\x07\x01\x11\x00", "cannot be decoded"),
    ]:
        status, body = native(daemon, png(1), bad)
        assert status == 400
        assert body["error"].startswith("messages[0].images[1]")
        assert said in body["error"]
    status, body = native(daemon, *(png(1) for _ in range(33)))
    assert (status, "too many" in body["error"]) == (400, True)
    status, body = native(daemon, png(1), model="demo")
    assert (status, "does not support vision" in body["error"]) == (400, True)
    assert native(daemon, png(1))["done"]
    assert set(daemon.workers()) >= before


def test_nothing_is_fetched_unless_allowed(daemon: Daemon, seeing: str) -> None:
    status, body = openai(daemon, "http://127.0.0.1:1/image.png")
    assert status == 400
    assert "Runner fetches nothing" in body["error"]["message"]
    assert body["error"]["param"] == "messages[0].content[0].image_url"


def test_an_image_is_fetched_from_where_it_may_be(own_daemon: Daemon, tmp_path: Path) -> None:
    own_daemon.environment["RUNNER_IMAGE_URLS"] = "127.0.0.1"
    own_daemon.start()
    create(own_daemon, tmp_path)
    with served(png(3)) as url:
        answer = openai(own_daemon, url)
    assert answer["choices"][0]["message"]["content"] == native(own_daemon, png(3))["message"]["content"]
    status, body = openai(own_daemon, url)  # nobody is there any more
    assert status == 400
    assert body["error"]["param"] == "messages[0].content[0].image_url"
