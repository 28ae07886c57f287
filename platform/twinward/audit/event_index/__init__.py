"""Every event's facts in columns, in memory: what officers filter, sort, count and chart a million events by.

``columns``: the facts as numbers. ``strings``: the texts, each kept once. ``selection``: which events fit a query.
``index``: filled from the log, newest first. What is *shown* of an event is always read from the log itself.
"""
