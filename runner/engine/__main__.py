"""`python -m runner.engine`: a worker. The daemon starts it; by hand it only waits for frames on stdin.

With `--spare` it was started before there was a model for it. Ends without taking the interpreter apart, which takes as
long as a small model's load: somebody may be waiting for the memory, and the system takes everything back anyway.
"""

import os
import sys

from runner.engine.worker import main

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
