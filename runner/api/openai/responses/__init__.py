"""OpenAI's Responses: answers as items and typed events, some of them kept for the next request to go on from."""
