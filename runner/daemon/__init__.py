"""The daemon process: settings, store and sockets, then the parts from the scheduler up to the application."""
