"""Imports the author's file, and writes down why that failed."""

import importlib.util
import json
import sys
import traceback

_FILE = "@FILE@"


def _report(error):
    said = {"kind": type(error).__name__, "message": str(error)}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("/2/")]
    if frames:
        said.update(file=frames[-1].filename, line=frames[-1].lineno)
    if isinstance(error, SyntaxError):
        said.update(message=error.msg, file=error.filename, line=error.lineno, column=error.offset)
    if isinstance(error, ImportError) and error.name:
        said.update(name=error.name, standard=error.name.split(".")[0].lstrip("_") in sys.stdlib_module_names)
    with open("/0/failure.json", "w") as file:
        json.dump(said, file)


def _load():
    name = _FILE.rpartition("/")[2].removesuffix(".py").replace("-", "_")
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = "_aih_plugin_file"
    spec = importlib.util.spec_from_file_location(name, "/2/" + _FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        _report(error)
        raise
    return module


module = _load()
