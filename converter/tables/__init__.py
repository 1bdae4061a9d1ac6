"""Mapping tables: rows, kinds, variants; which variant a file is, and what becomes of it."""
