"""The embedded provider on a port of this machine, for any OpenAI client: `raft serve`.

The provider has no authentication, so by default it answers on the loopback interface only, and only to requests that
name it so (a web page that resolves its own name to this machine is rejected).
"""

import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from raft_assets.core.addresses import LOCAL_NAMES, is_loopback, listen
from raft_assets.core.errors import SettingsError
from raft_assets.embedded.app import create_app
from raft_assets.embedded.settings import EmbeddedSettings
from raft_assets.embedded.simulation import SimulatedService, Simulation


def serve(
    settings: EmbeddedSettings,
    *,
    host: str = "127.0.0.1",
    port: int,
    allow_remote: bool = False,
    simulation: Simulation | None = None,
) -> None:
    """Serve until interrupted, with a `simulation` as a hosted service would.

    Raises SettingsError for an address that other machines can reach, unless allowed, and for a port that is taken.
    """
    local = is_loopback(host)
    if not local and not allow_remote:
        raise SettingsError(
            f"The embedded provider has no authentication, and {host} is not an address of this machine alone. "
            "Use 127.0.0.1, or allow remote access explicitly."
        )
    listener = listen(host, port, who="The embedded provider")
    app: ASGIApp = create_app(settings)
    if simulation:
        app = SimulatedService(app, simulation)
    if local:
        app = TrustedHostMiddleware(app, allowed_hosts=LOCAL_NAMES, www_redirect=False)
    level = "critical" if simulation else "warning"  # a simulated reset is a mistake to the server
    config = uvicorn.Config(app, log_level=level, access_log=False, lifespan="off")
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
