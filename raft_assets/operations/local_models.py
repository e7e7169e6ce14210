"""The project's local provider: open models on this machine."""

from raft_assets.local.provider import PYTHON_VARIABLE, LocalProvider
from raft_assets.settings.project import Project


def local_provider(project: Project) -> LocalProvider:
    """Return the provider; its interpreter is the project's, or the one that `RAFT_LOCAL_PYTHON` names."""
    return LocalProvider(
        state=project.local_folder,
        environment=project.home / "local-env",
        huggingface_home=project.huggingface_home,
        python=project.environment.get(PYTHON_VARIABLE),
    )
