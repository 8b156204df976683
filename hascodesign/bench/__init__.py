"""`hascodesign bench`: the engine's speed beside that of clean inference and of its peers."""
