"""What the routes work with, put together once per app."""

from dataclasses import dataclass

from starlette.requests import Request

from .access import Access
from .bundle_watch import BundleWatch
from .deciding import Decider
from .live_model import LiveModel
from .recorder import Recorder
from .settings import Settings
from .store import Store
from .telemetry import Telemetry
from .upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running app."""

    settings: Settings
    model: LiveModel
    decider: Decider
    store: Store
    recorder: Recorder
    telemetry: Telemetry
    upkeep: Upkeep
    access: Access
    watch: BundleWatch


def services_of(request: Request) -> Services:
    """Return the running app's parts."""
    services: Services = request.app.state.services
    return services
