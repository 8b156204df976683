"""Self-diagnosis: test vectors for an array, and the fault profile that its answers tell of."""
