"""The dialect of Ollama's clients, under `/api`."""
