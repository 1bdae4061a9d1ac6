"""Mapping tables: one TOML file per family, what each layer kind is, and the shapes of every variant."""
