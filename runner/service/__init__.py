"""Runner as a service: units for systemd, launchd and Windows, files for containers, and what the daemon tells its
supervisor. The templates are package data beside this. Knows no daemon's insides."""
