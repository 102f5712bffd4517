"""Names, bytes and where they come from: the content-addressed store, GGUF headers, create and pull.

Synchronous and thread-safe; progress is told by callback. Knows the Modelfile language and nothing of the
daemon, its settings or its processes.
"""
