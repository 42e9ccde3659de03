// One session of about 1 KB, the same for everybody in the benches: the defaults, and some of an app's own data.

export function document() {
  return {
    preferences: { theme: 'dark', timezone: 'Europe/Berlin', language: 'de', refreshInterval: 300000 },
    uiState: { expandedWidgets: ['pull-requests', 'pipelines'], lastVisitedTools: ['github', 'gitlab', 'jira'],
      dashboardLayout: 'default', filterSettings: { assignee: 'me', state: 'open' } },
    toolConfigs: Object.fromEntries(['github', 'gitlab', 'jira'].map((tool) => [tool, {
      enabled: true, settings: { pageSize: 25, sort: 'updated', labels: ['bug', 'release'] }, lastUsed: '2026-01-01T00:00:00.000Z',
    }])),
    authenticatedTools: { github: { connected: true, connectedAt: '2026-01-01T00:00:00.000Z', lastUsed: '2026-01-01T00:00:00.000Z' } },
  };
}
