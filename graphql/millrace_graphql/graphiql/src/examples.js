// The queries that GraphiQL opens with; each tab runs as it stands once the merchant's id is filled in.
const WINDOW = 600_000;
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');

export function examples(now, merchant) {
  const end = Math.floor(now.getTime() / WINDOW) * WINDOW;
  const merchantId = merchant ?? 'put an id of the first tab here';
  return [
    {
      query: `# Who am I, which merchants may I see, and how fresh are their reports?
query Viewer {
  viewer { role merchants(first: 10) { id name currency timeZone } }
  freshness { completeThrough asOf }
}
`,
      variables: {},
    },
    {
      query: `# The last six hours, ten minutes fine: one list a metric, and totals from the server.
query LastHours($merchantId: ID!, $start: DateTime!, $end: DateTime!) {
  series(merchantId: $merchantId, start: $start, end: $end) {
    currency
    points { start payments gross net customers }
    totals { payments gross net customers medianAmount byMethod { value payments gross } }
    freshness { completeThrough missing }
  }
}
`,
      variables: { merchantId, start: iso(end - 36 * WINDOW), end: iso(end) },
    },
    {
      query: `# The last four weeks by day of the merchant's own calendar, beside the four weeks before, as far as today has come.
query LastWeeks($merchantId: ID!) {
  series(merchantId: $merchantId, preset: LAST_28_DAYS, grain: DAY) {
    timeZone currency
    points { start payments gross averagePayment refundRate customers }
    totals { payments gross customers }
    comparison(basis: PREVIOUS_PERIOD) {
      start end through
      totals { gross { value previous change changeKind } customers { value previous change changeKind } }
    }
    breakdown(by: METHOD, first: 3) { slices { value gross shareOfGross } other { gross } }
    freshness { completeThrough missing }
  }
}
`,
      variables: { merchantId },
    },
    {
      query: `# When is the merchant busy? Each hour of the week over the last 28 days, Monday 0 o'clock first.
query BusyHours($merchantId: ID!) {
  weekGrid(merchantId: $merchantId, preset: LAST_28_DAYS) {
    timeZone cells { weekday hour occurrences payments gross }
  }
}
`,
      variables: { merchantId },
    },
    {
      query: `# Who is new, and who comes back? By closed day; the days that are not counted yet are null, and missing says which.
query Customers($merchantId: ID!) {
  customersByDay(merchantId: $merchantId, preset: LAST_28_DAYS) {
    timeZone
    points { start customers newCustomers returningCustomers }
    totals { customers newCustomers returningCustomers }
    freshness { completeThrough missing }
  }
}
`,
      variables: { merchantId },
    },
    {
      query: `# One ten-minute report.
query OneReport($merchantId: ID!, $start: DateTime!) {
  report(merchantId: $merchantId, start: $start) {
    start end currency revision payments gross smallest largest p95Amount customers
    byAgeBand { value payments } byDevice { value payments }
  }
}
`,
      variables: { merchantId, start: iso(end - 6 * WINDOW) },
    },
    {
      query: `# Push: the merchant's reports whenever some change. The first event says "reset": read what you show now.
subscription Changes($merchantId: ID!) {
  reportsChanged(merchantId: $merchantId) {
    watermark reset windows
    reports(first: 3) { start payments gross net }
    freshness { completeThrough asOf }
  }
}
`,
      variables: { merchantId },
    },
  ];
}
