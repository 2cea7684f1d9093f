"""The catalogue of released models, and finding, downloading and opening them; the bundled model's files."""
