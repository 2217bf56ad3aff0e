"""The Objectives: content, style, total variation and temporal losses."""
