"""The decision service: HTTP in front of `pointsman.classifier`, with a record of what it decided."""
