"""A panel that a plugin adds to the studio."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A tab of the studio: `name` in its address, `title` on it, and its script.

    `name` is lower-case letters, digits and hyphens. `script` is the path of an ES module on this server; its GET needs
    no key, as browsers send none for it. It exports `default (root, page) => void`, which fills the element `root`. An
    `admin` panel is for those who may administer the server.
    """

    name: str
    title: str
    script: str
    admin: bool = False
