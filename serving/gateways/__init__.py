"""Drop-ins for the gateways people run; README.md says how each is plugged in."""
