"""Which model is resident and who waits: admission in front of the workers. The daemon's half of the two loops."""
