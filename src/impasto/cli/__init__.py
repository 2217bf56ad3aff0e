"""The command line: the edge that prints and exits."""
