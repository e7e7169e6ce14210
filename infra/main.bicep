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
