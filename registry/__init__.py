"""What exists: modalities, models, routes, and how they are read from a file."""

from registry.adapters import Adapter, PerExpert
from registry.errors import RegistryError
from registry.modality import Input, Modality
from registry.models import BrokenModel, Defaults, FlowShift, Limits, ModelSpec, Registry, Route, Size
