"""``python -m paramdiff``: the command line, in the form that launchers of processes ask for."""

from paramdiff.cli import main

main()
