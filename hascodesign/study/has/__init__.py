"""The HAS study's own experiment: float32 partial sums, every PE transiently faulty."""
