"""Files of other programs: checkpoints of StackGAN's two releases, char-CNN-RNNs, and sentences embedded elsewhere."""
