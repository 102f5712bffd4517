"""Models made here: with LoRA adapters, and with weights made smaller, through the command and the endpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from modelfiles.embedded import demo_gguf
from tests import whole_models
from tests.benchmarks.daemon import Daemon
from tests.llama.test_adapters import write_adapter

PROMPT = "<|im_start|>user\nHow do I pull a model?<|im_end|>\n<|im_start|>assistant\n"


def said(daemon: Daemon, model: str) -> str:
    body = {"model": model, "prompt": PROMPT, "raw": True, "stream": False}
    answer = daemon.post("/api/generate", body | {"options": {"num_predict": 12, "temperature": 0}})
    return str(answer["response"])


def listed(daemon: Daemon, name: str) -> Any:
    return next(each for each in daemon.get("/api/tags")["models"] if each["name"] == f"{name}:latest")


def test_adapters_are_part_of_a_model(daemon: Daemon, tmp_path: Path) -> None:
    strong = Path(write_adapter(tmp_path / "strong.gguf", 1.0))
    faint = Path(write_adapter(tmp_path / "faint.gguf", 1.0, alpha=1e-7, seed=2))
    daemon.create("tuned", demo_gguf(), f"FROM {{path}}\nADAPTER {strong}\n")
    daemon.create("twice", demo_gguf(), f"FROM {{path}}\nADAPTER {faint}\nADAPTER {strong}\n")
    daemon.create("faint", demo_gguf(), f"FROM {{path}}\nADAPTER {faint}\n")
    plain = said(daemon, "demo")
    assert said(daemon, "tuned") != plain
    assert said(daemon, "twice") == said(daemon, "tuned")
    assert said(daemon, "faint") == plain
    assert daemon.post("/api/show", {"model": "twice"})["modelfile"].count("\nADAPTER ") == 2
    assert listed(daemon, "twice")["size"] == listed(daemon, "faint")["size"] + strong.stat().st_size
    wrong = Path(write_adapter(tmp_path / "wrong.gguf", 1.0, width=64))
    body = {"model": "never", "modelfile": f"FROM {demo_gguf()}\nADAPTER {wrong}\n", "stream": False}
    status, refusal = daemon.post("/api/create", body)
    assert status == 400
    assert "wrong.gguf: an adapter of another model: blk.0.attn_q.weight is 256 by 256 here" in refusal["error"]


def test_a_model_is_quantized_on_the_way_in(daemon: Daemon, tmp_path: Path) -> None:
    whole_models.write(tmp_path / "tiny-F16.gguf")
    (tmp_path / "Modelfile").write_text("FROM ./tiny-F16.gguf\nPARAMETER num_ctx 256\n")
    made = subprocess.run(
        [sys.executable, "-m", "runner", "create", "small", "--quantize", "q4_k_m", "-f", str(tmp_path / "Modelfile")],
        env=daemon.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "quantizing F16 model to Q4_K_M" in made.stderr
    assert listed(daemon, "small")["details"]["quantization_level"] == "Q4_K_M"
    body = {"model": "small", "prompt": "once", "raw": True, "stream": False, "options": {"num_predict": 4}}
    assert daemon.post("/api/generate", body)["eval_count"] > 0
    again = {"model": "smaller", "from": "small", "quantize": "Q2_K", "stream": False}
    status, refusal = daemon.post("/api/create", again)
    assert (status, "it is quantized already" in refusal["error"]) == (400, True)
