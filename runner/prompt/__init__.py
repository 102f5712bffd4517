"""Conversations to prompt text, on the way down. In the worker: the daemon never runs a stranger's template."""
