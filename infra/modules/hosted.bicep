metadata description = 'The platform on Container Apps: its containers, a job per run, its database, and who may come in.'

param token string
param location string
param tags object

@description('The managed identity that everything here acts as: id, name, client id and object id.')
param identity object

@description('Name and tag of the image in the registry; empty: registry, network and database are made, no container yet.')
param image string
param registryName string
param databaseName string

@description('Log Analytics workspace that gets what containers print; empty: none does.')
param logsId string

@description('Variables of the platform besides those below: name and value of each, none of them a secret.')
param settings array

@description('Client id of the registration by which people sign in; empty: nothing is reachable from outside.')
param authClientId string

@description('Object id of the group whose members may start runs; empty: only the deploying person.')
param authGroup string

@description('Object id of the group whose members may look; empty: no webserver for them.')
param viewersGroup string
param principalId string
param principalType string
param storageName string

var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'
var managedIdentityOperator = 'f1a07417-d97a-45cb-824c-7a7467783830'
var jobsContributor = '4e3d2b60-56ae-4dc6-a233-09c8e5a82e68'

// a group, or a person who is known; never whoever has an account in the tenant
var operators = empty(authGroup)
  ? {
      identities: [
        principalId
      ]
    }
  : {
      groups: [
        authGroup
      ]
    }
var hasOperators = !empty(authGroup) || (!empty(principalId) && principalType == 'User')
var isOpen = !empty(authClientId) && hasOperators
var hasViewers = isOpen && !empty(viewersGroup)
// Azure's own command line, by which `raft` signs in on a laptop
var azureCommandLine = '04b07795-8ddb-461a-bbee-02f9e1bf7b46'
// the name by which built-in sign-in takes a token of the identity in place of a secret
var assertionSetting = 'override-use-mi-fic-assertion-client-id'
var signInSecrets = isOpen
  ? [
      {
        name: assertionSetting
        value: identity.clientId
      }
    ]
  : []
var databaseNames = [
  'dagster'
  'coordination'
]
var imageName = '${registry.properties.loginServer}/${image}'
var blob = '${storageName}.dfs.core.windows.net'
var variables = concat(
  [
    {
      name: 'PGHOST'
      value: server.properties.fullyQualifiedDomainName
    }
    {
      name: 'DAGSTER_POSTGRES_USER'
      value: identity.name
    }
    {
      name: 'RAFT_COORDINATION'
      value: 'postgresql://${identity.name}@${server.properties.fullyQualifiedDomainName}/coordination'
    }
    {
      name: 'AZURE_CLIENT_ID'
      value: identity.clientId
    }
    {
      name: 'AZURE_SUBSCRIPTION_ID'
      value: subscription().subscriptionId
    }
    {
      name: 'DAGSTER_CURRENT_IMAGE'
      value: imageName
    }
    {
      name: 'RAFT_CODE_SERVER_HOST'
      value: '127.0.0.1'
    }
    {
      name: 'RAFT_RUN_LAUNCHER'
      value: 'container-apps'
    }
    {
      name: 'RAFT_JOBS_RESOURCE_GROUP'
      value: resourceGroup().name
    }
    {
      name: 'RAFT_JOBS_REGION'
      value: location
    }
    {
      name: 'RAFT_JOBS_ENVIRONMENT'
      value: apps.id
    }
    {
      name: 'RAFT_JOBS_IDENTITY'
      value: identity.id
    }
    {
      name: 'RAFT_COMPUTE_LOGS'
      value: 'blob'
    }
    {
      name: 'RAFT_COMPUTE_LOGS_ACCOUNT'
      value: storageName
    }
    {
      name: 'RAFT_COMPUTE_LOGS_CONTAINER'
      value: 'logs'
    }
    {
      name: 'RAFT_DATA'
      value: 'abfs://data@${blob}'
    }
    {
      name: 'RAFT_LAKE'
      value: 'abfs://lake@${blob}/raft'
    }
    {
      name: 'RAFT_CALLS'
      value: 'abfs://calls@${blob}/raft'
    }
  ],
  settings
)
var waiting = concat(variables, [
  {
    name: 'RAFT_WAIT_FOR_CODE_SERVER'
    value: 'true'
  }
])
// without an ingress nothing outside a replica reaches a container: the code server stands beside those that ask it
var codeServer = {
  name: 'code-server'
  image: imageName
  env: variables
  resources: {
    cpu: json('1')
    memory: '2Gi'
  }
  probes: [
    {
      type: 'Startup'
      tcpSocket: {
        port: 4000
      }
      periodSeconds: 5
      failureThreshold: 48
    }
    {
      type: 'Liveness'
      tcpSocket: {
        port: 4000
      }
      periodSeconds: 30
      failureThreshold: 4
    }
  ]
}
var webserverProbes = [
  {
    type: 'Startup'
    httpGet: {
      path: '/server_info'
      port: 3000
    }
    periodSeconds: 10
    failureThreshold: 30
  }
  {
    type: 'Liveness'
    httpGet: {
      path: '/server_info'
      port: 3000
    }
    periodSeconds: 30
    timeoutSeconds: 20
    failureThreshold: 4
  }
]
var webserver = [
  'dagster-webserver'
  '--host'
  '0.0.0.0'
  '--port'
  '3000'
  '--workspace'
  'workspace.yaml'
]

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: registryName
  location: location
  tags: tags
  sku: {
    name: 'Basic'
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.71.0.0/16'
      ]
    }
    subnets: [
      {
        name: 'apps'
        properties: {
          addressPrefix: '10.71.0.0/23'
          delegations: [
            {
              name: 'apps'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'database'
        properties: {
          addressPrefix: '10.71.2.0/28'
          delegations: [
            {
              name: 'database'
              properties: {
                serviceName: 'Microsoft.DBforPostgreSQL/flexibleServers'
              }
            }
          ]
        }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: '${databaseName}.private.postgres.database.azure.com'
  location: 'global'
  tags: tags
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: 'platform'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}

// signed in to by Entra alone, and only from the network
resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: databaseName
  location: location
  tags: tags
  sku: {
    name: 'Standard_B2s'
    tier: 'Burstable'
  }
  properties: {
    version: '17'
    storage: {
      storageSizeGB: 32
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: 14
      geoRedundantBackup: 'Disabled'
    }
    highAvailability: {
      mode: 'Disabled'
    }
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: subscription().tenantId
    }
    network: {
      delegatedSubnetResourceId: '${network.id}/subnets/database'
      privateDnsZoneArmResourceId: zone.id
      publicNetworkAccess: 'Disabled'
    }
  }
  dependsOn: [
    link
  ]
}

// one after another: the server refuses a second change while the first is made
@batchSize(1)
resource databases 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = [
  for name in databaseNames: {
    parent: server
    name: name
    properties: {
      charset: 'UTF8'
      collation: 'en_US.utf8'
    }
  }
]

resource administrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: identity.principalId
  properties: {
    principalName: identity.name
    principalType: 'ServicePrincipal'
    tenantId: subscription().tenantId
  }
  dependsOn: [
    databases
  ]
}

resource apps 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: 'cae-${token}'
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: empty(logsId)
      ? null
      : {
          // by a diagnostic setting, which needs no key of the workspace
          destination: 'azure-monitor'
        }
    vnetConfiguration: {
      infrastructureSubnetId: '${network.id}/subnets/apps'
      internal: false
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(logsId)) {
  scope: apps
  name: 'raft'
  properties: {
    workspaceId: logsId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}

resource myself 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identity.name
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, identity.principalId, acrPull)
  properties: {
    principalId: identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
  }
}

// to give itself to the jobs that it makes
resource operate 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: myself
  name: guid(myself.id, identity.principalId, managedIdentityOperator)
  properties: {
    principalId: identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', managedIdentityOperator)
  }
}

// on the group: a job per run is made and deleted there
resource makeJobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, identity.principalId, jobsContributor)
  properties: {
    principalId: identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', jobsContributor)
  }
}

resource platform 'Microsoft.App/containerApps@2025-01-01' = if (!empty(image)) {
  name: 'raft-${token}'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: apps.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: isOpen
        targetPort: 3000
        transport: 'http'
        allowInsecure: false
      }
      registries: [
        {
          server: registry.properties.loginServer
          identity: identity.id
        }
      ]
      secrets: signInSecrets
    }
    template: {
      containers: [
        codeServer
        {
          name: 'webserver'
          image: imageName
          args: webserver
          env: waiting
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          probes: webserverProbes
        }
        {
          name: 'daemon'
          image: imageName
          args: [
            'dagster-daemon'
            'run'
            '--workspace'
            'workspace.yaml'
          ]
          env: waiting
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
        }
      ]
      // one: two daemons would launch a run twice
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
    }
  }
  dependsOn: [
    administrator
    pull
  ]
}

resource signIn 'Microsoft.App/containerApps/authConfigs@2025-01-01' = if (!empty(image) && isOpen) {
  parent: platform
  name: 'current'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      redirectToProvider: 'azureactivedirectory'
      unauthenticatedClientAction: 'RedirectToLoginPage'
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: authClientId
          clientSecretSettingName: assertionSetting
          openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            authClientId
            'api://${authClientId}'
          ]
          defaultAuthorizationPolicy: {
            allowedApplications: [
              authClientId
              azureCommandLine
            ]
            allowedPrincipals: operators
          }
        }
      }
    }
  }
}

resource viewer 'Microsoft.App/containerApps@2025-01-01' = if (!empty(image) && hasViewers) {
  name: 'raft-view-${token}'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    environmentId: apps.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        targetPort: 3000
        transport: 'http'
        allowInsecure: false
      }
      registries: [
        {
          server: registry.properties.loginServer
          identity: identity.id
        }
      ]
      secrets: signInSecrets
    }
    template: {
      containers: [
        codeServer
        {
          name: 'webserver'
          image: imageName
          args: concat(webserver, [
            '--read-only'
          ])
          env: waiting
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          probes: webserverProbes
        }
      ]
      scale: {
        minReplicas: 0
        maxReplicas: 1
      }
    }
  }
  dependsOn: [
    administrator
    pull
  ]
}

resource viewerSignIn 'Microsoft.App/containerApps/authConfigs@2025-01-01' = if (!empty(image) && hasViewers) {
  parent: viewer
  name: 'current'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      redirectToProvider: 'azureactivedirectory'
      unauthenticatedClientAction: 'RedirectToLoginPage'
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: authClientId
          clientSecretSettingName: assertionSetting
          openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            authClientId
          ]
          defaultAuthorizationPolicy: {
            allowedApplications: [
              authClientId
            ]
            allowedPrincipals: {
              groups: [
                viewersGroup
              ]
            }
          }
        }
      }
    }
  }
}

output registry string = registry.properties.loginServer
output url string = isOpen ? 'https://raft-${token}.${apps.properties.defaultDomain}' : ''
output viewersUrl string = hasViewers ? 'https://raft-view-${token}.${apps.properties.defaultDomain}' : ''
