"""chromadb: a collection whose vectors come from its Ollama embedding function."""

import json
import sys

import chromadb
import ollama
from chromadb.config import Settings
from chromadb.utils.embedding_functions import OllamaEmbeddingFunction

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
embed = OllamaEmbeddingFunction(url=ADDRESS, model_name=ASKED["model"])


def embeddings():
    return [[float(value) for value in vector] for vector in embed(ASKED["texts"])]


def collection():
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    kept = client.create_collection("texts", embedding_function=embed)
    kept.add(ids=["first", "second"], documents=ASKED["texts"])
    return kept.query(query_texts=[ASKED["texts"][0]], n_results=1)["ids"][0]


def unknown_model():
    try:
        OllamaEmbeddingFunction(url=ADDRESS, model_name=ASKED["missing"])(ASKED["texts"])
    except ollama.ResponseError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": error.error}
