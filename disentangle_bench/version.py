"""The version, in one place: the package need not be installed to know it."""

__version__ = "0.1.0"
