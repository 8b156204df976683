"""Search for the row maps that cost a network the least on a faulty array."""
