"""The fault model: exact accumulators of a faulty array, and whole networks on it."""
