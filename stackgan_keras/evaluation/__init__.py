"""Scores of generated images: FID, KID, Inception Score, R-precision, diversity; of drawn birds attribute accuracy."""
