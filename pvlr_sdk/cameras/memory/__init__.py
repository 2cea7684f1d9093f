"""A memory of events: what the network saw, so that events can be searched, explained and replayed."""
