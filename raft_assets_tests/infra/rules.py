"""What this product promises of all that it makes on Azure: no keys, roles by id on a resource, nothing public."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from raft_assets_tests.infra.evaluate import Deployment, Sent

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "c883944f-8b7b-4483-af10-35834be79c4a": "Foundry Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
}
ROLES_OF_A_PLATFORM = {
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "f1a07417-d97a-45cb-824c-7a7467783830": "Managed Identity Operator",
    "4e3d2b60-56ae-4dc6-a233-09c8e5a82e68": "Container Apps Jobs Contributor",
}
JOBS_CONTRIBUTOR = "4e3d2b60-56ae-4dc6-a233-09c8e5a82e68"  # on the group, where a job per run is made
PROMISED: Mapping[str, Mapping[str, Any]] = {
    "Microsoft.CognitiveServices/accounts": {"disableLocalAuth": True, "allowProjectManagement": True},
    "Microsoft.CognitiveServices/accounts/deployments": {"versionUpgradeOption": "NoAutoUpgrade"},
    "Microsoft.Storage/storageAccounts": {
        "allowSharedKeyAccess": False,
        "allowBlobPublicAccess": False,
        "defaultToOAuthAuthentication": True,
        "minimumTlsVersion": "TLS1_2",
        "supportsHttpsTrafficOnly": True,
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {"publicAccess": "None"},
    "Microsoft.Insights/components": {"DisableLocalAuth": True},
    "Microsoft.ContainerRegistry/registries": {"adminUserEnabled": False, "anonymousPullEnabled": False},
    # purge protection would keep `azd down --purge` from purging; None: not set
    "Microsoft.KeyVault/vaults": {"enableRbacAuthorization": True, "enablePurgeProtection": None},
}
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ON_A_RESOURCE = re.compile(r"/resourceGroups/[^/]+/providers/.+/providers/Microsoft\.Authorization/roleAssignments/")


def broken_promises(found: Deployment) -> list[str]:
    """What is made otherwise than promised."""
    return [f"{one.id}: {said}" for one in found.resources for said in _broken(one)]


def _broken(one: Sent) -> Iterator[str]:
    properties = one.body.get("properties") or {}
    for name, value in PROMISED.get(one.type, {}).items():
        if properties.get(name) != value:
            yield f"{name} is {properties.get(name)!r}, and {value!r} is promised"
    if one.type.endswith("/accounts/deployments") and (one.loop is None or one.loop[1] != 1):
        yield "deployments of an account must be made one at a time"
    if one.body.get("kind") == "Hub" and properties.get("systemDatastoresAuthMode") != "Identity":
        yield "a hub on storage without keys needs systemDatastoresAuthMode Identity"
    if one.type == "Microsoft.Authorization/roleAssignments":
        role = properties["roleDefinitionId"].rpartition("/")[2]
        if role not in ROLES | ROLES_OF_A_PLATFORM:
            yield f"the role {properties['roleDefinitionId']} is not one of {', '.join(ROLES.values())}"
        if not properties.get("principalType") or not properties["principalId"]:
            yield "an assignment needs a principal and its type"
        is_on_a_resource = ON_A_RESOURCE.search(one.id) or role == JOBS_CONTRIBUTOR
        if not is_on_a_resource or not GUID.fullmatch(one.id.rpartition("/")[2]):
            yield "an assignment is on a resource, and its name is a GUID"
