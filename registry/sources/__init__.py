"""Where models come from. One module per kind of source; they don't know each other."""
