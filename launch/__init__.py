"""Training jobs on the command line; each module is one command."""
