"""One verb a file. Each offers `command`, built on use by `runner.cli.verbs`, and its `EXAMPLES` for the help text."""
