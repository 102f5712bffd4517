"""The C boundary: thin objects over llama-cpp-python's low-level bindings. Imported by the worker only."""
