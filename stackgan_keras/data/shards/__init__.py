"""Data past one machine's memory: images at their training size, captions and embeddings in TFRecord shards."""
