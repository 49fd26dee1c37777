"""Imports inside functions are found, wherever they stand in them."""

from __future__ import annotations

import textwrap
import unittest

from aih_plugin._deferred import scan


class Scan(unittest.TestCase):
    def test_imports_inside_functions(self) -> None:
        source = textwrap.dedent('''
            import top
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                import only_types
            try:
                import optional
            except ImportError:
                optional = None

            class A:
                import of_class

                def method(self):
                    """Takes

                    things from the import of others."""
                    if self:
                        import a, b.c as d
                    from e.f import g  # noqa

                async def other(self): # a comment
                    from . import sibling
                    from .. import above
                    from .near import (
                        one,  # first
                        two as three,
                    )
                    from x import y, \\
                        z
                    import last

            import after
        ''')
        found = list(scan(source.splitlines(keepends=True), "package.inner"))
        for name in ("a", "b.c", "e.f", "package.inner", "package", "package.inner.near", "x", "last"):
            self.assertIn(name, found)
        for name in ("top", "only_types", "optional", "of_class", "after", "typing"):
            self.assertNotIn(name, found)

    def test_names_that_are_modules(self) -> None:
        source = ["def f():\n", "    from xml import dom, etree\n", "    from json import loads\n"]
        import xml.dom  # noqa: F401

        found = list(scan(source, ""))
        self.assertIn("xml.etree", found)
        self.assertNotIn("json.loads", found)


if __name__ == "__main__":
    unittest.main()
