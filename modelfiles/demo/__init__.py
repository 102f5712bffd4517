"""The embedded model: its GGUF, its Modelfile and the scripts that train it."""
