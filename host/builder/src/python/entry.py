"""What componentize-py is given: the author's exports, or the SDK's, which are made of what the author defined."""

import contextlib
import gc

import _aih_dense
import _aih_immortal

_WORLD = "@WORLD@"


def _report(error):
    import json
    import os
    import traceback

    # What happened in the author's own file was written down where it happened.
    if os.path.exists("/0/failure.json"):
        return
    said = {"kind": type(error).__name__, "message": str(error)}
    if frames := traceback.extract_tb(error.__traceback__):
        said["message"] += f" ({frames[-1].filename}:{frames[-1].lineno})"
    with open("/0/failure.json", "w") as file:
        json.dump(said, file)


try:
    if _WORLD == "plugin":
        from aih_plugin._plugin_entry import Tools  # noqa: F401
    elif _WORLD == "hook":
        from aih_plugin._hook_entry import Hooks  # noqa: F401
    else:
        import _aih_user

        for _name in ("Tools", "Hooks"):
            if hasattr(_aih_user.module, _name):
                globals()[_name] = getattr(_aih_user.module, _name)
except BaseException as _error:
    _report(_error)
    raise

# Without it, calls are slower and no more.
with contextlib.suppress(Exception):
    _aih_immortal.write("/0/objects")
    _aih_dense.fill()
    # A collection within a call need not walk what is there now, which would copy each page of it.
    gc.freeze()
