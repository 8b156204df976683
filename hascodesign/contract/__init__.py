"""The array contract (docs/array.md) in Python: it imports nothing above itself."""
