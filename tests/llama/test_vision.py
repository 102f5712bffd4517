"""Images in a worker against llama.cpp's own way of reading a prompt with images, from beginning to end."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import llama_cpp.llama_cpp as lib
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import numpy.typing as npt
import pytest

from runner.conversation import Message
from runner.llama import library
from runner.llama.model import Model
from runner.llama.vision import Vision
from runner.protocol.commands import ChatPrompt, Generate
from runner.protocol.options import LoadOptions, SampleOptions
from tests.engine import vision_models
from tests.engine.worker_process import WorkerProcess

TOLERANCE = 0.005  # of log-probability: sums in another order. Other images make it 0.05 and more
OPTIONS = LoadOptions(num_ctx=512, num_parallel=1, num_thread=2)


@pytest.mark.parametrize("kind", list(vision_models.KINDS))
def test_a_prompt_with_images_is_read_as_llama_cpp_reads_it(kind: str, tmp_path: Path) -> None:
    model, projector = vision_models.write_pair(tmp_path, kind)
    images = [vision_models.png(1), vision_models.png(2, 120, 64)]
    text = "<|im_start|>user\nlook at these: <|im_end|>\n<|im_start|>user\n{}{}what are they?<|im_end|>\n"
    wanted = reference(model, projector, text + "<|im_start|>assistant\n", images)
    prompt = ChatPrompt((Message("user", "look at these: "), Message("user", "what are they?", images=tuple(images))))
    sampling = SampleOptions(temperature=0.0, num_predict=1, ignore_eos=True)
    worker = WorkerProcess(model, projector=projector, template=vision_models.TEMPLATE, num_batch=32)
    try:
        answer = worker.ask(Generate(1, prompt, sampling, logprobs=10))[1]
    finally:
        worker.close()
    (score,) = answer.scores[0]
    best = np.sort(wanted)[::-1][:10]
    assert [each.logprob for each in score.top] == pytest.approx(best.tolist(), abs=TOLERANCE)
    assert math.isclose(score.logprob or 0.0, float(wanted.max()), abs_tol=TOLERANCE)


def reference(path: Path, projector: Path, text: str, images: list[bytes]) -> npt.NDArray[np.float32]:
    """The log-probabilities of what follows a text with images in its gaps, shape (tokens of the vocabulary,)."""
    log = library.start()
    model = Model([str(path)], OPTIONS, log)
    vision = Vision(str(projector), model, OPTIONS, log)
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    context = lib.llama_init_from_model(model.handle, params)
    data = text.replace("{}", mtmd.mtmd_default_marker().decode()).encode()
    given = mtmd.mtmd_input_text(data, len(data), True, True)
    bitmaps = (ctypes.c_void_p * len(images))(
        *[
            mtmd.mtmd_helper_bitmap_init_from_buf(vision.handle, (ctypes.c_uint8 * len(each))(*each), len(each), False)
            for each in images
        ]
    )
    chunks = mtmd.mtmd_input_chunks_init()
    assert mtmd.mtmd_tokenize(vision.handle, chunks, ctypes.byref(given), bitmaps, len(images)) == 0
    past = lib.llama_pos(0)
    assert mtmd.mtmd_helper_eval_chunks(vision.handle, context, chunks, 0, 0, 512, True, ctypes.byref(past)) == 0
    logits = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), shape=(model.n_vocab,)).astype(np.float64)
    for bitmap in bitmaps:
        mtmd.mtmd_bitmap_free(bitmap)
    mtmd.mtmd_input_chunks_free(chunks)
    lib.llama_free(context)
    vision.close()
    model.close()
    return (logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())).astype(np.float32)


def test_what_has_to_be_seen_as_a_whole_is_computed_in_one_step(tmp_path: Path) -> None:
    """Though it has more embeddings than a step would have tokens."""
    model, projector = vision_models.write_pair(tmp_path, "whole")
    image = vision_models.png(1)
    wanted = reference(model, projector, "look: {}, and?", [image])
    prompt = ChatPrompt((Message("user", ", and?", images=(image,)),))
    parts = "{% for part in messages[0]['content'] %}{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    template = "look: " + parts + "{% endfor %}"
    sampling = SampleOptions(temperature=0.0, num_predict=1, ignore_eos=True)
    worker = WorkerProcess(model, projector=projector, template=template, num_batch=8, num_parallel=1)
    try:
        answer = worker.ask(Generate(1, prompt, sampling, logprobs=10))[1]
    finally:
        worker.close()
    best = np.sort(wanted)[::-1][:10]
    assert [each.logprob for each in answer.scores[0][0].top] == pytest.approx(best.tolist(), abs=TOLERANCE)
