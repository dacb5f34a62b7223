"""The benchmark of training steps: python -m scripts.bench (make bench)."""
