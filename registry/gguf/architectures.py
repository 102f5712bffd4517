"""What the pinned engine knows of architectures, as plain data.

Names and patterns are facts read from the llama.cpp inside llama-cpp-python 0.3.36. When the pin moves, these
tables move with it. Reads nothing and decides nothing.
"""

from __future__ import annotations

from typing import Final

ENGINE: Final = "llama-cpp-python 0.3.36 (llama.cpp 0.5.0-dev, 0c1e57098)"
"""As `runner.llama.library.version` has it."""

ARCHITECTURES: Final = frozenset({
    "afmoe", "apertus", "arcee", "arctic", "arwkv7", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3",
    "bert", "bitnet", "bloom", "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "cohere2moe",
    "command-r", "dbrx", "deci", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32", "deepseek4",
    "dflash", "dots1", "dots3note", "dream", "eagle3", "ernie4_5", "ernie4_5-moe", "eurobert", "exaone",
    "exaone-moe", "exaone4", "falcon", "falcon-h1", "gemma", "gemma-embedding", "gemma2", "gemma3",
    "gemma3n", "gemma4", "gemma4-assistant", "glm-dsa", "glm4", "glm4moe", "glm5-next", "gpt-oss", "gpt2",
    "gptj", "gptneox", "granite", "granite_swa", "granitehybrid", "granitemoe", "graniteswitch", "grok",
    "grovemoe", "hrm_text", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3", "hy_v4", "internlm2",
    "jais", "jais2", "jamba", "jina-bert-v2", "jina-bert-v3", "kimi-k3", "kimi-linear", "laguna", "lfm2",
    "lfm2moe", "llada", "llada-moe", "llama", "llama-embed", "llama4", "maincoder", "mamba", "mamba2",
    "maple", "mellum", "mimo2", "minicpm", "minicpm3", "minimax-01", "minimax-m2", "minimax-m3", "mistral3",
    "mistral4", "modern-bert", "mpt", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h",
    "nemotron_h_moe", "neo-bert", "nomic-bert", "nomic-bert-moe", "olmo", "olmo2", "olmoe", "openelm",
    "orion", "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo2", "plamo3", "plm",
    "pockettts", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe",
    "qwen3next", "qwen3tts", "qwen3vl", "qwen3vlmoe", "qwen4exp", "refact", "rnd1", "rwkv6", "rwkv6qwen2",
    "rwkv7", "seed_oss", "smallthinker", "smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2",
    "step35", "t5", "t5encoder", "talkie", "wavtokenizer-dec", "xverse",
})  # fmt: skip
"""Every `general.architecture` that the engine loads as a model."""

RECURRENT: Final = frozenset({
    "arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7",
})  # fmt: skip
"""No attention at all: a state of constant size per sequence."""

HYBRID: Final = frozenset({
    "bailingmoe3", "deepseek4", "falcon-h1", "glm5-next", "granitehybrid", "jamba", "kimi-k3",
    "kimi-linear", "lfm2", "lfm2moe", "minimax-01", "nemotron_h", "nemotron_h_moe", "plamo2", "qwen35",
    "qwen35moe", "qwen3next", "qwen4exp",
})  # fmt: skip
"""Some layers attend, others keep a state of constant size."""

CACHELESS: Final = frozenset({
    "bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe",
    "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec",
})  # fmt: skip
"""See the whole text at once, and keep no cache between decodes."""

ENCODERS: Final = frozenset({
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llama-embed", "modern-bert",
    "neo-bert", "nomic-bert", "nomic-bert-moe", "t5encoder",
})  # fmt: skip
"""Made to embed or to rank; they generate nothing."""

SLIDING: Final = {
    "afmoe": (4, False), "cohere2": (4, False), "cohere2moe": (4, True), "exaone-moe": (4, False),
    "exaone4": (4, False), "gemma2": (2, False), "gemma3": (6, False), "gemma3n": (5, False),
    "gpt-oss": (2, False), "laguna": (4, True), "llama4": (4, False), "mellum": (4, False),
    "muse-glimmer": (4, False), "olmo2": (4, False), "plamo3": (8, False), "smallthinker": (4, True),
    "dots3note": (0, False), "gemma4": (0, False), "gemma4-assistant": (0, False), "granite_swa": (0, False),
    "lfm2": (0, False), "lfm2moe": (0, False), "maple": (0, False), "mimo2": (0, False),
    "spark2_5": (0, False), "step35": (0, False),
}  # fmt: skip
"""Sliding windows where the header has no pattern: every n-th layer sees all, the first or the last of each n.
0: the header says which layers slide, and without its word all do."""

DEFAULT_WINDOW: Final = {
    "exaone-moe": 128, "exaone4": 4096, "gemma2": 4096, "llama4": 8192, "smallthinker": 4096,
}  # fmt: skip
"""Windows that some architectures have without saying so."""

DEFAULT_INTERVAL: Final = {"minimax-01": 8, "qwen35": 4, "qwen35moe": 4, "qwen3next": 4, "qwen4exp": 4}
"""Hybrids in which every n-th layer attends, unless the header says otherwise."""

FEEDS_ALONE: Final = frozenset({"nemotron_h", "nemotron_h_moe"})
"""Hybrids in which a layer either attends, keeps a state, or feeds forward."""

SHARED_CACHE_FROM: Final = {"gemma3n": 20}
"""Layers from this one on reuse the cache of earlier ones."""

MOST_LAYERS: Final = 512
MOST_EXPERTS: Final = 1024
"""Above these the engine aborts."""
