"""Fault injection: runs are killed and damaged, resumed, and compared with undisturbed ones."""
