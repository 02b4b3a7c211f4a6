"""The families of encoders, one a file: how each is taken apart, and where its layers take adapters.

Every module of this package registers its family when it is imported, and all of them are imported here.
``docs/encoders.md`` shows how to add one.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
