"""Anthropic's dialect: messages and the counting of their tokens, over the same requests as the other dialects."""
