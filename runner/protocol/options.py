"""The options of one load and of one generation, as they cross the pipe.

Names and defaults are those of `modelfiles.parameters`, the one table; a test holds the two together. Values arrive
here checked: whoever builds these structs has been through `modelfiles.parameters.check`.
"""

from __future__ import annotations

import msgspec

_MORE_OUTPUTS = 16  # a prompt whose every token is scored advances by this many a step; drafts take as many
POOLED = 32  # sequences that share the pool where there is a wide lane for the many


def outputs_of(sequences: int) -> int:
    """Rows of logits that one step may give: one for each sequence, and some for drafts or to score a prompt."""
    return sequences + _MORE_OUTPUTS


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is brought into memory. A change of any of these means another load."""

    num_ctx: int  # tokens that one request may use, prompt and answer together
    num_parallel: int  # sequences decoded together, 1..256
    cells: int = 0  # tokens that the sequences of the pool together may hold; 0 means num_ctx * num_parallel
    wide_sequences: int = 0  # of the lane of short slots that is made beside the pool when many come; 0 means none
    wide_cells: int = 0  # tokens that each of them may hold
    num_batch: int = 512  # token budget of one step
    num_gpu: int = -1  # layers offloaded; -1 means as many as fit
    main_gpu: int = 0
    num_thread: int = 0  # 0 means the physical cores
    use_mmap: bool = True
    kv_cache_type: str = "f16"
    cache_type_k: str = "auto"  # of the keys alone; auto takes kv_cache_type
    cache_type_v: str = "auto"
    flash_attn: str = "auto"
    device: str = "auto"  # a backend, a device by name, several of them with commas, or cpu
    split_mode: str = "layer"
    tensor_split: str = "auto"  # shares of the devices, such as 3,1; auto leaves it to the plan
    num_cpu_moe: int = -1  # layers whose experts stay with the CPU; -1 leaves it to the plan


def cache_types(options: LoadOptions) -> tuple[str, str]:
    """The types of keys and values in the KV cache, by ggml's names."""
    k, v = options.cache_type_k, options.cache_type_v
    return options.kv_cache_type if k == "auto" else k, options.kv_cache_type if v == "auto" else v


def pooled(options: LoadOptions) -> int:
    """How many sequences share the pool: all, or some where the many have a wide lane."""
    return min(options.num_parallel, POOLED) if options.wide_sequences else options.num_parallel


class SampleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen, and when to stop."""

    num_predict: int = -1  # tokens to generate at most; -1 means until the context is full
    seed: int = -1  # -1 means another one each time
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    num_keep: int = 4
    min_tokens: int = 0
    ignore_eos: bool = False
    draft_num_predict: int = 4  # tokens that the draft model guesses for one step at most, if there is one
    prompt_lookup_num_tokens: int = 0  # tokens that are guessed from the text itself
    stop: tuple[str, ...] = ()
    logit_bias: dict[int, float] = {}
