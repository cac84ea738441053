"""Images and sentences in: the published layout, its sources, and the tf.data pipeline."""
