"""The page: its files and their routes."""
