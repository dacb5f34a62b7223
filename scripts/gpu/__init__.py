"""Everything that needs a GPU, in one command: python -m scripts.gpu (make gpu)."""
