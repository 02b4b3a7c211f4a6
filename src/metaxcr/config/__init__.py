"""The settings: their schema, reading them from YAML, and the configurations that come with the package."""
