"""Moving bytes over a network into an ingest, so that an interruption costs only what was missing."""
