"""An answer drawn on a terminal while it arrives: blocks of text, their rows, and when they are painted."""
