// The queries that GraphiQL opens with; each tab runs as it stands once the merchant's id is filled in.
const WINDOW = 600_000;
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');

export function examples(now, merchant) {
  const end = Math.floor(now.getTime() / WINDOW) * WINDOW;
  const day = Math.floor(end / 86_400_000) * 86_400_000;
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
      query: `# The last four weeks by UTC day.
query LastWeeks($merchantId: ID!, $start: DateTime!, $end: DateTime!) {
  series(merchantId: $merchantId, start: $start, end: $end, grain: DAY) {
    currency
    points { start payments gross averagePayment refundRate customers }
    totals { payments gross customers }
  }
}
`,
      variables: { merchantId, start: iso(day - 28 * 86_400_000), end: iso(day) },
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
  ];
}
