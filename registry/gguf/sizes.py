"""Where the bytes of a model lie: layer by layer, which of them are experts, and how wide its layers compute.

Summed from the tensors' index, so it holds for every architecture that names its tensors as llama.cpp does. Knows
tensors' names and shapes; what becomes of them on which device is for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from registry.gguf.reader import TensorInfo

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_LOOKED_UP = ("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")
_FEED = re.compile(r"ffn_(gate|up|gate_up|down)(_exps)?\.weight")
_ROWS = 8  # llama.cpp packs matrices of a multiple of so many rows

ByType = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class LayerSize:
    """Bytes of one repeating layer. `experts` are among `weights`; `packable` are bytes of matrices by their type,
    which a CPU may keep in another order, as a copy."""

    weights: int
    experts: int = 0
    packable: ByType = ()


@dataclass(frozen=True, slots=True)
class Widths:
    """Values of a token that live together while a layer computes, at most over all layers.

    `feed` is what goes into and out of the feed-forward part's matrices, `expert_feed` the same of one expert, `inner`
    the width of one expert alone. `queries` is of all heads. `state` is the inner width of a recurrent layer,
    `convolved` what its convolution runs over. `by_layer` is what every layer gets of the token on top.
    """

    feed: int = 0
    expert_feed: int = 0
    inner: int = 0
    queries: int = 0
    state: int = 0
    convolved: int = 0
    by_layer: int = 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """`tables` are looked up and never multiplied with, so they stay with the CPU. `output` is the matrix that gives
    logits and what goes with it; without one of its own, `is_tied`, the first table serves as such.

    `edges` are bytes of packable matrices with nothing else before them in the file, or behind them.
    """

    layers: tuple[LayerSize, ...]
    tables: int
    output: int
    is_tied: bool
    table: int  # the first of the tables
    output_packable: ByType
    edges: ByType
    widths: Widths

    @property
    def total(self) -> int:
        """Bytes of all tensors."""
        return sum(each.weights for each in self.layers) + self.tables + self.output


def sizes(tensors: Sequence[TensorInfo], layers: int, state: int = 0) -> Sizes:
    """Sum up the tensors of a model (of all its files, in order) with `layers` layers; `state` is the inner width of
    its recurrent layers."""
    blocks: list[list[TensorInfo]] = [[] for _ in range(layers)]
    tables: list[TensorInfo] = []
    rest: list[TensorInfo] = []
    for tensor in tensors:
        found = _BLOCK.fullmatch(tensor.name)
        if found and int(found[1]) < layers:
            blocks[int(found[1])].append(tensor)
        else:
            (tables if tensor.name in _LOOKED_UP else rest).append(tensor)
    first = next((each for each in tables if each.name == _LOOKED_UP[0]), None)
    is_tied = first is not None and all(each.name != "output.weight" for each in rest)
    output = [first] if is_tied and first is not None else [each for each in rest if each.name == "output.weight"]
    return Sizes(
        layers=tuple(_layer(block) for block in blocks),
        tables=sum(each.size for each in tables),
        output=sum(each.size for each in rest),
        is_tied=is_tied,
        table=first.size if first is not None else 0,
        output_packable=_by_type(each for each in output if _packable(each, looked_up=False)),
        edges=_by_type([*takewhile(_packable, tensors), *takewhile(_packable, reversed(tensors))]),
        widths=_widths(blocks, tables, state),
    )


def _layer(block: Sequence[TensorInfo]) -> LayerSize:
    return LayerSize(
        weights=sum(each.size for each in block),
        experts=sum(each.size for each in block if "_exps." in each.name),
        packable=_by_type(each for each in block if _packable(each)),
    )


def _packable(tensor: TensorInfo, *, looked_up: bool = True) -> bool:
    """Whether a matrix could be packed, by its shape: of two dimensions, or the experts' three."""
    if not tensor.name.endswith(".weight") or (looked_up and tensor.name in _LOOKED_UP):
        return False
    dimensions = 3 if "_exps." in tensor.name else 2
    return len(tensor.shape) == dimensions and tensor.shape[1] % _ROWS == 0 and tensor.type.block > 1


def _by_type(tensors: Iterable[TensorInfo]) -> ByType:
    found: dict[str, int] = {}
    for each in tensors:
        found[each.type.name] = found.get(each.type.name, 0) + each.size
    return tuple(sorted(found.items()))


def _widths(blocks: Sequence[Sequence[TensorInfo]], tables: Sequence[TensorInfo], state: int) -> Widths:
    feed = expert_feed = inner = queries = convolved = 0
    for block in blocks:
        whole = of_one = 0
        for tensor in block:
            part = tensor.name.split(".", 2)[2]
            if found := _FEED.fullmatch(part):
                # Down takes in what the others give out; a fused gate is as wide as both.
                width = tensor.shape[0] if found[1] == "down" else tensor.shape[1] if len(tensor.shape) > 1 else 0
                if found[2]:
                    of_one += width
                    inner = max(inner, width if found[1] == "down" else 0)
                else:
                    whole += width
            elif part == "attn_q.weight" or part == "attn_q_b.weight":
                queries = max(queries, tensor.shape[-1])
            elif part == "ssm_conv1d.weight":
                convolved = max(convolved, tensor.shape[-1])
        feed, expert_feed = max(feed, whole), max(expert_feed, of_one)
    by_layer = sum(each.shape[0] for each in tables if each.name == "per_layer_token_embd.weight")
    return Widths(feed, expert_feed, inner, queries, state, convolved, by_layer)
