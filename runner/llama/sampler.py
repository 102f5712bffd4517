"""How the next token is chosen: a chain of llama.cpp's samplers in llama.cpp's order, one for each request."""

from __future__ import annotations

import ctypes
import functools
import random
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from runner.llama.candidates import candidates
from runner.llama.model import Model
from runner.protocol.options import SampleOptions

_MIROSTAT_M = 100  # candidates that mirostat 1 estimates from, as in its paper


class Sampler:
    """Chooses tokens for one request. Its random state is its own: neighbours in the batch don't change the outcome.

    No two threads may use one sampler at the same time; different ones need nothing from each other. Where another has
    `drawn` tokens of the answer already, this one goes on as that one would have; `led` says that it drew lots for some
    of them only (or several times), so that lots of its own are as good.
    """

    def __init__(self, model: Model, options: SampleOptions, *, drawn: int = 0, led: bool = False) -> None:
        self._options = options
        outlasts_end = options.ignore_eos or options.min_tokens > 0
        self._end_tokens = np.fromiter(model.end_tokens if outlasts_end else (), np.int64)
        self._accepted = 0
        # Without anything that looks at the past or draws lots, the best token needs no chain.
        self.is_greedy = (
            options.temperature <= 0.0
            and options.dry_multiplier <= 0.0
            and not options.logit_bias
            and not _penalises(options)
        )
        self._reach = _reach(model, options)
        self._chain = None if self.is_greedy else _build(model, options, drawn, led=led)

    def close(self) -> None:
        if self._chain is not None:
            lib.llama_sampler_free(self._chain)
            self._chain = None

    def feed(self, tokens: Sequence[int]) -> None:
        """Let penalties know what stands in the context already (the prompt, or a resumed answer)."""
        if self._reach:
            for token in tokens[-self._reach :]:
                lib.llama_sampler_accept(self._chain, token)

    def sample(self, logits: npt.NDArray[np.float32]) -> int:
        """Choose the token that follows this row of logits, shape (n_vocab,), and remember it.

        Writes into the row where the end may not come yet.
        """
        token = self.propose(logits)
        self.accept(token)
        return token

    @property
    def learns_from_drawing(self) -> bool:
        """Whether a token that is proposed and not accepted leaves a trace in later choices."""
        return self._options.mirostat != 0

    def propose(self, logits: npt.NDArray[np.float32], allowed: npt.NDArray[np.int64] | None = None) -> int:
        """Choose as `sample` does, or among the `allowed` ids only, without remembering the choice.

        Where the end may not come yet, it comes all the same if nothing else is allowed.
        """
        if self._options.ignore_eos or self._accepted < self._options.min_tokens:
            if allowed is None:
                logits[self._end_tokens] = -np.inf
            elif len(others := np.setdiff1d(allowed, self._end_tokens, assume_unique=True)):
                allowed = others
        if self._chain is not None:
            return candidates(len(logits)).choose(self._chain, logits, allowed)
        return int(logits.argmax()) if allowed is None else int(allowed[logits[allowed].argmax()])

    def accept(self, token: int) -> None:
        """Remember a token that was proposed, or that had to come."""
        self._accepted += 1
        if self._chain is not None:
            lib.llama_sampler_accept(self._chain, token)


def _penalises(options: SampleOptions) -> bool:
    return options.repeat_last_n != 0 and (
        options.repeat_penalty != 1.0 or options.presence_penalty != 0.0 or options.frequency_penalty != 0.0
    )


def _window(model: Model, tokens: int) -> int:
    """How far back a sampler looks: it allocates that much, so never further than a context can reach. -1 is all."""
    return model.n_ctx_train if tokens < 0 else min(tokens, model.n_ctx_train)


def _reach(model: Model, options: SampleOptions) -> int:
    """How many of the latest tokens make a difference to the next one."""
    penalties = _window(model, options.repeat_last_n) if _penalises(options) else 0
    return max(penalties, _window(model, options.dry_penalty_last_n) if options.dry_multiplier > 0.0 else 0)


def _build(model: Model, options: SampleOptions, drawn: int, *, led: bool) -> Any:
    params = lib.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = lib.llama_sampler_chain_init(params)
    # llama.cpp takes 32 bits and reads the largest value as "choose one yourself".
    seed = (random.getrandbits(32) if options.seed < 0 else options.seed) % 0xFFFFFFFF
    if drawn and (led or options.mirostat or options.xtc_probability > 0.0):
        # How often lots were drawn isn't known. The same ones again would tie the rest of the answer to its beginning.
        seed, drawn = random.Random(seed << 32 | drawn).getrandbits(32) % 0xFFFFFFFF, 0
    for sampler in _links(model, options, seed):
        lib.llama_sampler_chain_add(chain, sampler)
    if drawn and options.temperature > 0.0:
        _advance(lib.llama_sampler_chain_get(chain, lib.llama_sampler_chain_n(chain) - 1), drawn)
    return chain


def _advance(lots: Any, times: int) -> None:
    """Let the link that draws lots do so: it draws one for each token, even if there is only one to choose from."""
    row = (lib.llama_token_data * 1)()
    raw = lib.llama_token_data_array(data=row, size=1, selected=-1, sorted=False)
    for _ in range(times):
        lib.llama_sampler_apply(lots, ctypes.byref(raw))


def _links(model: Model, options: SampleOptions, seed: int) -> Iterable[Any]:
    """The chain's links in llama.cpp's order; those that would change nothing are left out."""
    o = options
    if o.logit_bias:
        biases = (lib.llama_logit_bias * len(o.logit_bias))(
            *(lib.llama_logit_bias(token, bias) for token, bias in o.logit_bias.items())
        )
        yield lib.llama_sampler_init_logit_bias(model.n_vocab, len(o.logit_bias), biases)
    if _penalises(o):
        last = _window(model, o.repeat_last_n)
        yield lib.llama_sampler_init_penalties(
            model.n_vocab, last, o.repeat_penalty, o.frequency_penalty, o.presence_penalty
        )
    if o.dry_multiplier > 0.0:
        last = _window(model, o.dry_penalty_last_n)
        dry = _dry(model, o.dry_multiplier, o.dry_base, o.dry_allowed_length, last, o.dry_sequence_breakers)
        yield lib.llama_sampler_clone(dry.handle)
    if o.temperature <= 0.0:
        yield lib.llama_sampler_init_greedy()
        return
    if o.mirostat == 1:
        yield lib.llama_sampler_init_temp(o.temperature)
        yield lib.llama_sampler_init_mirostat(model.n_vocab, seed, o.mirostat_tau, o.mirostat_eta, _MIROSTAT_M)
        return
    if o.mirostat == 2:
        yield lib.llama_sampler_init_temp(o.temperature)
        yield lib.llama_sampler_init_mirostat_v2(seed, o.mirostat_tau, o.mirostat_eta)
        return
    if o.top_n_sigma > 0.0:
        yield lib.llama_sampler_init_top_n_sigma(o.top_n_sigma)
    if o.top_k > 0:
        yield lib.llama_sampler_init_top_k(o.top_k)
    if o.typical_p < 1.0:
        yield lib.llama_sampler_init_typical(o.typical_p, 1)
    if o.top_p < 1.0:
        yield lib.llama_sampler_init_top_p(o.top_p, 1)
    if o.min_p > 0.0:
        yield lib.llama_sampler_init_min_p(o.min_p, 1)
    if o.xtc_probability > 0.0:
        yield lib.llama_sampler_init_xtc(o.xtc_probability, o.xtc_threshold, 1, seed)
    yield lib.llama_sampler_init_temp(o.temperature)
    yield lib.llama_sampler_init_dist(seed)


class _Prototype:
    """A sampler that others are cloned from. Freed with this object."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        weakref.finalize(self, lib.llama_sampler_free, handle)


@functools.lru_cache(maxsize=4)
def _dry(
    model: Model, multiplier: float, base: float, allowed_length: int, last: int, breakers: tuple[str, ...]
) -> _Prototype:
    """DRY before its first token. Looking each breaker up takes llama.cpp 30 ms in a vocabulary of 150k tokens."""
    array = (ctypes.c_char_p * len(breakers))(*(text.encode() for text in breakers))
    return _Prototype(
        lib.llama_sampler_init_dry(model.vocab, multiplier, base, allowed_length, last, array, len(breakers))
    )
