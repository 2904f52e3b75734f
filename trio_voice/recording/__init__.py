"""Recordings of calls: what the caller said and what the caller heard, on one time axis."""
