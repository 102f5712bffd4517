"""The worker's shell: what native code that reads a stranger's file may still reach. `enter` is the way in."""
