"""The toy: minimise E[(b - t)^2] over the probability theta of one coin flip b."""
