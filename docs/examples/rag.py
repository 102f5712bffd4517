"""Answers a question from a folder of Markdown: embeddings and chat by Runner, the vectors in Qdrant.

    pip install openai qdrant-client
    runner pull all-minilm
    python rag.py docs "Which exit code means that the daemon is busy?" --model qwen3:4b

Nothing here is Runner's own but the address. Qdrant runs inside this program and keeps the vectors in a folder; with
`QdrantClient(url=...)` the same lines talk to its server. A passage that is in the index already isn't embedded again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from openai import OpenAI
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointIdsList, PointStruct, VectorParams

COLLECTION = "passages"
LONGEST = 900  # characters of a passage: all-minilm sees 512 tokens, and short passages are found better
BATCH = 64  # passages in one request: Runner computes them together


def main() -> None:
    wanted = argparse.ArgumentParser(description="Ask a folder of Markdown.")
    wanted.add_argument("folder", type=Path)
    wanted.add_argument("question")
    wanted.add_argument("--model", default="qwen3:4b", help="who answers")
    wanted.add_argument("--embedder", default="all-minilm", help="who turns texts into vectors")
    wanted.add_argument("--index", default="rag-index", help="folder of the vectors")
    wanted.add_argument("--passages", type=int, default=4, help="how many the model is shown")
    given = wanted.parse_args()

    address = os.environ.get("RUNNER_HOST", "127.0.0.1:11435")
    client = OpenAI(base_url=f"http://{address}/v1", api_key=os.environ.get("RUNNER_API_KEY", "unused"))
    index = QdrantClient(path=given.index)
    added = bring_up_to_date(index, client, given.embedder, given.folder)
    print(f"{added} new passages", file=sys.stderr)

    question = embedded(client, given.embedder, [given.question])[0]
    found = index.query_points(COLLECTION, query=question, limit=given.passages).points
    for point in found:
        print(f"{point.score:.3f}  {point.payload['place']}", file=sys.stderr)
    for piece in answer(client, given.model, given.question, [point.payload["text"] for point in found]):
        print(piece, end="", flush=True)
    print()
    index.close()


def bring_up_to_date(index: QdrantClient, client: OpenAI, embedder: str, folder: Path) -> int:
    """Embed the passages that are new, and drop those that are gone. Returns how many were new."""
    if not index.collection_exists(COLLECTION):
        size = len(embedded(client, embedder, ["how long is a vector?"])[0])
        index.create_collection(COLLECTION, vectors_config=VectorParams(size=size, distance=Distance.COSINE))
    # What a passage is called, by where it stands and what it says: a changed one is another one.
    there = {
        str(uuid5(NAMESPACE_URL, f"{place}\n{text}")): {"place": place, "text": text}
        for path in sorted(folder.rglob("*.md"))
        for place, text in passages(str(path.relative_to(folder)), path.read_text(encoding="utf-8"))
    }
    points, _ = index.scroll(COLLECTION, limit=1_000_000, with_payload=False)
    known = {str(point.id) for point in points}
    if gone := list(known - there.keys()):
        index.delete(COLLECTION, points_selector=PointIdsList(points=gone))
    fresh = [name for name in there if name not in known]
    for start in range(0, len(fresh), BATCH):
        names = fresh[start : start + BATCH]
        vectors = embedded(client, embedder, [there[name]["text"] for name in names])
        pairs = zip(names, vectors, strict=True)
        index.upsert(COLLECTION, [PointStruct(id=name, vector=vector, payload=there[name]) for name, vector in pairs])
    return len(fresh)


def passages(page: str, text: str) -> Iterator[tuple[str, str]]:
    """Where and what: paragraphs below one heading, put together up to LONGEST characters."""
    heading, gathered = "", ""
    for paragraph in (each.strip() for each in text.split("\n\n")):
        starts = paragraph.startswith("#")
        if gathered and (starts or len(gathered) + len(paragraph) > LONGEST):
            yield f"{page}: {heading}", f"{heading}\n{gathered}"
            gathered = ""
        if starts:
            heading, _, paragraph = paragraph.lstrip("# ").partition("\n")
        gathered = f"{gathered}\n\n{paragraph[:LONGEST]}".strip()
    if gathered:
        yield f"{page}: {heading}", f"{heading}\n{gathered}"


def embedded(client: OpenAI, model: str, texts: list[str]) -> list[list[float]]:
    """One vector for each text."""
    return [each.embedding for each in client.embeddings.create(model=model, input=texts).data]


def answer(client: OpenAI, model: str, question: str, texts: list[str]) -> Iterator[str]:
    """The answer, piece by piece. The passages go first: a second question about them finds them computed."""
    rules = "Answer from these passages only, and say so if they don't tell."
    updates = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "\n\n---\n\n".join((rules, *texts))},
            {"role": "user", "content": question},
        ],
        stream=True,
    )
    for update in updates:
        yield update.choices[0].delta.content or ""


if __name__ == "__main__":
    main()
