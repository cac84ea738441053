"""What `prepare` does: captioned pictures of any source to a folder in the published layout, with their embeddings."""
