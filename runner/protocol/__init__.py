"""What crosses the pipe between the daemon and a worker, and nothing else."""
