"""Several recipes as runs that share equal stages, compared on one page."""
