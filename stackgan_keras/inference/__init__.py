"""Trained runs at work: sentences to images, and files for other runtimes."""
