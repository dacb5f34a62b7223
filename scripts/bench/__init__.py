"""How fast is it: python -m scripts.bench (make bench)."""
