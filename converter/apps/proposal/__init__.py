"""Propose a mapping table for a pair of models that no table describes, and prove it."""

from ._prove import Proposal, propose_table

__all__ = ["Proposal", "propose_table"]
