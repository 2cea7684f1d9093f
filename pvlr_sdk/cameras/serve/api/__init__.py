"""The API: its routes, the schemas of its responses, and the live messages of the page."""
