"""Permutations: gradients for orders of items (Plackett-Luce), and Gumbel-Sinkhorn."""
