"""Adversarial training of the two stages, and of the text encoder before them."""
