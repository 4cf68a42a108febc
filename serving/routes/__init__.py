"""One file per resource: validate, call, convert."""
