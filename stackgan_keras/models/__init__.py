"""The networks as Keras functional models, on any backend: no files but weights, no random numbers."""
