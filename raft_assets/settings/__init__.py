"""Presets, `domain.yaml`, the environment, endpoints, a project's folders, and the table of settings groups."""
