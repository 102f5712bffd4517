"""Whether the daemon of this container answers: `python -m runner.service.alive`, status 0 if so. Needs no key."""

from __future__ import annotations

import http.client
import os
import sys

from runner.config.values import PORT, parse_address

_PATIENCE = 5.0  # seconds


def main() -> int:
    """Ask /livez on loopback, at the port that RUNNER_HOST names."""
    address = parse_address(os.environ.get("RUNNER_HOST") or f"127.0.0.1:{PORT}")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/livez")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"runner: the daemon does not answer at {address}: {error}\n")
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
