"""What the verbs of the command line do beside ``run`` and ``sweep``: one file each."""
