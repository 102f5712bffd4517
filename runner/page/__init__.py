"""The web page at `/`: its files, and the Markdown of answers as HTML."""
