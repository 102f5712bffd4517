"""Settings as the command line shows them (card) and writes them (file)."""
