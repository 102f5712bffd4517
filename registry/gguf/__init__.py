"""GGUF files, read in pure Python and believed only as far as they can be checked; never their weights."""
