"""What both entries do when the component is built: the plugin is imported, and with it all that it may need."""

from __future__ import annotations

import sys

from . import _deferred, _loop, log

log._install()
if sys.platform == "wasi":
    _loop.install()
    _deferred.load_standard()

# The build writes this module: it imports the author's file, and nothing else.
import _aih_user  # type: ignore[import-not-found]  # noqa: E402, F401

if sys.platform == "wasi":
    _deferred.load_all()
