"""servebench: load tester and capacity planner for large-model inference."""

__version__ = "0.1.0"
