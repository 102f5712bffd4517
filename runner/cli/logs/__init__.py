"""Reading logs: the files (files), their lines (lines), and which models have some (models)."""
