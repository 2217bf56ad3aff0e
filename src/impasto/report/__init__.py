"""Comparisons as one page that works offline, with Markdown and CSV beside it.

contenders names who takes part; cells paints and keeps every cell, so that a run can be stopped and taken up again;
scoring is the seam to the scores; comparison reads a folder back; page, tables and study write it for people, by the
templates of render and the plots of svg. Everything is painted through a callable that the caller gives, so that this
package needs no engine.
"""
