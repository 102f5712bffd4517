"""What a model's header says about its size: the values that the memory plan starts from, and how they are packed.

Plain data. Who fills it in knows the store; what it is good for stands in the modules beside.
"""

from __future__ import annotations

from dataclasses import dataclass

_BYTES_PER_VALUE = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
KV_TYPES = tuple(_BYTES_PER_VALUE)


def bytes_per_value(kind: str) -> float:
    """Bytes that one value takes in a KV cache of this type, its share of a block's scale included."""
    return _BYTES_PER_VALUE[kind]


@dataclass(frozen=True, slots=True)
class Block:
    """One repeating layer, in bytes where nothing else is said.

    `experts` are among `weights`. `packed` is what a CPU backend keeps in another order, as a copy of its own. `keys`
    and `values` are values cached for each token (0 where the layer caches none, or uses another one's cache), of at
    most `window` tokens (0: all). `state` is what a sequence holds in it whatever its length.
    """

    weights: int
    experts: int = 0
    packed: int = 0
    keys: int = 0
    values: int = 0
    window: int = 0
    state: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """How wide a model computes, in values for each token. Zero is what the header doesn't say or the model lacks.

    `queries` is what attention asks with, `attended` what comes back of all heads. `feed` goes into and out of the
    feed-forward matrices together; `expert_feed` and `expert_inner` are one expert's, of which `experts_used` work for
    each token. `state` is a recurrent layer's inner width, `convolved` what its
    convolution runs over; a `delta` layer holds its state twice while it computes.
    `hybrid` models have recurrent layers among others. `by_layer` is what every layer is
    given besides. `latent` attention unpacks its values from the keys. A `cacheless` model sees whole texts at once.
    """

    width: int
    heads: int
    queries: int
    attended: int
    feed: int
    expert_feed: int = 0
    expert_inner: int = 0
    experts_used: int = 0
    state: int = 0
    convolved: int = 0
    delta: bool = False
    hybrid: bool = False
    by_layer: int = 0
    latent: bool = False
    cacheless: bool = False


@dataclass(frozen=True, slots=True)
class Correction:
    """How much larger than estimated each kind of buffer turned out to be: 1 means just as large. `shape` says of what
    kind of load that was measured."""

    weights: float = 1.0
    kv: float = 1.0
    compute: float = 1.0
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Footprint:
    """A model's size in bytes. `kv` is one token's KV cache at f16 with all windows open, over all layers.

    `weights` is everything in its files. Where `blocks` says how that is divided: `tables` are looked up and stay with
    the CPU, `output` gives the logits (its size also where it `is_tied` to the first table and takes nothing of its
    own), and `output_packed` of it is kept in another order by a CPU. `edges` is how much of what is packed lies at the
    file's ends, where it needn't be mapped. `adapters` are among `weights`: the request's, and read into memory for it
    when the worker is there. `prefixes` is what may be kept of prompts.
    """

    weights: int
    kv: int
    state: int  # of one sequence, whatever its length (recurrent models)
    vocabulary: int  # tokens
    width: int  # values of the hidden state
    projector: int = 0  # the file of what shows it images
    blocks: tuple[Block, ...] = ()
    tables: int = 0
    output: int = 0
    is_tied: bool = False
    output_packed: int = 0
    edges: int = 0
    adapters: int = 0
    graph: Graph | None = None
    prefixes: int = 0
    trained: int = 0  # tokens of the longest text it was made for; 0 where nobody says
    embeds: bool = False  # it is loaded to embed or to rank, and generates nothing
    draft: Footprint | None = None  # of the model that drafts for it
    corrections: tuple[Correction, ...] = ()  # what earlier loads taught

    @property
    def layers(self) -> int:
        """Layers that may be offloaded: the repeating ones, and the output behind them. 0 where nobody knows."""
        return len(self.blocks) + 1 if self.blocks else 0

    @property
    def rest(self) -> int:
        """Bytes of its own files that belong to no layer, table or output."""
        known = sum(block.weights for block in self.blocks) + self.tables + (0 if self.is_tied else self.output)
        known += self.adapters
        return max(0, self.weights - known) if self.blocks else 0
