"""The command line: one file for each group of commands. Nothing here loads torch or numpy before it works."""
