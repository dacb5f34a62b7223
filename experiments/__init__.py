"""The experiments: toy, vae, rl, and the machinery that they share."""
