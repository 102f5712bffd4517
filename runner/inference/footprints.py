"""From a model's header to what the memory plan starts from. Knows headers and the plan's values, and no store."""

from __future__ import annotations

from collections.abc import Collection

from registry.gguf import architectures as known
from registry.gguf.facts import Facts
from registry.gguf.sizes import ByType
from runner.scheduler.memory import Block, Footprint, Graph

_STATE = 4  # bytes of a value that a recurrent layer remembers


def footprint_of(
    facts: Facts,
    *,
    weights: int,
    packs: Collection[str] = (),
    adapters: int = 0,
    projector: int = 0,
    prefixes: int = 0,
    embeds: bool = False,
    draft: Footprint | None = None,
) -> Footprint:
    """What a model takes, by its header. `weights` is bytes of its files, `adapters` among them; `packs` names types of
    matrices that this machine's CPU keeps in another order; `projector` and `prefixes` are bytes as in Footprint."""
    sizes, cache = facts.sizes, facts.cache
    cached = dict(zip(cache.places, cache.layers, strict=True))
    states = cache.states or (0,) * len(sizes.layers)
    blocks = tuple(
        Block(
            weights=layer.weights,
            experts=layer.experts,
            packed=_packed(layer.packable, packs),
            keys=cached[index].keys if index in cached else 0,
            values=cached[index].values if index in cached else 0,
            window=cached[index].window if index in cached else 0,
            state=_STATE * states[index],
        )
        for index, layer in enumerate(sizes.layers)
    )
    return Footprint(
        weights=weights,
        kv=facts.kv_bytes_per_token(),
        state=cache.state_bytes,
        vocabulary=facts.vocabulary,
        width=facts.embedding_length,
        projector=projector,
        blocks=blocks if any(block.weights for block in blocks) else (),
        tables=sizes.tables,
        output=sizes.output + (sizes.table if sizes.is_tied else 0),
        is_tied=sizes.is_tied,
        output_packed=_packed(sizes.output_packable, packs),
        edges=_packed(sizes.edges, packs),
        adapters=adapters,
        graph=_graph(facts),
        prefixes=prefixes,
        trained=facts.context_length,
        embeds=embeds,
        draft=draft,
    )


def _graph(facts: Facts) -> Graph:
    widths, heads = facts.sizes.widths, max(facts.heads, default=0)
    latent = any(layer.keys and not layer.values for layer in facts.cache.layers)
    return Graph(
        width=facts.embedding_length,
        heads=heads,
        queries=widths.queries if latent else max(widths.queries, heads * facts.key_length),
        attended=widths.queries if latent else heads * facts.key_length,
        feed=widths.feed,
        expert_feed=widths.expert_feed,
        expert_inner=widths.inner,
        experts_used=facts.expert_used_count if widths.expert_feed else 0,
        state=widths.state,
        convolved=widths.convolved,
        delta=facts.architecture in known.DEFAULT_INTERVAL,
        hybrid=facts.hybrid,
        by_layer=widths.by_layer,
        latent=latent,
        cacheless=facts.architecture in known.CACHELESS,
    )


def _packed(by_type: ByType, packs: Collection[str]) -> int:
    return sum(size for kind, size in by_type if kind in packs)
