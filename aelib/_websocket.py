"""The kernel's websocket without Nagle's algorithm, for JupyterLab and for Voilà.

A small message that follows another one would wait for the first to be acknowledged, which takes a browser up to 40 ms:
a slider's picture would come as much later. Jupyter is told to use this class by `etc/jupyter/jupyter_server_config.d/
aelib.json`, Voilà by `aelib.application`.
"""

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's connection between a kernel and a browser, which sends every message at once."""

    def connect(self) -> Any:
        """Connect, with TCP_NODELAY set.

        Returns
        -------
        Any
            What Jupyter's own method returns.
        """
        self.websocket_handler.set_nodelay(True)
        return super().connect()
