"""Blocks with a formula."""
