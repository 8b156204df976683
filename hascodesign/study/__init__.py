"""Experiments: many flows, one table and one figure."""
