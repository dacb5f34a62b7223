"""The experiments: toy, vae, rl, permutations, and the machinery that they share."""

import os

# Before torch is imported: a matrix product's bits must not depend on where it lies in memory, or
# a replica would not equal the run alone.
os.environ.setdefault("MKL_CBWR", "AUTO")
