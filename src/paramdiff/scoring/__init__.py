"""Many parameter sets of one network: predictions, with every shared part computed once."""
