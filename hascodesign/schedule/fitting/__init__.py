"""A row written for the slot it stands on: words, sign, thresholds; in the memories alone."""
