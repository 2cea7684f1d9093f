"""Open labels: words by their grade, and the intervals of taught labels."""
