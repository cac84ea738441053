"""Scores of generated images: attribute accuracy, Fréchet distance, diversity."""
