"""`python -m hascodesign` is the `hascodesign` command."""

from hascodesign.cli.main import main

main()
