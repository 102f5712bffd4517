"""`python -m runner.engine`: a worker. The daemon starts it; by hand it only waits for frames on stdin."""

import sys

from runner.engine.worker import main

if __name__ == "__main__":
    sys.exit(main())
