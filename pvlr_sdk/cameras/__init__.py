"""Cameras, on top of what runs on a device: sources, streams, events, sinks, a memory, a site, its page and API."""
