"""The version of pkicode, for `[project] requires` and for plans."""

VERSION = "0.1.0"
