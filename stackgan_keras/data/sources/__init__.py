"""The sources of captioned images that `prepare` reads: every module of this folder that has a `READER`."""

import importlib
import pkgutil
from pathlib import Path

from stackgan_keras.data.sources.reader import Reader


def readers() -> dict[str, Reader]:
    """The sources by their names, in their order."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = [module.READER for module in modules if hasattr(module, "READER")]
    return {reader.name: reader for reader in sorted(found, key=lambda reader: reader.order)}


def recognise(folder: Path) -> Reader:
    """The source that a folder is: one of the published sets, drawn birds, or a captioned folder of one's own."""
    return next(reader for reader in readers().values() if reader.recognises(folder))
