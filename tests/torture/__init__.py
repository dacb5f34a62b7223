"""Runs killed and harmed in every way that we know, and what was left of them."""
