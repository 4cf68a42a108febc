"""Everything the classifier raises on purpose.

ClassifierError
├── InputError              the caller's text or body
├── BundleError
│   ├── BundleNotFoundError
│   ├── BundleCorruptError  a digest differs; never loaded
│   ├── BundleSignatureError  not signed by the key that is asked for; never loaded
│   └── BundleVersionError  the format is newer than this code
├── ConfigError             a catalogue or policy file: names file, line and field
├── CalibrationError        fitted values that make no sense
├── PolicyError             a policy that cannot decide
└── InferenceError          the runtime failed

A message says what was found, what was expected and what to do. It never holds the user's text.
"""

from pathlib import Path


class ClassifierError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(ClassifierError):
    """The caller's text or request cannot be used."""


class BundleError(ClassifierError):
    """A bundle cannot be loaded."""


class BundleNotFoundError(BundleError):
    """There is no bundle at the given path."""


class BundleCorruptError(BundleError):
    """A file of the bundle is not the one its manifest describes."""


class BundleSignatureError(BundleError):
    """The bundle is not signed by the key that is asked for, or that key cannot be used."""


class BundleVersionError(BundleError):
    """The bundle's format is newer than this code reads."""


class ConfigError(ClassifierError):
    """A catalogue or policy file is wrong; the message names file, line and field."""

    def __init__(self, path: Path | str, line: int | None, field: str, problem: str) -> None:
        self.path, self.line, self.field, self.problem = str(path), line, field, problem
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {field}: {problem}")


class CalibrationError(ClassifierError):
    """A calibration value is not usable."""


class PolicyError(ClassifierError):
    """The policy cannot decide with what it was given."""


class InferenceError(ClassifierError):
    """The inference runtime failed on a text."""
