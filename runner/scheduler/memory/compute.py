"""What a step computes with, in bytes: llama.cpp's compute buffer, from the shape of the model and of the context.

llama.cpp reserves the largest step's buffer when a context is made, and reuses its parts as layers follow each other.
So the buffer is as large as the stage in which most lives at once: a feed-forward part, an attention, a recurrent layer
or the logits. What lives in each was read off the buffers that it reports for models of every kind; a test holds the
two together. Pure; knows no device.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.scheduler.memory.footprint import Footprint, Graph

_LIVE = 8  # activations of a token that live at the same time, in multiples of the hidden width, of unknown models
_MASK = 2  # bytes that say for each row of a step and each cell whether one sees the other
_FLOAT = 4
_INDEX = 8  # bytes of the place that a value is written to


@dataclass(frozen=True, slots=True)
class Step:
    """The largest step of a context: `rows` tokens of `sequences` sequences, of which `outputs` give logits.

    Each row sees `seen` cells, and in layers with a window `seen_windowed` (0 without such layers).
    """

    rows: int
    sequences: int
    outputs: int
    seen: int
    seen_windowed: int = 0
    flash: bool = True


def buffer(footprint: Footprint, step: Step) -> int:
    """Bytes of the compute buffer. The rows of logits that are handed out lie elsewhere."""
    graph = footprint.graph
    if graph is None:
        return _FLOAT * step.rows * footprint.width * _LIVE + _MASK * step.rows * step.seen
    rows = -(-step.rows // step.sequences) * step.sequences
    logits = _FLOAT * (footprint.vocabulary * step.outputs + graph.width * (rows + step.outputs))
    embedded = _FLOAT * graph.width * rows
    if footprint.embeds:
        logits = embedded + _FLOAT * graph.width * step.outputs
    layers = max(
        _feeding(graph, rows), _attending(footprint, graph, step, rows), _recurring(footprint, graph, step, rows)
    )
    return max(inputs(footprint, step) + layers + 2 * _FLOAT * rows * graph.by_layer, logits)


def inputs(footprint: Footprint, step: Step) -> int:
    """Bytes of what a step is told besides its tokens: who sees what, and where keys and values go."""
    caches = bool(step.seen) + bool(step.seen_windowed)
    masks = (_MASK if step.flash else _FLOAT) * step.rows * (step.seen + step.seen_windowed)
    if step.flash or (footprint.graph is not None and footprint.graph.latent):
        return masks
    # Without flash attention values are kept across, and each one's place is told apart.
    return masks + caches * _INDEX * step.rows * max((block.values for block in footprint.blocks), default=0)


def _feeding(graph: Graph, rows: int) -> int:
    around = 3 if graph.hybrid or graph.state else 4  # what stands around it: input, residual, norm
    whole = graph.feed + around * graph.width
    used = graph.experts_used
    joined = used * (2 * graph.width + graph.expert_inner) + 3 * graph.width
    experts = max(used * graph.expert_feed + 4 * graph.width, joined) if used else 0
    return _FLOAT * rows * max(whole, experts)


def _attending(footprint: Footprint, graph: Graph, step: Step, rows: int) -> int:
    if not graph.heads:
        return 0
    most = max((block.keys + block.values for block in footprint.blocks), default=0)
    if step.flash:
        return _FLOAT * rows * (3 * graph.width + graph.queries + 2 * graph.attended + most)
    scores = _FLOAT * graph.heads * rows * max(step.seen, step.seen_windowed)
    apart = 2 * graph.heads * most if graph.latent else graph.queries + graph.attended
    own = _FLOAT * rows * (3 * graph.width + apart)
    unpacked = _MASK * step.seen * most if graph.latent else 0
    return scores + own + unpacked


def _recurring(footprint: Footprint, graph: Graph, step: Step, rows: int) -> int:
    if not graph.state:
        return 0
    state = max((block.state for block in footprint.blocks), default=0)
    past = 3 * _FLOAT * graph.convolved  # of the convolution, which is joined with what comes
    if graph.delta:
        joined = 3 * graph.width + 3 * graph.convolved
        live = 3 * graph.width + 2 * graph.convolved + 2 * graph.state
        states = 2 * step.sequences * max(0, state - past)
        return max(_FLOAT * rows * joined, _FLOAT * rows * live + states) + step.sequences * past
    return _FLOAT * rows * (3 * graph.width + 5 * graph.state) + step.sequences * (state + past)
