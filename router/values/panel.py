"""A panel that a plugin adds to the studio."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A tab of the studio, filled by a script.

    `name` stands in its address: lower-case letters, digits and hyphens; `title` stands on the tab. `script` is the
    path of an ES module on this server, which needs no key, as browsers send none for it. The module exports
    `default (root, page) => void`, which fills the element `root`. An `admin` panel is for administrators.
    """

    name: str
    title: str
    script: str
    admin: bool = False
