metadata description = 'A budget of the resource group. It tells; it stops nothing.'

param name string
param amount int

@description('First of a month. A budget that exists refuses another one.')
param startDate string
param email string

var contactEmails = empty(email) ? [] : [email]
var contactRoles = [
  'Owner'
]

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: name
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: startDate
    }
    notifications: {
      spent80: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: contactEmails
        contactRoles: contactRoles
      }
      forecast100: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: contactEmails
        contactRoles: contactRoles
      }
    }
  }
}

output startDate string = startDate
