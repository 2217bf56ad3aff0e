"""Networks and their files: encoders, decoders, feed-forward networks, predictors, segmentation."""
