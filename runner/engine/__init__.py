"""The worker process (`python -m runner.engine`): one model, many sequences, one decode at a time."""
