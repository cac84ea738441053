"""What `prepare` does: captioned images of any source to a folder in the published layout, with their embeddings."""
