"""What the flow found, for programs (JSON), for people (HTML with plots) and for the terminal."""
