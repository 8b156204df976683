"""A core's check of its array: the activations that it plays and the signature that it makes."""

from __future__ import annotations

COLUMNS = 8  # of every pass, a power of two
SEED = 0x9E3779B9  # of the activations, xorshift32; any but 0
POLYNOMIAL = 0x04C11DB7  # of the signature: CRC-32's, most significant bit first
