"""The styles that a collection of paintings holds: embedded, clustered, drawn as a map, and written as style files."""
