"""Where and how the project's students are trained and deployed, and the endpoint of a deployed one."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from pydantic import SecretStr

from raft_assets.provisioning.catalogue import student_hosting
from raft_assets.settings.endpoints import Endpoint, HostingSettings, Role
from raft_assets.settings.project import Project
from raft_assets.student.azure_ml import AzureMLHosting
from raft_assets.student.azure_openai import AzureOpenAIHosting
from raft_assets.student.deployment import StudentDeployment
from raft_assets.student.hosting import HostingService


def hosting_settings(project: Project) -> HostingSettings:
    """Return how the student is trained and deployed: as `.env` says, else as its base model allows it."""
    return project.environment.hosting(student_hosting(project.endpoints[Role.STUDENT]))


@contextmanager
def open_hosting(project: Project) -> Iterator[HostingService | None]:
    """Open the hosting service of fine-tuned students; None where a model's id is its deployment.

    Raises SettingsError if Azure's subscription or workspace is unknown.
    """
    student, environment = project.endpoints[Role.STUDENT], project.environment
    if student.is_azure_openai:
        with closing(AzureOpenAIHosting(student, hosting_settings(project))) as hosting:
            yield hosting
    elif student.provider == "azureml":
        with closing(AzureMLHosting(student, environment.ml_workspace(), hosting_settings(project))) as serverless:
            yield serverless
    else:
        yield None


def endpoint_of(project: Project, deployed: StudentDeployment) -> Endpoint:
    """Return the endpoint of a deployed student: the student's service, or its own with a key that is read now."""
    endpoint = project.endpoints[Role.STUDENT]
    if endpoint.provider != "azureml" or not deployed.is_hosted:
        return endpoint
    with open_hosting(project) as hosting:
        assert isinstance(hosting, AzureMLHosting)
        key = SecretStr(hosting.key(deployed.name))
    return replace(endpoint, provider="openai", base_url=deployed.service, api_key=key)
