"""How `demo.gguf` is made. Nothing in Runner imports this package; it needs torch and tokenizers, which Runner does not."""
