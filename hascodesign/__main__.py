"""`python -m hascodesign` is the `hascodesign` command."""

from hascodesign.cli import main

main()
