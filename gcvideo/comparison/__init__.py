"""Runs that were tested on the same videos, side by side; see `comparison.comparison`."""
