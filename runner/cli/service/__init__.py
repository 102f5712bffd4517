"""What `runner service` acts on (place), and how it takes the place of a daemon that runs already (takeover)."""
