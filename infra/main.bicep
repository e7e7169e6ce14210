targetScope = 'subscription'

metadata description = 'Everything that raft-assets uses on Azure, in one resource group. What is optional is a switch.'

@description('Name of the azd environment. Names that are not set follow from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of everything that is made.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Resource group; empty: rg- and the name of the azd environment.')
@maxLength(90)
param resourceGroupName string = ''

@description('Whether the resource group exists and belongs to others, so that it is neither made nor tagged.')
param useExistingGroup bool = false

@description('Resource id of a Foundry or Azure OpenAI account that exists; empty: an account and a project are made.')
param existingAccountId string = ''

@description('Object id of who may ask, fine-tune, deploy and write the lake; empty: nobody but the managed identity.')
param principalId string = ''

@description('Kind of that principal.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param principalType string = 'User'

@description('Deployments of base models: name, format, model, version, sku, capacity and roles of each.')
param deployments array = []

@description('Addresses and ranges (IPv4, CIDR) that may reach account, storage and vault; empty: all networks.')
param ipRanges array = []

@description('Whether to recover the account of this name that was deleted and not purged.')
param restoreAccount bool = false

@description('Whether to make a Log Analytics workspace and Application Insights.')
param monitoring bool = true

@description('US dollars a month from which a budget of the resource group tells by mail; 0: no budget.')
@minValue(0)
param budget int = 0

@description('First day of the budget, which can not change later; empty: the first of this month.')
param budgetStart string = ''

@description('Who is told of the budget besides the owners of the resource group.')
param budgetEmail string = ''

@description('Whether to make an Azure ML hub and project, which the classic serverless path needs.')
param classic bool = false

@description('Name of the account, also its subdomain; empty: derived.')
@maxLength(64)
param accountName string = ''

@description('Name of the Foundry project; empty: raft.')
@maxLength(64)
param projectName string = ''

@description('Name of the managed identity; empty: derived.')
param identityName string = ''

@description('Name of the storage account; empty: derived.')
@maxLength(24)
param storageName string = ''

@description('Name of the Log Analytics workspace; empty: derived.')
@maxLength(63)
param logsName string = ''

@description('Name of Application Insights; empty: derived.')
param insightsName string = ''

@description('Name of the key vault of the classic path; empty: derived.')
@maxLength(24)
param vaultName string = ''

@description('Name of the Azure ML hub; empty: derived.')
@maxLength(33)
param hubName string = ''

@description('Name of the Azure ML project; empty: derived.')
@maxLength(33)
param hubProjectName string = ''

@description('Whether to make the platform: containers, a job per run, PostgreSQL and a registry.')
param hosted bool = false

@description('Name and tag of the platform\'s image in the registry; empty: no container yet.')
param image string = ''

@description('Variables of the platform besides those of what is made here: name and value of each, no secret.')
param hostedSettings array = []

@description('Client id of the registration by which people sign in; empty: nothing is reachable from outside.')
param authClientId string = ''

@description('Object id of the group whose members may start runs; empty: only the deploying person.')
param authGroup string = ''

@description('Object id of the group whose members may look at everything and start nothing; empty: none.')
param viewersGroup string = ''

@description('Name of the container registry; empty: derived.')
@maxLength(50)
param registryName string = ''

@description('Name of the PostgreSQL server; empty: derived.')
@maxLength(63)
param databaseName string = ''

var groupName = empty(resourceGroupName) ? 'rg-${environmentName}' : resourceGroupName

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = if (!useExistingGroup) {
  name: groupName
  location: location
  tags: {
    'azd-env-name': environmentName
  }
}

module resources 'resources.bicep' = {
  name: 'raft-resources'
  scope: resourceGroup(groupName)
  params: {
    environmentName: environmentName
    location: location
    existingAccountId: existingAccountId
    principalId: principalId
    principalType: principalType
    deployments: deployments
    ipRanges: ipRanges
    restoreAccount: restoreAccount
    monitoring: monitoring
    budget: budget
    budgetStart: budgetStart
    budgetEmail: budgetEmail
    classic: classic
    accountName: accountName
    projectName: projectName
    identityName: identityName
    storageName: storageName
    logsName: logsName
    insightsName: insightsName
    vaultName: vaultName
    hubName: hubName
    hubProjectName: hubProjectName
    hosted: hosted
    image: image
    hostedSettings: hostedSettings
    authClientId: authClientId
    authGroup: authGroup
    viewersGroup: viewersGroup
    registryName: registryName
    databaseName: databaseName
  }
  dependsOn: [
    group
  ]
}

// azd writes outputs into its environment; `raft azure export` reads them there. None of them is a secret.
output AZURE_RESOURCE_GROUP string = groupName
output RAFT_ACCOUNT_ID string = resources.outputs.RAFT_ACCOUNT_ID
output RAFT_ACCOUNT_ENDPOINT string = resources.outputs.RAFT_ACCOUNT_ENDPOINT
output RAFT_STORAGE_ACCOUNT string = resources.outputs.RAFT_STORAGE_ACCOUNT
output RAFT_IDENTITY_CLIENT_ID string = resources.outputs.RAFT_IDENTITY_CLIENT_ID
output RAFT_BUDGET_START string = resources.outputs.RAFT_BUDGET_START
output AZUREML_WORKSPACE string = resources.outputs.AZUREML_WORKSPACE
output RAFT_IDENTITY_PRINCIPAL_ID string = resources.outputs.RAFT_IDENTITY_PRINCIPAL_ID
output RAFT_REGISTRY string = resources.outputs.RAFT_REGISTRY
output RAFT_HOSTED_URL string = resources.outputs.RAFT_HOSTED_URL
output RAFT_VIEWERS_URL string = resources.outputs.RAFT_VIEWERS_URL
