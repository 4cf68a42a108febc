"""Secrets and names are taken out of logs as the service takes them out of what it stores: `classifier/masking.py`."""

from pointsman.classifier.masking import EMAIL, SECRET, USER, Masker

__all__ = ["EMAIL", "SECRET", "USER", "Masker"]
