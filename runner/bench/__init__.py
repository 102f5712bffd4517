"""The load generator: asks any OpenAI-compatible URL as many users would, and measures what they see.

A room of its own: it knows URLs and the vocabulary, and nothing of Runner's insides.
"""
