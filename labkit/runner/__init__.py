"""Notebooks run headless by papermill, within limits, and believed only when verified."""
