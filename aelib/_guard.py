"""Voilà behind Jupyter's token, for `aelib.application`.

Voilà alone asks for no token and answers under any name: every user of the machine, and every web page whose name is
made to point to 127.0.0.1 ("DNS rebinding"), could talk to the kernel.
"""

import hmac
import secrets
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError
from voila.app import Voila
from voila.request_info_handler import RequestInfoSocketHandler
from voila.tornado.handler import TornadoVoilaHandler


class GuardedVoila(Voila):
    """Voilà for those who have its token, under this machine's own names only.

    The token is generated at each start, or that of the environment's `JUPYTER_TOKEN`, as for JupyterLab.
    """

    def __init__(self, **settings: Any) -> None:
        # A voila.json, even one in the folder where it is started, could change how the page is guarded.
        super().__init__(auto_token=True, config_file_paths=[], **settings)
        self._door = _Door()

    @property
    def page_url(self) -> str:
        """Address of the page, with its token."""
        return f"{self.connection_url}?token={self.identity_provider.token}"

    @property
    def door_url(self) -> str:
        """Address that leads to the page once, for a browser's command line, which every user can read."""
        return f"{self.connection_url}open/{self._door.new_key()}"

    def init_settings(self) -> dict[str, Any]:
        """Have the host name of every request checked.

        Returns
        -------
        dict
            Voilà's settings, with the guard's.
        """
        return super().init_settings() | {"allow_remote_access": False}

    def init_handlers(self) -> list[Any]:
        """Add the door, and leave out what tells requests' addresses to kernels: it asks for no token.

        Returns
        -------
        list
            Routes and their handlers. Those that still ask for no token serve files of installed packages.
        """
        kept = [
            (pattern, _PageHandler if handler is TornadoVoilaHandler else handler, *rest)
            for pattern, handler, *rest in super().init_handlers()
            if handler is not RequestInfoSocketHandler
        ]
        return [(f"{self.base_url}open/(.*)", _DoorHandler, {"door": self._door}), *kept]


class _PageHandler(TornadoVoilaHandler):
    async def prepare(self) -> None:
        """Give the page the cookie that it must show when it is left, to have its kernel ended."""
        await super().prepare()
        _ = self.xsrf_token  # sets it


class _Door:
    """A key that opens once."""

    def __init__(self) -> None:
        self._key = ""

    def new_key(self) -> str:
        self._key = secrets.token_hex(16)
        return self._key

    def opens(self, key: str) -> bool:
        fits = bool(self._key) and hmac.compare_digest(key.encode(), self._key.encode())
        if fits:
            self._key = ""
        return fits


class _DoorHandler(JupyterHandler):
    def initialize(self, door: _Door) -> None:
        self._door = door

    @allow_unauthenticated
    def get(self, key: str) -> None:
        if not self._door.opens(key):
            raise HTTPError(
                403, "This address leads to the page once. The printed one does so again and again."
            )
        self.redirect(f"{self.base_url}?token={self.identity_provider.token}")
