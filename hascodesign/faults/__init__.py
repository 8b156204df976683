"""Fault profiles of a PE array: check, read, write, draw, import and show them."""
