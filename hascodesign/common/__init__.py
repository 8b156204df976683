"""What every room uses: files, stored records, statistics, the terminal."""
