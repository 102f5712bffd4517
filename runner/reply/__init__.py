"""What models write, taken apart on its way up: pure text in, pure text out. Used by the daemon only."""
