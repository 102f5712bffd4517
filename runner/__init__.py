"""Runner: pull a GGUF model by name, run it, and serve it to every tool on this machine."""

__version__ = "0.1.0"
