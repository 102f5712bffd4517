"""The dialect of OpenAI's clients, under `/v1`."""
