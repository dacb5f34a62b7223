"""The discrete VAE on binary images: every estimator on sigmoid belief networks."""
