"""Models that other tools on this machine have already: found without hashing, taken in without copying."""
