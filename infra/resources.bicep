targetScope = 'resourceGroup'

// also an entry of its own, for those who may not deploy at a subscription (`infra.module: resources` in azure.yaml)
metadata description = 'What raft-assets uses on Azure, in a resource group that exists.'

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

@description('The first of this month. Only a default value may ask for the time.')
param monthStart string = '${utcNow('yyyy-MM')}-01T00:00:00Z'

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

var token = uniqueString(resourceGroup().id, environmentName)
var tags = {
  'azd-env-name': environmentName
}
var makeAccount = empty(existingAccountId)
// /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.CognitiveServices/accounts/NAME
var existingAccount = split(existingAccountId, '/')
var accountSubscription = makeAccount ? subscription().subscriptionId : existingAccount[2]
var accountGroup = makeAccount ? resourceGroup().name : existingAccount[4]
var people = empty(principalId)
  ? []
  : [
      {
        id: principalId
        type: principalType
      }
    ]
var principals = concat(people, [
  {
    id: identity.outputs.principalId
    type: 'ServicePrincipal'
  }
])

module identity 'modules/identity.bicep' = {
  name: 'raft-identity'
  params: {
    name: empty(identityName) ? 'id-${token}' : identityName
    location: location
    tags: tags
  }
}

module logs 'modules/monitoring.bicep' = if (monitoring) {
  name: 'raft-monitoring'
  params: {
    logsName: empty(logsName) ? 'log-${token}' : logsName
    insightsName: empty(insightsName) ? 'appi-${token}' : insightsName
    location: location
    tags: tags
  }
}

module foundry 'modules/foundry.bicep' = if (makeAccount) {
  name: 'raft-foundry'
  params: {
    name: empty(accountName) ? 'aif-${token}' : accountName
    projectName: empty(projectName) ? 'raft' : projectName
    location: location
    tags: tags
    ipRanges: ipRanges
    restore: restoreAccount
    logsId: monitoring ? logs!.outputs.logsId : ''
  }
}

module models 'modules/models.bicep' = {
  name: 'raft-models'
  scope: resourceGroup(accountSubscription, accountGroup)
  params: {
    accountName: makeAccount ? foundry!.outputs.accountName : existingAccount[8]
    deployments: deployments
    principals: principals
  }
}

module storage 'modules/storage.bicep' = {
  name: 'raft-storage'
  params: {
    name: empty(storageName) ? 'st${token}' : storageName
    location: location
    tags: tags
    ipRanges: ipRanges
    principals: principals
    moreContainers: hosted ? ['data', 'logs'] : []
  }
}

module platform 'modules/hosted.bicep' = if (hosted) {
  name: 'raft-platform'
  params: {
    token: token
    location: location
    tags: tags
    identity: {
      id: identity.outputs.id
      name: identity.outputs.name
      clientId: identity.outputs.clientId
      principalId: identity.outputs.principalId
    }
    image: image
    registryName: empty(registryName) ? 'cr${token}' : registryName
    databaseName: empty(databaseName) ? 'psql-${token}' : databaseName
    logsId: monitoring ? logs!.outputs.logsId : ''
    settings: hostedSettings
    authClientId: authClientId
    authGroup: authGroup
    viewersGroup: viewersGroup
    principalId: principalId
    principalType: principalType
    storageName: storage.outputs.name
  }
}

module spending 'modules/budget.bicep' = if (budget > 0) {
  name: 'raft-budget'
  params: {
    name: 'budget-${token}'
    amount: budget
    startDate: empty(budgetStart) ? monthStart : budgetStart
    email: budgetEmail
  }
}

module serverless 'modules/classic.bicep' = if (classic) {
  name: 'raft-classic'
  params: {
    vaultName: empty(vaultName) ? 'kv-${token}' : vaultName
    hubName: empty(hubName) ? 'hub-${token}' : hubName
    projectName: empty(hubProjectName) ? 'proj-${token}' : hubProjectName
    location: location
    tags: tags
    ipRanges: ipRanges
    storageId: storage.outputs.id
    insightsId: monitoring ? logs!.outputs.insightsId : ''
    principals: principals
  }
}

output AZURE_RESOURCE_GROUP string = resourceGroup().name
output RAFT_ACCOUNT_ID string = models.outputs.accountId
output RAFT_ACCOUNT_ENDPOINT string = models.outputs.endpoint
output RAFT_STORAGE_ACCOUNT string = storage.outputs.name
output RAFT_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output RAFT_BUDGET_START string = budget > 0 ? spending!.outputs.startDate : budgetStart
output AZUREML_WORKSPACE string = classic ? serverless!.outputs.projectName : ''
output RAFT_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output RAFT_REGISTRY string = hosted ? platform!.outputs.registry : ''
output RAFT_HOSTED_URL string = hosted ? platform!.outputs.url : ''
output RAFT_VIEWERS_URL string = hosted ? platform!.outputs.viewersUrl : ''
