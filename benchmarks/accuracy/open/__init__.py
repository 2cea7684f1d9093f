"""Open labels: labels from words and from a few photos, without training."""
