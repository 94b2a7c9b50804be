"""Each command of the command line as a function; one file each."""
