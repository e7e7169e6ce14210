metadata description = 'Azure ML hub and project for students that are trained and served serverless.'

param vaultName string
param hubName string
param projectName string
param location string
param tags object
param ipRanges array
param storageId string

@description('Application Insights of the hub; empty: none.')
param insightsId string
param principals array

// AzureML Data Scientist
var dataScientist = 'f6c7c914-8db3-469d-8ca1-694a8f32e121'

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: vaultName
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    // without purge protection, which would keep `azd down --purge` from purging
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: empty(ipRanges) ? 'Allow' : 'Deny'
      ipRules: [
        for address in ipRanges: {
          value: address
        }
      ]
    }
  }
}

resource hub 'Microsoft.MachineLearningServices/workspaces@2025-06-01' = {
  name: hubName
  location: location
  tags: tags
  kind: 'Hub'
  sku: {
    name: 'Basic'
    tier: 'Basic'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    friendlyName: hubName
    storageAccount: storageId
    keyVault: vault.id
    applicationInsights: empty(insightsId) ? null : insightsId
    // the storage account takes no key
    systemDatastoresAuthMode: 'Identity'
    publicNetworkAccess: 'Enabled'
  }
}

resource project 'Microsoft.MachineLearningServices/workspaces@2025-06-01' = {
  name: projectName
  location: location
  tags: tags
  kind: 'Project'
  sku: {
    name: 'Basic'
    tier: 'Basic'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    friendlyName: projectName
    hubResourceId: hub.id
  }
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in principals: {
    scope: project
    name: guid(project.id, principal.id, dataScientist)
    properties: {
      principalId: principal.id
      principalType: principal.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataScientist)
    }
  }
]

output projectName string = project.name
