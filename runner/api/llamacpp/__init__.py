"""The dialect of llama-server's clients: tokens, rendered prompts and infill, with vLLM's form of the first two."""
