"""The conversation in the terminal: what was said (session), the commands in it (slash), and the prompt (repl)."""
