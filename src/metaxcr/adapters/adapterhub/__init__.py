"""AdapterHub's files: their configurations and tensor names, import and export, the index of public adapters."""
