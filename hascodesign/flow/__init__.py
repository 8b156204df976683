"""The flow: its steps, their store, and what is delivered."""
