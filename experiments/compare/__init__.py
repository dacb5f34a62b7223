"""Comparison of all estimators at fixed weights: bias, variance, evaluations of f and time."""
