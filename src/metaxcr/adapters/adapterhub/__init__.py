"""AdapterHub's files: configurations, tensor names, import and export, the index of public adapters."""
