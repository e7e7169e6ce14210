metadata description = 'A Foundry account without keys, and a project in it.'

param name string
param projectName string
param location string
param tags object
param ipRanges array
param restore bool

@description('Log Analytics workspace that gets the metrics and the list of requests; empty: none does.')
param logsId string

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'AIServices'
  sku: {
    name: 'S0'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    customSubDomainName: name
    allowProjectManagement: true
    disableLocalAuth: true
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      defaultAction: empty(ipRanges) ? 'Allow' : 'Deny'
      ipRules: [
        for address in ipRanges: {
          value: address
        }
      ]
    }
    restore: restore
  }
}

resource project 'Microsoft.CognitiveServices/accounts/projects@2025-06-01' = {
  parent: account
  name: projectName
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    displayName: projectName
  }
}

// who called what, and how long it took; Azure logs no prompt and no answer here
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(logsId)) {
  scope: account
  name: 'raft'
  properties: {
    workspaceId: logsId
    logs: [
      {
        category: 'Audit'
        enabled: true
      }
      {
        category: 'RequestResponse'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output accountName string = account.name
