"""What `runner doctor` looks at itself: Runner's affairs (checks), the installation, the shell's variables (shell)."""
