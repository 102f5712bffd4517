"""What a model keeps per token and per sequence while it runs: the shape of its KV cache, in exact numbers.

Derived from the header alone, the way the engine lays the cache out. Knows no memory and no devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.errors import BadGGUF
from registry.gguf import architectures as known
from registry.gguf.format import TYPES_BY_NAME
from registry.gguf.metadata import Metadata

_PAD = 256  # the engine pads windowed caches to this many cells


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """One layer's values per token in the K and the V cache; `window` tokens are kept, 0 for all."""

    keys: int
    values: int
    window: int


@dataclass(frozen=True, slots=True)
class CacheShape:
    """`layers` are those that cache tokens; `state` is values (of 4 bytes) that every sequence holds besides.

    `places` are the numbers of these layers in the model, and `states` the values of state in each of all its layers.
    """

    layers: tuple[CacheLayer, ...]
    state: int
    places: tuple[int, ...] = ()
    states: tuple[int, ...] = ()

    def bytes_per_token(self, type_k: str = "f16", type_v: str = "f16") -> int:
        """Bytes for one more token, all windows being open still."""
        return sum(_row(each.keys, type_k) + _row(each.values, type_v) for each in self.layers)

    def bytes_for(self, tokens: int, type_k: str = "f16", type_v: str = "f16", batch: int = 512) -> int:
        """Bytes for one sequence of `tokens`; windows keep no more than themselves and one batch."""
        total = self.state_bytes
        for each in self.layers:
            kept = min(tokens, -(-(each.window + batch) // _PAD) * _PAD) if each.window else tokens
            total += kept * (_row(each.keys, type_k) + _row(each.values, type_v))
        return total

    @property
    def state_bytes(self) -> int:
        """Bytes that a sequence holds whatever its length."""
        return 4 * self.state


def cache_shape(
    data: Metadata, layers: int, embedding: int, heads: tuple[int, ...], heads_kv: tuple[int, ...]
) -> CacheShape:
    """The cache of a model with `layers` layers; heads are given per layer."""
    architecture = data.architecture
    if architecture in known.CACHELESS:
        return CacheShape((), 0)
    recurrent = _recurrent(data, layers, heads_kv)
    values = _state_values(data, embedding, max(heads, default=0))
    states = tuple(values if each else 0 for each in recurrent)
    if architecture in known.RECURRENT:
        return CacheShape((), sum(states), states=states)
    windows = _windows(data, layers, recurrent)
    lengths = _head_lengths(data, embedding, heads)
    # Multi-head latent attention keeps its values inside the keys.
    latent = bool(data.count(".attention.key_length_mla") and data.count(".attention.value_length_mla"))
    trunk = layers - (data.count(".nextn_predict_layers") or 0)
    shared_from = _shared_from(data, layers)
    both = architecture == "falcon-h1"
    found, places = [], []
    for index in range(min(trunk, shared_from)):
        if (recurrent[index] and not both) or not heads_kv[index]:
            continue
        places.append(index)
        key, value = lengths[bool(windows[index])]
        found.append(CacheLayer(heads_kv[index] * key, 0 if latent else heads_kv[index] * value, windows[index]))
    return CacheShape(tuple(found), sum(states), tuple(places), states)


def _row(values: int, kind: str) -> int:
    packing = TYPES_BY_NAME.get(kind.upper())
    if packing is None:
        raise ValueError(f"unknown cache type {kind!r}")
    return packing.bytes_for(values)


def _recurrent(data: Metadata, layers: int, heads_kv: tuple[int, ...]) -> tuple[bool, ...]:
    architecture = data.architecture
    if architecture in known.RECURRENT or architecture == "falcon-h1":
        return (True,) * layers
    if architecture not in known.HYBRID:
        return (False,) * layers
    if architecture in known.DEFAULT_INTERVAL:
        marks = data.flags(".attention.recurrent_layers", layers)
        if marks is not None:
            return marks
        interval = data.count(".full_attention_interval") or known.DEFAULT_INTERVAL[architecture]
        return tuple((index + 1) % interval != 0 for index in range(layers))
    if architecture in known.FEEDS_ALONE:
        feeds = data.counts(".feed_forward_length", layers) or (0,) * layers
        return tuple(each == 0 and feed == 0 for each, feed in zip(heads_kv, feeds, strict=True))
    return tuple(each == 0 for each in heads_kv)


def _windows(data: Metadata, layers: int, recurrent: tuple[bool, ...]) -> tuple[int, ...]:
    """Per layer the tokens that it sees back, 0 for all."""
    pattern = known.SLIDING.get(data.architecture)
    window = data.count(".attention.sliding_window")
    if window is None:
        window = known.DEFAULT_WINDOW.get(data.architecture, 0)
    if pattern is None or not window:
        return (0,) * layers
    marks = data.flags(".attention.sliding_window_pattern", layers)
    if marks is None:
        period, first = pattern
        stated = data.count(".attention.sliding_window_pattern")
        period = period if stated is None else stated
        marks = tuple(_slides(index, period, first) for index in range(layers))
    return tuple(window if slides and not constant else 0 for slides, constant in zip(marks, recurrent, strict=True))


def _slides(index: int, period: int, first_sees_all: bool) -> bool:
    if period == 0:
        return True
    return index % period != 0 if first_sees_all else index % period < period - 1


def _head_lengths(data: Metadata, embedding: int, heads: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Key and value lengths of a head: in layers that see all, and in layers with a window."""
    most = next((each for each in heads if each), 0)
    default = embedding // most if most else 0
    key = data.count(".attention.key_length")
    value = data.count(".attention.value_length")
    key = default if key is None else key
    value = default if value is None else value
    key_window = data.count(".attention.key_length_swa")
    value_window = data.count(".attention.value_length_swa")
    return (key, value), (
        key if key_window is None else key_window,
        value if value_window is None else value_window,
    )


def _shared_from(data: Metadata, layers: int) -> int:
    if data.architecture in known.SHARED_CACHE_FROM:
        return known.SHARED_CACHE_FROM[data.architecture]
    shared = data.count(".attention.shared_kv_layers") or 0
    if shared > layers:
        raise BadGGUF(f"{data.architecture}.attention.shared_kv_layers is {shared}, of {layers} layers")
    return layers - shared


def _state_values(data: Metadata, embedding: int, heads: int) -> int:
    """Values that one recurrent layer holds per sequence: what it remembers, and its convolution's past."""
    get = {key: data.count(key) or 0 for key in (
        ".wkv.head_size", ".token_shift_count", ".shortconv.l_cache", ".kda.head_dim", ".ssm.conv_kernel",
        ".ssm.inner_size", ".ssm.group_count", ".ssm.state_size",
    )}  # fmt: skip
    if head := get[".wkv.head_size"]:
        return (get[".token_shift_count"] or 2) * embedding + embedding * head
    if kernel := get[".shortconv.l_cache"]:
        return embedding * (kernel - 1)
    taps = max(get[".ssm.conv_kernel"] - 1, 0)
    if head := get[".kda.head_dim"]:
        return 3 * (taps or 3) * heads * head + head * head * heads
    convolution = taps * (get[".ssm.inner_size"] + 2 * get[".ssm.group_count"] * get[".ssm.state_size"])
    return convolution + get[".ssm.state_size"] * get[".ssm.inner_size"]
