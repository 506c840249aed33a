"""The reader of model folders: pipeline, parts and files, without opening a tensor.

Models files, `serve --model`, `check`, `doctor`, sizes, loading and export all use it.
"""

from registry.errors import FolderError
from registry.folders import hub_cache
from registry.folders.files import absent
from registry.folders.model import INDEX, ModelFolder, Part
from registry.folders.reader import changed_at, missing, read, stamp, weights_in
from registry.folders.safetensors import Tensor
from registry.folders.weights import Weights
