"""Coding assistants and how each is pointed at Runner: one YAML of facts for each, and one engine that acts on them.

A room of its own: it knows files, environments and what assistants read, and nothing of Runner's insides.
"""
