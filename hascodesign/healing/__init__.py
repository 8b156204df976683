"""From what a chip in use answers to the schedule that heals it, and to the proof that it did."""
