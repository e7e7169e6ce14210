metadata description = 'Deployments of base models in an account, and who may ask, fine-tune and deploy there.'

param accountName string
param deployments array
param principals array

// the role by id: names change, and this one is Foundry Owner
var foundryOwner = 'c883944f-8b7b-4483-af10-35834be79c4a'

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: accountName
}

// one at a time: an account refuses a second deployment while the first is made
@batchSize(1)
resource models 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = [
  for deployment in deployments: {
    parent: account
    name: deployment.name
    tags: {
      'raft-roles': join(deployment.roles, ' ')
    }
    sku: {
      name: deployment.sku
      capacity: deployment.capacity
    }
    properties: {
      model: {
        format: deployment.format
        name: deployment.model
        version: deployment.version
      }
      // a teacher whose version changes would make other data than the day before
      versionUpgradeOption: 'NoAutoUpgrade'
    }
  }
]

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for principal in principals: {
    scope: account
    name: guid(account.id, principal.id, foundryOwner)
    properties: {
      principalId: principal.id
      principalType: principal.type
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', foundryOwner)
    }
  }
]

output accountId string = account.id
output endpoint string = account.properties.endpoint
