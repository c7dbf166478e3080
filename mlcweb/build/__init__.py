"""Makes many bundles of a list of models: compiles, validates and publishes each, and goes on where one fails.

``models_file`` reads the list, ``task`` makes a bundle, ``child`` runs that in a process, here or on a Dask worker.
"""

from mlcweb.build.models_file import ModelsFile, read_models
from mlcweb.build.run import BuildRequest, BuildView, build, require_all
from mlcweb.build.task import STEPS, Step, Task, TaskResult

__all__ = [
    "STEPS",
    "BuildRequest",
    "BuildView",
    "ModelsFile",
    "Step",
    "Task",
    "TaskResult",
    "build",
    "read_models",
    "require_all",
]
