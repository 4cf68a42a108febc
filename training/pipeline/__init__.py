"""Millions of turns: read, mask, find copies, embed, score; in parts, on one machine or on a Ray cluster."""
