"""The command line: a client with manners. Talks HTTP to the daemon; knows no store, no engine and no scheduler."""
