"""Boards, their capacity, and the tools that synthesise for them."""
