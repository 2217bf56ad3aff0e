"""Frames over time: films, live cameras, temporal consistency, moving masks."""
